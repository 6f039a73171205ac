// Files on this host. Every write goes through a handle of the parent directory (/proc/self/fd/N/name on Linux),
// so that nobody who may write to a directory on the way (/etc/alloy belongs to group alloy) can swap it for a
// link between our check and our write. Links are never followed at the last component.
import fs from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../../api/errors.ts';
import type { FileAttributes, Files } from '../../kinds/ports.ts';
import { accountID } from './accounts.ts';
import { Candidates } from './candidates.ts';
import { DirectoryWatches } from './directory-watches.ts';
import { readState } from './file-state.ts';
import { type Own, openParent } from './parents.ts';
import { realPlace } from './path-steps.ts';
import { writerOf } from './writers.ts';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } = fs.constants;
/** The name beside an entry under which its next content stands before it takes the entry's place. */
const unfinished = (name: string): string => `.${name}.homeostat~`;
/** The name beside an entry of a candidate for it, hidden and without its suffix: nobody loads it with the others. */
const candidateOf = (name: string): string => `.${name}.homeostat-validate`;
/** Paths whose place is remembered. */
const MOST_PLACES = 10_000;
const HAS_PROC = process.platform === 'linux';

export interface FilesOptions {
  /** Everything happens below this directory; for the demo, tests and `once --root`. */
  readonly root?: string;
  /**
   * Whether the agent may write at a path that the manifest did not name, because a directory on the way is a
   * link. Gets the resolved path, without the root.
   */
  readonly allows?: (resolved: string) => boolean;
  /** What is never written, however it is reached. */
  readonly own?: Own;
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
  /** The same paths are asked for again and again, and node:path reads them letter by letter. */
  const places = new Map<string, string>();
  const place = (p: string): string => {
    const known = places.get(p);
    if (known !== undefined) return known;
    if (!path.isAbsolute(p)) throw new Error(`${p} is not an absolute path`);
    if (places.size >= MOST_PLACES) places.clear();
    const full = root + path.normalize(p);
    places.set(p, full);
    return full;
  };

  const bare = (full: string): string | undefined =>
    full === root ? '/' : full.startsWith(`${root}/`) ? full.slice(root.length) : undefined;

  /** @throws when the entry, as the path was resolved, is not to be written */
  function judge(asked: string, full: string, resolved: string, parentFd?: number): void {
    const inside = bare(resolved);
    if (options.own?.holds(inside ?? resolved, parentFd) === true) {
      const message = `${asked} is the agent’s own, or leads there, and no manifest writes there`;
      throw Object.assign(new Error(message), { code: 'AgentsOwn' });
    }
    if (resolved === full) return;
    // A candidate stands where what it is a candidate for may stand.
    const named = inside?.replace(/\/\.([^/]+)\.homeostat-validate(?:\/[^/]+)?$/, '/$1');
    if (named !== undefined && (options.allows === undefined || options.allows(named))) return;
    const message = `${asked} leads to ${inside ?? resolved} through a symbolic link, and nothing allows writing there`;
    throw Object.assign(new Error(message), { code: 'PathLeadsElsewhere' });
  }

  /** Runs `use` with a name for the entry that no rename on the way can redirect. */
  function inParent<T>(p: string, use: (entry: string, parentFd: number) => T): T {
    const full = place(p);
    let fd: number | undefined;
    try {
      fd = openParent(full, (resolved, parentFd) => judge(p, full, resolved, parentFd));
      return use(entryIn(fd, full), fd);
    } catch (error) {
      throw named(error, p);
    } finally {
      if (fd !== undefined) fs.closeSync(fd);
    }
  }

  const read = (p: string) => readState(place(p), (stat) => options.own?.refuseOther(stat, p));

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

  async function writeFlushed(file: string, content: Uint8Array, attributes: FileAttributes): Promise<void> {
    const fd = openFresh(file);
    try {
      writeThrough(fd, content, attributes);
      await new Promise<void>((resolve, reject) =>
        fs.fsync(fd, (error) => (error === null ? resolve() : reject(error))),
      );
    } finally {
      fs.closeSync(fd);
    }
  }

  return {
    read,

    realPath(p, follow = false) {
      if (!path.isAbsolute(p)) throw new Error(`${p} is not an absolute path`);
      const real = realPlace(`${root}/${p}`, follow);
      return bare(real) ?? real;
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
        const temporary = beside(entry, unfinished);
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

    async replaceFlushed(p, content, attributes) {
      const full = place(p);
      let parentFd: number | undefined;
      try {
        parentFd = openParent(full, (resolved, fd) => judge(p, full, resolved, fd));
        const entry = entryIn(parentFd, full);
        const where = placeOf(parentFd);
        const temporary = beside(entry, unfinished);
        try {
          await writeFlushed(temporary, content, attributes);
          // Who moved the directory meanwhile, as a backup maybe, keeps it as it was.
          if (placeOf(parentFd) !== where) throw movedMeanwhile(p);
          fs.renameSync(temporary, entry);
        } catch (error) {
          fs.rmSync(temporary, { force: true });
          throw error;
        }
      } catch (error) {
        throw named(error, p);
      } finally {
        if (parentFd !== undefined) fs.closeSync(parentFd);
      }
    },

    rewriteInPlace(p, content, attributes) {
      inParent(p, (entry) => {
        // A pipe that nobody reads would keep the agent waiting.
        const fd = fs.openSync(entry, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
        try {
          requireOneName(fd, p);
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
          requireOneName(fd, p);
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
        const temporary = beside(entry, unfinished);
        fs.rmSync(temporary, { force: true });
        fs.symlinkSync(target, temporary);
        fs.renameSync(temporary, entry);
      });
    },

    async withCandidate(p, content, use) {
      const { dir, base } = path.parse(p);
      const made = ancestors(dir).filter((d) => read(d).type === 'absent');
      const candidate = path.join(dir, candidateOf(base));
      candidates.note({ path: candidate, made });
      try {
        this.replaceAtomic(candidate, content, { mode: 0o600 });
        return await use(candidate);
      } finally {
        discard(this, candidate);
      }
    },

    async withCandidates(p, contents, use) {
      const { dir, base } = path.parse(p);
      const directory = path.join(dir, candidateOf(base));
      const made = [directory, ...ancestors(dir)].filter((d) => read(d).type === 'absent');
      const all = [...contents].map(([name, content]) => ({ path: path.join(directory, name), content }));
      candidates.note(...all.map((each, i) => ({ path: each.path, made: i === 0 ? made : [] })));
      try {
        this.makeDirectory(directory, { mode: 0o700 });
        for (const each of all) this.replaceAtomic(each.path, each.content, { mode: 0o600 });
        return await use(directory);
      } finally {
        for (const each of all) discard(this, each.path);
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
        return fs.statSync(place(p)).birthtimeMs;
      } catch (error) {
        return ['ENOENT', 'ENOTDIR'].includes(errnoOf(error)) ? undefined : 0;
      }
    },

    writerOf: (p) => writerOf(place(p)),

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

/** Where an open directory is now; undefined where the system does not say. */
function placeOf(fd: number): string | undefined {
  return HAS_PROC ? fs.readlinkSync(`/proc/self/fd/${fd}`) : undefined;
}

function movedMeanwhile(p: string): Error {
  const message = `the directory of ${p} was moved or removed while it was written, and is left as it is; it is written anew`;
  return Object.assign(new Error(message), { code: 'PathMoved' });
}

/** A name for the entry that no rename on the way can redirect. */
function entryIn(parentFd: number, full: string): string {
  return HAS_PROC ? `/proc/self/fd/${parentFd}/${split(full).name}` : full;
}

/** A system error under the path that people know, whatever handle or temporary file it was met at. */
function named(error: unknown, p: string): unknown {
  return errnoOf(error).startsWith('E') ? Object.assign(error as Error, { path: p }) : error;
}

/** As node:path has it, which reads letter by letter; a heal does this twice. */
function split(full: string): { parent: string; name: string } {
  const at = full.lastIndexOf('/');
  if (at <= 0 || at === full.length - 1) return { parent: path.dirname(full), name: path.basename(full) };
  return { parent: full.slice(0, at), name: full.slice(at + 1) };
}

function beside(entry: string, named: (name: string) => string): string {
  const { parent, name } = split(entry);
  return `${parent}/${named(name)}`;
}

/** The directory and those above it, the innermost first, without the root. */
function ancestors(directory: string): string[] {
  const parent = path.dirname(directory);
  return parent === directory ? [] : [directory, ...ancestors(parent)];
}

/** What is changed under one name is changed under all of them, wherever those are. @throws */
function requireOneName(fd: number, p: string): void {
  const stat = fs.fstatSync(fd);
  if (stat.isDirectory()) return;
  if (!stat.isFile()) throw Object.assign(new Error(`${p} is no regular file`), { code: 'NotAFile' });
  if (stat.nlink <= 1) return;
  const message = `${p} is a file with ${stat.nlink} names (hard links), and a change of it would change it under the others, too; give it an inode of its own first: cp ${p} ${p}.new && mv ${p}.new ${p}`;
  throw Object.assign(new Error(message), { code: 'HardLinked' });
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

/** A sandbox that is not there yet is where it is said to be. */
function realRoot(root: string): string {
  return fs.existsSync(root) ? fs.realpathSync(root) : path.resolve(root);
}
