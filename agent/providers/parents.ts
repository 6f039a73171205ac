// The directory that a write goes to, as a handle: what was judged is what is written to, whatever is renamed meanwhile.
import fs from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../../api/errors.ts';

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = fs.constants;
const HAS_PROC = process.platform === 'linux';

/** What is the agent's own, for a path or a handle. */
export interface Own {
  /** @param parentFd of the directory that the path is in: it may be mounted elsewhere, too */
  holds(resolved: string, parentFd?: number): boolean;
  /** @throws when this file, which has several names, is one of the agent's */
  refuseOther(stat: fs.Stats, p: string): void;
}

/** @param holds whether a path, as it was resolved, is the agent's own. @param paths those that hold keys and state */
export function ownFiles(holds: (resolved: string) => boolean, paths: readonly string[]): Own {
  const identities = (): Set<string> => new Set(paths.flatMap((p) => identityOf(p) ?? []));
  return {
    holds: (resolved, parentFd) =>
      holds(resolved) || (parentFd !== undefined && HAS_PROC && isBelow(parentFd, identities())),
    refuseOther(stat, p) {
      if (!isAmong(paths, stat)) return;
      throw Object.assign(new Error(`${p} is another name of one of the agent’s own files`), {
        code: 'AgentsOwn',
      });
    },
  };
}

/** Whether a file is one of these, or an entry of one of these directories, by whatever name. */
export function isAmong(paths: readonly string[], stat: fs.Stats): boolean {
  return paths.flatMap((own) => [own, ...entriesOf(own)]).some((own) => identityOf(own) === keyOf(stat));
}

/** A directory that is bind-mounted has another path, and is the same directory. */
function isBelow(fd: number, own: ReadonlySet<string>): boolean {
  let at = `/proc/self/fd/${fd}`;
  for (let before = ''; ; at += '/..') {
    const now = identityOf(at);
    if (now === undefined || now === before) return false;
    if (own.has(now)) return true;
    before = now;
  }
}

function identityOf(p: string): string | undefined {
  try {
    // Most of the agent's own are often not there, and each write asks for all of them.
    const stat = fs.statSync(p, { throwIfNoEntry: false });
    return stat && keyOf(stat);
  } catch {
    return undefined; // not to be looked at
  }
}

const keyOf = ({ dev, ino }: fs.Stats): string => `${dev}:${ino}`;

function entriesOf(directory: string): string[] {
  try {
    return fs.readdirSync(directory).map((name) => path.join(directory, name));
  } catch {
    return []; // a file
  }
}

/**
 * The directory of an entry. Missing ones come into being with mode 0755, as a person's `mkdir -p` would have it, below
 * a handle of the last that is there: that place is judged before anything is made.
 * @param judge gets where the entry really is. @throws what it throws, system errors
 */
export function openParent(full: string, judge: (resolved: string, parentFd: number) => void): number {
  const { at, fd, missing } = openDeepest(path.dirname(full));
  try {
    const real = HAS_PROC ? fs.readlinkSync(`/proc/self/fd/${fd}`) : fs.realpathSync.native(at);
    judge(path.join(real, ...missing, path.basename(full)), fd);
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
  return HAS_PROC ? makeBelow(fd, missing) : makeIn(at, fd, missing);
}

/** The deepest directory on the way that is there, and the names that are missing below it. */
function openDeepest(directory: string): { at: string; fd: number; missing: string[] } {
  const missing: string[] = [];
  for (let at = directory; ; at = path.dirname(at)) {
    try {
      return { at, fd: fs.openSync(at, O_RDONLY | O_DIRECTORY), missing };
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' || at === path.dirname(at)) throw error;
      missing.unshift(path.basename(at));
    }
  }
}

/** @param fd is closed, unless it is what is returned */
function makeBelow(fd: number, names: readonly string[]): number {
  let parent = fd;
  for (const name of names) {
    const entry = `/proc/self/fd/${parent}/${name}`;
    try {
      makeUnlessThere(entry);
      // A link that came in between is not followed.
      const next = fs.openSync(entry, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      fs.closeSync(parent);
      parent = next;
    } catch (error) {
      fs.closeSync(parent);
      throw error;
    }
  }
  return parent;
}

function makeIn(directory: string, fd: number, names: readonly string[]): number {
  if (names.length === 0) return fd;
  fs.closeSync(fd);
  const full = path.join(directory, ...names);
  fs.mkdirSync(full, { recursive: true, mode: 0o755 });
  return fs.openSync(full, O_RDONLY | O_DIRECTORY);
}

function makeUnlessThere(entry: string): void {
  try {
    fs.mkdirSync(entry, { mode: 0o755 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
}
