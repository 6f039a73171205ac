// The files that `contentFrom` and `ageFrom` name: found relative to the manifest, inside the manifests' tree, read once per
// content, and kept from one compilation to the next while git's object name stays the same.
import { posix } from 'node:path';
import { didYouMean } from '../../api/diagnostics.ts';
import { MAX_CONTENT_BYTES, type Snapshot, type SnapshotFile } from '../source/snapshot.ts';
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

  constructor(snapshot: Snapshot, previous: Contents | undefined) {
    this.#snapshot = snapshot;
    this.#known = previous === undefined ? new Map() : previous.#loaded;
  }

  /** Reads what is not known yet; afterwards `get` answers for these paths. */
  async load(paths: Iterable<string>): Promise<void> {
    await Promise.all([...new Set(paths)].map((path) => this.#load(path)));
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
    if (known !== undefined && known.oid === oid && file !== undefined) this.#loaded.set(path, known);
    else this.#loaded.set(path, await this.#read(path, oid, file));
  }

  async #read(path: string, oid: string, file: SnapshotFile | undefined): Promise<Content> {
    const refused = (problem: (field: FileField) => string): Content => ({
      path,
      oid,
      text: '',
      dynamic: false,
      fleetwide: false,
      problem,
    });
    if (file === undefined) return refused(this.#missing(path));
    const { refused: why, size } = file;
    if (why !== undefined) return refused((field) => `${field} names ${path}, and ${why}`);
    if (size > MAX_CONTENT_BYTES) {
      return refused(
        (field) =>
          `${path} has ${mebibytes(size)}, and ${field} takes at most ${mebibytes(MAX_CONTENT_BYTES)}`,
      );
    }
    const bytes = await file.read();
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

  #missing(path: string): (field: FileField) => string {
    const paths = [...this.#snapshot.files.keys()];
    if (paths.some((other) => other.startsWith(`${path}/`)))
      return (field) => `${field} names the directory ${path}: name a file in it`;
    const near = didYouMean(path, paths);
    const hint = near === undefined ? ' in this commit' : `: did you mean ${near}?`;
    return (field) => `${field} names ${path}, and there is no such file${hint}`;
  }
}

export function mebibytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1).replace(/\.0$/, '')} MiB`;
}
