// The files that `contentFrom` names: found relative to the manifest, inside the manifests' tree, read once per
// content, and kept from one compilation to the next while git's object name stays the same.
import { posix } from 'node:path';
import { didYouMean } from '../../api/diagnostics.ts';
import { MAX_CONTENT_BYTES, type Snapshot, type SnapshotFile } from '../source/snapshot.ts';
import { isDynamic } from './interpolate.ts';

/** A file's text, or why there is none. Identity means: the same file with the same content. */
export interface Content {
  readonly path: string;
  readonly oid: string;
  readonly text: string;
  readonly dynamic: boolean;
  /** What is wrong and what would be right, without a place. */
  readonly problem?: string;
}

/** Where `contentFrom: written` in `file` leads, below the root; or why it leads nowhere. */
export function resolvePath(file: string, written: string): { path: string } | { problem: string } {
  if (written.startsWith('/') || /^[A-Za-z]:[\\/]/.test(written)) {
    return {
      problem: `contentFrom is the absolute path ${written}: name a file beside the manifest, by its path from there`,
    };
  }
  const path = posix.normalize(posix.join(posix.dirname(file), written));
  if (path === '..' || path.startsWith('../')) {
    return { problem: `contentFrom leads out of the manifests' tree (${written}): move the file into it` };
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
    const refused = (problem: string): Content => ({ path, oid, text: '', dynamic: false, problem });
    if (file === undefined) return refused(this.#missing(path));
    if (file.refused !== undefined) return refused(`contentFrom names ${path}, and ${file.refused}`);
    if (file.size > MAX_CONTENT_BYTES) {
      return refused(
        `${path} has ${mebibytes(file.size)}, and contentFrom takes at most ${mebibytes(MAX_CONTENT_BYTES)}`,
      );
    }
    const bytes = await file.read();
    try {
      const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
      return { path, oid, text, dynamic: isDynamic(text) };
    } catch {
      return refused(`${path} is not UTF-8 text, and contentFrom takes nothing else`);
    }
  }

  #missing(path: string): string {
    const paths = [...this.#snapshot.files.keys()];
    if (paths.some((other) => other.startsWith(`${path}/`)))
      return `contentFrom names the directory ${path}: name a file in it`;
    const near = didYouMean(path, paths);
    return `contentFrom names ${path}, and there is no such file${near === undefined ? ' in this commit' : `: did you mean ${near}?`}`;
  }
}

export function mebibytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1).replace(/\.0$/, '')} MiB`;
}
