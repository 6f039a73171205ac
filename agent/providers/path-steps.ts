// The way to a path as the kernel walks it: every directory entry that is looked up, and in which real directory. What
// opening the path gives depends on these entries and on nothing else, links and their targets included.
import fs from 'node:fs';
import path from 'node:path';

/** In a name that stands for every entry of its directory that fits. */
export const WILDCARD = /[*?[]/;

export interface Step {
  /** A real path: no link is in it. */
  readonly directory: string;
  /** Which directory that is: a new one at the same path is another. */
  readonly identity: string;
  /** The entry that is looked up there. */
  readonly name: string;
}

export interface Way {
  readonly steps: readonly Step[];
  /** Whether a change of the last step's entry leaves the way as it is: it is the path itself, and is not followed. */
  readonly endsAtPath: boolean;
}

/** As path_resolution(7): more links than these are a loop. */
const MOST_LINKS = 40;

/**
 * Ends where the way does: at the path, or at an entry that is missing, no directory, or may not be searched.
 * @param follow whether a link at the path itself is followed
 */
export function wayTo(target: string, follow: boolean): Way {
  const steps = new Map<string, Step>();
  const left = namesOf(target);
  let directory = '/';
  let identity = identityOf(lstat('/'));
  let links = 0;
  let isNew = true;
  for (let name = left.shift(); name !== undefined; name = left.shift()) {
    if (name === '..') {
      directory = path.dirname(directory);
      identity = identityOf(lstat(directory));
      continue;
    }
    const entry = path.join(directory, name);
    // An entry that is looked up again stands where it was looked up last.
    isNew = !steps.delete(entry);
    steps.set(entry, { directory, identity, name });
    const stat = lstat(entry);
    if (stat?.isSymbolicLink()) {
      if (left.length === 0 && !follow) break;
      const to = ++links > MOST_LINKS ? undefined : readlink(entry);
      if (to === undefined) break;
      left.unshift(...namesOf(to));
      if (!to.startsWith('/')) continue;
      directory = '/';
      identity = identityOf(lstat('/'));
    } else if (stat?.isDirectory()) {
      directory = entry;
      identity = identityOf(stat);
    } else {
      break;
    }
  }
  return { steps: [...steps.values()], endsAtPath: left.length === 0 && !follow && isNew };
}

export function isSame(a: Step, b: Step): boolean {
  return a.directory === b.directory && a.identity === b.identity && a.name === b.name;
}

/** The same for two walks that went the same way. */
export function keyOf(steps: readonly Step[]): string {
  return steps.map(({ directory, identity, name }) => `${directory}\0${identity}\0${name}`).join('\n');
}

/**
 * All that can be seen of a change on the way without reading content. The change time moves with every one of them;
 * that of a directory on the way moves with every entry of it, and is left out.
 * @param directories what was seen of those already: the ways to a thousand files are mostly the same
 */
export function lookAt(steps: readonly Step[], directories = new Map<string, string>()): string {
  return steps
    .map(({ directory, name }, i) => {
      const entry = path.join(directory, name);
      const isOnTheWay = i < steps.length - 1;
      const known = isOnTheWay ? directories.get(entry) : undefined;
      if (known !== undefined) return known;
      // Of several entries it sees which there are.
      const stat = lstat(entry) ?? (WILDCARD.test(name) ? lstat(directory) : undefined);
      if (stat === undefined) return '';
      if (!isOnTheWay || !stat.isDirectory()) {
        return `${stat.dev}:${stat.ino}:${stat.ctimeNs}:${stat.size}:${stat.mode}`;
      }
      const identity = identityOf(stat);
      directories.set(entry, identity);
      return identity;
    })
    .join('\n');
}

/** The birth beside the inode, since a new directory often gets the number of the one just removed; and who may look. */
function identityOf(stat: fs.BigIntStats | undefined): string {
  return stat === undefined
    ? ''
    : `${stat.dev}:${stat.ino}:${stat.birthtimeNs}:${stat.mode}:${stat.uid}:${stat.gid}`;
}

function namesOf(p: string): string[] {
  return p.split('/').filter((name) => name !== '' && name !== '.');
}

function lstat(p: string): fs.BigIntStats | undefined {
  try {
    return fs.lstatSync(p, { bigint: true, throwIfNoEntry: false });
  } catch {
    return undefined; // it may not be looked at, or its name is too long
  }
}

function readlink(p: string): string | undefined {
  try {
    return fs.readlinkSync(p);
  } catch {
    return undefined; // it has just gone
  }
}

/**
 * Where a path really is: links among its parents followed, and at its end if asked for; what is missing as it is named.
 * @param target absolute; `..` in it goes up from where the part before it really is
 * @param linkAt where a link at a real path leads; undefined for all else
 * @throws Error with the code ELOOP, and what `linkAt` throws
 */
export function realPlace(target: string, follow: boolean, linkAt = visibleLinkAt): string {
  const left = namesOf(target);
  let at = '/';
  let links = 0;
  for (let name = left.shift(); name !== undefined; name = left.shift()) {
    if (name === '..') {
      at = path.dirname(at);
      continue;
    }
    const entry = path.join(at, name);
    const to = left.length > 0 || follow ? linkAt(entry) : undefined;
    if (to === undefined) {
      at = entry;
      continue;
    }
    if (++links > MOST_LINKS)
      throw Object.assign(new Error(`${target} leads in a circle: too many links`), { code: 'ELOOP' });
    left.unshift(...namesOf(to));
    if (to.startsWith('/')) at = '/';
  }
  return at;
}

/** What can't be looked at counts as no link: opening it then says why. */
function visibleLinkAt(entry: string): string | undefined {
  return lstat(entry)?.isSymbolicLink() === true ? readlink(entry) : undefined;
}
