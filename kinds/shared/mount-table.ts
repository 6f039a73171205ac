// The mount table of a process (mountinfo of proc(5)), and what can be said from two of them: which paths of the host
// name what a container has mounted, and whether something can be seen in it. Pure.
//
// What is mounted is known by its file system (major:minor) and the path in that: links, renames and bind mounts of the
// host make no difference.

export interface Mounted {
  readonly id: string;
  readonly parent: string;
  /** major:minor of the file system. */
  readonly device: string;
  /** The path in the file system that is mounted. */
  readonly root: string;
  readonly point: string;
  readonly readOnly: boolean;
  readonly type: string;
}

/** An object of a file system. */
export interface Place {
  readonly device: string;
  readonly path: string;
}

/** Those that a path can reach: nothing else is mounted over the way to them. */
export function parseTable(text: string): Mounted[] {
  return reachable(text.split('\n').flatMap(parseLine));
}

function parseLine(line: string): Mounted[] {
  const [before = '', after = ''] = line.split(' - ');
  const [id = '', parent = '', device = '', root = '', point = '', options] = before.split(' ');
  if (options === undefined) return [];
  const [type = '', , superOptions = ''] = after.split(' ');
  const isReadOnly = (list: string): boolean => list.split(',').includes('ro');
  const readOnly = isReadOnly(options) || isReadOnly(superOptions);
  return [{ id, parent, device, root: decoded(root), point: decoded(point), readOnly, type }];
}

/** Space, tab, line end and backslash are written in octal. */
const decoded = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

export function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === '/' ? '/' : `${directory}/`);
}

/** The path of what is at `path` below `from`, seen from `to`. */
function moved(path: string, from: string, to: string): string {
  const rest = path === from ? '' : path.slice(from === '/' ? 0 : from.length);
  return `${to === '/' ? '' : to}${rest}` || '/';
}

function reachable(table: readonly Mounted[]): Mounted[] {
  const byID = new Map(table.map((mount) => [mount.id, mount]));
  const known = new Map<string, boolean>();
  const isReachable = (mount: Mounted): boolean => {
    const parent = byID.get(mount.parent);
    if (parent === undefined || parent === mount) return true;
    const before = known.get(mount.id);
    if (before !== undefined) return before;
    known.set(mount.id, true);
    const isHidden = table.some(
      (other) =>
        other.parent === mount.parent && other.point !== mount.point && isWithin(mount.point, other.point),
    );
    const is = !isHidden && isReachable(parent);
    known.set(mount.id, is);
    return is;
  };
  // What is mounted on a mount's own root leaves nothing of it to be seen, and can itself be reached.
  const isCovered = ({ id, point }: Mounted): boolean =>
    table.some((other) => other.parent === id && other.id !== id && other.point === point);
  return table.filter((mount) => isReachable(mount) && !isCovered(mount));
}

/** What an absolute path without links is. */
export function placeOf(table: readonly Mounted[], path: string): Place | undefined {
  const on = table.filter(({ point }) => isWithin(path, point));
  const longest = Math.max(...on.map(({ point }) => point.length));
  const nearest = on.filter(({ point }) => point.length === longest);
  // What is mounted at the same point later is a child of what it hides.
  const top = nearest.find(({ id }) => !nearest.some((other) => other.parent === id && other.id !== id));
  return top && { device: top.device, path: moved(path, top.point, top.root) };
}

/** Paths that lead to a place: for the host's own table what the host calls it, for a container's where it is seen. */
export function namesOf(table: readonly Mounted[], place: Place): string[] {
  const names = table.flatMap((mount) =>
    mount.device === place.device && isWithin(place.path, mount.root)
      ? [moved(place.path, mount.root, mount.point)]
      : [],
  );
  return [...new Set(names)].filter((name) => {
    const there = placeOf(table, name);
    return there?.device === place.device && there.path === place.path;
  });
}

/** What is mounted below a path. */
export function mountedBelow(table: readonly Mounted[], path: string): Mounted[] {
  return table.filter(({ point }) => point !== path && isWithin(point, path));
}
