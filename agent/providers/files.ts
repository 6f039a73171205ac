// Files on this host. Every write goes through a handle of the parent directory (/proc/self/fd/N/name on Linux),
// so that nobody who may write to a directory on the way (/etc/alloy belongs to group alloy) can swap it for a
// link between our check and our write. Links are never followed at the last component.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { errnoOf, Stalled } from '../../api/errors.ts';
import type { FileAttributes, FileState, Files } from '../../kinds/ports.ts';
import { Candidates } from './candidates.ts';
import { DirectoryWatches } from './directory-watches.ts';

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } = fs.constants;
const MAX_BYTES = 16 * 1024 * 1024;
/** The name beside an entry under which its next content stands before it takes the entry's place. */
const unfinished = (name: string): string => `.${name}.homeostat~`;
/** The name beside an entry of a candidate for it, hidden and without its suffix: nobody loads it with the others. */
const candidateOf = (name: string): string => `.${name}.homeostat-validate`;
const HAS_PROC = process.platform === 'linux';

export interface FilesOptions {
  /** Everything happens below this directory; for the demo, tests and `once --root`. */
  readonly root?: string;
  /**
   * Whether the agent may write at a path that the manifest did not name, because a directory on the way is a
   * link. Gets the resolved path, without the root.
   */
  readonly allows?: (resolved: string) => boolean;
  /** Where candidates are noted as long as they are there; without it, those of a killed agent stay. */
  readonly candidates?: string;
  readonly watches?: DirectoryWatches;
  readonly onPolling?: (directories: readonly string[]) => void;
}

export function createFiles(options: FilesOptions = {}): Files & { close(): Promise<void> } {
  const root = options.root === undefined ? '' : realRoot(options.root);
  const { onPolling } = options;
  const watches = options.watches ?? new DirectoryWatches(onPolling === undefined ? {} : { onPolling });
  const candidates = new Candidates(options.candidates);
  const place = (p: string): string => {
    if (!path.isAbsolute(p)) throw new Error(`${p} is not an absolute path`);
    return root + path.normalize(p);
  };

  /** Runs `use` with a name for the entry that no rename on the way can redirect. */
  function inParent<T>(p: string, use: (entry: string, parentFd: number) => T): T {
    const full = place(p);
    const parent = path.dirname(full);
    const fd = openDirectory(parent);
    try {
      if (!HAS_PROC) return use(full, fd);
      const resolved = fs.readlinkSync(`/proc/self/fd/${fd}`);
      if (resolved !== parent) refuseUnlessAllowed(p, path.join(resolved, path.basename(full)));
      return use(`/proc/self/fd/${fd}/${path.basename(full)}`, fd);
    } catch (error) {
      throw named(error, p);
    } finally {
      fs.closeSync(fd);
    }
  }

  function refuseUnlessAllowed(asked: string, resolved: string): void {
    const inside = root === '' || resolved === root || resolved.startsWith(`${root}/`);
    const bare = resolved.slice(root.length);
    if (inside && (options.allows === undefined || options.allows(bare))) return;
    throw Object.assign(
      new Error(
        `${asked} leads to ${inside ? bare : resolved} through a symbolic link, and nothing allows writing there`,
      ),
      { code: 'PathLeadsElsewhere' },
    );
  }

  /** @throws what keeps the candidate itself from being removed; it then stays noted, without its directories */
  function discard(files: Files, candidate: string): void {
    const left = [...candidates.madeFor(candidate)];
    try {
      files.removeStale?.(candidate);
      files.remove(candidate);
    } catch (error) {
      candidates.note({ path: candidate, made: [] });
      throw error;
    }
    while (left.length > 0 && removeMade(left[0]!)) left.shift();
    candidates.done(candidate, left);
  }

  /** A directory as it was made here, and nothing else that has come to stand in its place. @returns whether it is gone */
  function removeMade(p: string): boolean {
    try {
      return inParent(p, (entry) => {
        const stat = fs.lstatSync(entry, { throwIfNoEntry: false });
        if (stat === undefined) return true;
        if (!stat.isDirectory() || stat.uid !== process.getuid?.()) return false;
        fs.rmdirSync(entry);
        return true;
      });
    } catch {
      return false; // there is something in it, or a link on the way
    }
  }

  function writeThrough(fd: number, content: Uint8Array, attributes: FileAttributes): void {
    let offset = 0;
    while (offset < content.length) offset += fs.writeSync(fd, content, offset);
    if (attributes.uid !== undefined || attributes.gid !== undefined) {
      fs.fchownSync(fd, attributes.uid ?? -1, attributes.gid ?? -1);
    }
    // After chown, which clears setuid and setgid.
    if (attributes.mode !== undefined) fs.fchmodSync(fd, attributes.mode);
  }

  return {
    read(p) {
      return readState(place(p));
    },

    changedAtMs(p) {
      return fs.statSync(place(p), { throwIfNoEntry: false })?.ctimeMs ?? 0;
    },

    exists(p) {
      try {
        return fs.lstatSync(place(p), { throwIfNoEntry: false }) !== undefined;
      } catch (error) {
        if (errnoOf(error) === 'ENOTDIR') return false; // as `read` has it: a file stands where a parent would
        throw error;
      }
    },

    replaceAtomic(p, content, attributes, { durable = false } = {}) {
      inParent(p, (entry, parentFd) => {
        // One fixed name an entry: what a kill -9 leaves behind is found and removed by the next write.
        const temporary = path.join(path.dirname(entry), unfinished(path.basename(entry)));
        const fd = openFresh(temporary);
        try {
          try {
            writeThrough(fd, content, attributes);
            if (durable !== false) fs.fsyncSync(fd);
          } finally {
            fs.closeSync(fd);
          }
          fs.renameSync(temporary, entry);
        } catch (error) {
          fs.rmSync(temporary, { force: true });
          throw error;
        }
        if (durable === true) fs.fsyncSync(parentFd);
      });
    },

    rewriteInPlace(p, content, attributes) {
      inParent(p, (entry) => {
        const fd = fs.openSync(entry, O_WRONLY | O_CREAT | O_NOFOLLOW, 0o600);
        try {
          writeThrough(fd, content, attributes);
          fs.ftruncateSync(fd, content.length);
        } finally {
          fs.closeSync(fd);
        }
      });
    },

    setAttributes(p, attributes) {
      inParent(p, (entry) => {
        const fd = fs.openSync(entry, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
        try {
          writeThrough(fd, new Uint8Array(0), attributes);
        } finally {
          fs.closeSync(fd);
        }
      });
    },

    makeDirectory(p, attributes) {
      inParent(p, (entry) => {
        try {
          fs.mkdirSync(entry, { mode: 0o700 });
        } catch (error) {
          if (errnoOf(error) !== 'EEXIST') throw error;
        }
      });
      this.setAttributes(p, attributes);
    },

    makeSymlink(p, target) {
      inParent(p, (entry) => {
        const temporary = path.join(path.dirname(entry), unfinished(path.basename(entry)));
        fs.rmSync(temporary, { force: true });
        fs.symlinkSync(target, temporary);
        fs.renameSync(temporary, entry);
      });
    },

    async withCandidate(p, content, use) {
      const { dir, base } = path.parse(p);
      const made = ancestors(dir).filter((d) => readState(place(d)).type === 'absent');
      const candidate = path.join(dir, candidateOf(base));
      candidates.note({ path: candidate, made });
      try {
        this.replaceAtomic(candidate, content, { mode: 0o600 });
        return await use(candidate);
      } finally {
        discard(this, candidate);
      }
    },

    removeCandidates() {
      for (const { path: candidate } of candidates.left()) {
        try {
          discard(this, candidate);
        } catch {
          // It stays noted. What it is a candidate for tells what is wrong there.
        }
      }
    },

    removeStale(p) {
      const { dir, base } = path.parse(path.normalize(p)); // a directory's claim ends in a slash
      this.remove(path.join(dir, unfinished(base)));
    },

    remove(p) {
      if (!this.exists(p)) return;
      inParent(p, (entry) => {
        const stat = fs.lstatSync(entry, { throwIfNoEntry: false });
        if (stat?.isDirectory()) fs.rmdirSync(entry);
        else if (stat !== undefined) fs.unlinkSync(entry);
      });
    },

    list(directory) {
      try {
        return fs.readdirSync(place(directory));
      } catch (error) {
        if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error))) return [];
        throw error;
      }
    },

    bornAtMs(p) {
      try {
        const stat = fs.statSync(place(p));
        return stat.isDirectory() ? stat.birthtimeMs : 0;
      } catch (error) {
        return ['ENOENT', 'ENOTDIR'].includes(errnoOf(error)) ? undefined : 0;
      }
    },

    hostPath: place,
    userID: (name) => accountID('passwd', name, 'user'),
    groupID: (name) => accountID('group', name, 'group'),

    watch(p, wake, signal) {
      return watches.watch(place(p), wake, signal);
    },

    watchOutside: (p, wake, signal) => watches.watch(p, wake, signal, true),

    polled: () => watches.polled,

    close: () => watches.close(),
  };
}

/** A system error under the path that people know, whatever handle or temporary file it was met at. */
function named(error: unknown, p: string): unknown {
  return errnoOf(error).startsWith('E') ? Object.assign(error as Error, { path: p }) : error;
}

/** The directory and those above it, the innermost first, without the root. */
function ancestors(directory: string): string[] {
  const parent = path.dirname(directory);
  return parent === directory ? [] : [directory, ...ancestors(parent)];
}

/** Missing parents come into being with mode 0755, as a person's `mkdir -p` would have it. */
function openDirectory(directory: string): number {
  try {
    return fs.openSync(directory, O_RDONLY | O_DIRECTORY);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    fs.mkdirSync(directory, { recursive: true, mode: 0o755 });
    return fs.openSync(directory, O_RDONLY | O_DIRECTORY);
  }
}

function readState(full: string): FileState {
  let fd: number;
  try {
    fd = fs.openSync(full, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    switch (errnoOf(error)) {
      case 'ENOENT':
      case 'ENOTDIR':
        return { type: 'absent' };
      case 'ELOOP': // a link
        return { type: 'symlink', target: fs.readlinkSync(full) };
      case 'ENXIO': // a socket
        return { type: 'other' };
      default:
        throw error;
    }
  }
  try {
    const stat = fs.fstatSync(fd);
    const attributes = { mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid };
    if (stat.isDirectory()) return { type: 'directory', ...attributes };
    if (!stat.isFile()) return { type: 'other' };
    if (stat.size > MAX_BYTES) {
      throw Object.assign(new Error(`${full} has ${stat.size} bytes; at most ${MAX_BYTES} are compared`), {
        code: 'EFBIG',
      });
    }
    return { type: 'file', content: readAll(fd, stat.size), ...attributes, ...times(stat) };
  } finally {
    fs.closeSync(fd);
  }
}

function times({ mtimeMs, ctimeMs }: fs.Stats): { mtimeMs: number; ctimeMs: number } {
  return { mtimeMs, ctimeMs };
}

/** Reads what is there now; a file that shrinks or grows meanwhile is read as it is found. */
function readAll(fd: number, size: number): Buffer {
  const buffer = Buffer.allocUnsafe(size);
  let length = 0;
  while (length < size) {
    const n = fs.readSync(fd, buffer, length, size - length, length);
    if (n === 0) break;
    length += n;
  }
  return buffer.subarray(0, length);
}

function openFresh(temporary: string): number {
  const flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
  try {
    return fs.openSync(temporary, flags, 0o600);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
    fs.unlinkSync(temporary);
    return fs.openSync(temporary, flags, 0o600);
  }
}

/** getent(1) knows of LDAP and sssd accounts too; macOS has no getent, but the files and `id`. */
function accountID(database: 'passwd' | 'group', name: string, what: string): number {
  if (/^\d+$/.test(name)) return Number(name);
  const line =
    lineOf(`/etc/${database}`, name) ?? (HAS_PROC ? tryRun('getent', [database, name]) : undefined);
  const id = line?.split(':')[2];
  if (id !== undefined && /^\d+$/.test(id)) return Number(id);
  throw new Stalled(
    'UnknownAccount',
    `there is no ${what} ${name} on this host; create it, or name one that exists`,
  );
}

function lineOf(file: string, name: string): string | undefined {
  return fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .find((line) => line.startsWith(`${name}:`));
}

function tryRun(command: string, args: string[]): string | undefined {
  try {
    return execFileSync(command, args, {
      encoding: 'utf8',
      timeout: 5000,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    return undefined;
  }
}

/** A sandbox that is not there yet is where it is said to be. */
function realRoot(root: string): string {
  return fs.existsSync(root) ? fs.realpathSync(root) : path.resolve(root);
}
