// The files that `contentFrom` and `ageFrom` name: found relative to the manifest, inside the manifests' tree, read once per
// content, and kept from one compilation to the next while git's object name stays the same.
import { posix } from 'node:path';
import { Suggestions } from '../../api/diagnostics.ts';
import {
  MAX_CONTENT_BYTES,
  MAX_TOTAL_BYTES,
  type Snapshot,
  type SnapshotFile,
  standInProblem,
} from '../source/snapshot.ts';
import { isDynamic, isFleetwide } from './interpolate.ts';

/** A file's text, or why there is none. Identity means: the same file with the same content. */
export interface Content {
  readonly path: string;
  readonly oid: string;
  readonly text: string;
  readonly dynamic: boolean;
  /** Whether other hosts enter it. */
  readonly fleetwide: boolean;
  /** What is wrong and what would be right, without a place; for the field that names the file. */
  readonly problem?: (field: FileField) => string;
}

/** Fields whose value is the path of a file beside the manifest. */
export type FileField = 'contentFrom' | 'ageFrom';

/** Where `contentFrom: written` in `file` leads, below the root; or why it leads nowhere. */
export function resolvePath(
  file: string,
  written: string,
  field: FileField,
): { path: string } | { problem: string } {
  if (written.startsWith('/') || /^[A-Za-z]:[\\/]/.test(written)) {
    return {
      problem: `${field} is the absolute path ${written}: name a file beside the manifest, by its path from there`,
    };
  }
  const path = posix.normalize(posix.join(posix.dirname(file), written));
  if (path === '..' || path.startsWith('../')) {
    return { problem: `${field} leads out of the manifests' tree (${written}): move the file into it` };
  }
  return { path };
}

export class Contents {
  readonly #snapshot: Snapshot;
  readonly #known: ReadonlyMap<string, Content>;
  readonly #loaded = new Map<string, Content>();
  readonly #tree: Tree;
  #bytes = 0;

  constructor(snapshot: Snapshot, previous: Contents | undefined) {
    this.#snapshot = snapshot;
    this.#tree = new Tree(snapshot);
    this.#known = previous === undefined ? new Map() : previous.#loaded;
  }

  /** Reads what is not known yet; afterwards `get` answers for these paths. */
  async load(paths: Iterable<string>): Promise<void> {
    // In one order, so that the same files are left out each time if they are too many.
    await Promise.all([...new Set(paths)].sort().map((path) => this.#load(path)));
  }

  get(path: string): Content {
    const content = this.#loaded.get(path);
    if (content === undefined) throw new Error(`the content of ${path} was not loaded`);
    return content;
  }

  async #load(path: string): Promise<void> {
    if (this.#loaded.has(path)) return;
    const file = this.#snapshot.files.get(path);
    const known = this.#known.get(path);
    const oid = file?.oid ?? '';
    if (file !== undefined && file.size <= MAX_CONTENT_BYTES) this.#bytes += file.size;
    if (this.#bytes > MAX_TOTAL_BYTES) this.#loaded.set(path, refuse(path, 'too many', tooMuch(path)));
    else if (known !== undefined && known.oid === oid && file !== undefined) this.#loaded.set(path, known);
    else this.#loaded.set(path, await this.#read(path, oid, file));
  }

  async #read(path: string, oid: string, file: SnapshotFile | undefined): Promise<Content> {
    const refused = (problem: Problem): Content => refuse(path, oid, problem);
    if (file === undefined) {
      const why = this.#tree.missing(path);
      return refused((field) => `${field} names ${why}`);
    }
    const { refused: why, size } = file;
    if (why !== undefined) return refused((field) => `${field} names ${path}, and ${why}`);
    if (size > MAX_CONTENT_BYTES) {
      return refused(
        (field) =>
          `${path} has ${mebibytes(size)}, and ${field} takes at most ${mebibytes(MAX_CONTENT_BYTES)}`,
      );
    }
    const bytes = await file.read();
    const standIn = standInProblem(bytes);
    if (standIn !== undefined) return refused((field) => `${field} names ${path}, and ${standIn}`);
    try {
      const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
      return { path, oid, text, dynamic: isDynamic(text), fleetwide: isFleetwide(text) };
    } catch {
      return refused((field) =>
        field === 'ageFrom'
          ? `${path} is not ASCII armor: encrypt it with \`homeostat secret encrypt\`, or with \`age --armor\``
          : `${path} is not UTF-8 text, and contentFrom takes nothing else`,
      );
    }
  }
}

type Problem = NonNullable<Content['problem']>;

function refuse(path: string, oid: string, problem: Problem): Content {
  return { path, oid, text: '', dynamic: false, fleetwide: false, problem };
}

function tooMuch(path: string): Problem {
  const limit = mebibytes(MAX_TOTAL_BYTES);
  return (field) =>
    `${field} names ${path}, and all such files together have more than ${limit}: take some away`;
}

/** The paths of a snapshot, for explaining why one is not among them; indexed when that is first asked. */
class Tree {
  readonly #snapshot: Snapshot;
  readonly #paths: Suggestions;
  #folders: Set<string> | undefined;
  #byTail: Map<string, (readonly [tail: string, path: string])[]> | undefined;

  constructor(snapshot: Snapshot) {
    this.#snapshot = snapshot;
    this.#paths = new Suggestions(() => snapshot.files.keys());
  }

  missing(path: string): string {
    this.#folders ??= new Set([...this.#snapshot.files.keys()].flatMap(parents));
    if (this.#folders.has(path)) return `the directory ${path}: name a file in it`;
    const submodule = parents(path).find((folder) => this.#snapshot.submodules?.has(folder));
    if (submodule !== undefined)
      return `${path}, which is in the git submodule ${submodule}, and of submodules nothing is read: commit the file itself`;
    const near = this.#near(path);
    return `${path}, and there is no such file${near === undefined ? ' in this commit' : `: did you mean ${near}?`}`;
  }

  /** A file or folder that was moved keeps its name, as a rule: that is looked up, and only then searched. */
  #near(path: string): string | undefined {
    this.#byTail ??= Map.groupBy(
      [...this.#snapshot.files.keys()].flatMap((other) => tails(other).map((tail) => [tail, other] as const)),
      ([tail]) => tail,
    );
    for (const tail of tails(path)) {
      const same = this.#byTail.get(tail) ?? [];
      if (same.length === 1) return same[0]![1];
    }
    return this.#paths.near(path);
  }
}

/** Its last two names, and its last one. */
function tails(path: string): string[] {
  const name = posix.basename(path);
  return [`${posix.basename(posix.dirname(path))}/${name}`, name];
}

/** The folders that a path is in; a path is at most so deep (MAX_PATH_DEPTH), or is not asked about. */
function parents(path: string): string[] {
  const parts = path.split('/').slice(0, 64);
  return parts.slice(0, -1).map((_, i) => parts.slice(0, i + 1).join('/'));
}

export function mebibytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1).replace(/\.0$/, '')} MiB`;
}
