// What the pipeline reads: the files of one commit, or of a plain directory. Content comes on demand, so that a
// commit that changes one file costs one read.

/** A manifest larger than this is a diagnostic; 1 MiB of YAML is about 30,000 lines. */
export const MAX_MANIFEST_BYTES = 1024 * 1024;
/** The largest file that `contentFrom` takes: what an agent is ready to read back from its disk. */
export const MAX_CONTENT_BYTES = 16 * 1024 * 1024;

export interface SnapshotFile {
  /** Names the content: two files with the same oid are the same bytes. */
  readonly oid: string;
  /** Bytes. */
  readonly size: number;
  /** Why it can't be read as a file (a symbolic link that leads out of the tree), in words. */
  readonly refused?: string;
  /** @throws Error when the object is gone or can't be read. */
  read(): Promise<Buffer>;
}

export interface Snapshot {
  /** Object name of the commit, or a word for what is not in git. */
  readonly commit: string;
  /** By path below the manifests' root, with forward slashes. */
  readonly files: ReadonlyMap<string, SnapshotFile>;
}

/** The snapshot can't be had; the message says what to do. The last good revision keeps serving. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
}

/** Whether a path is read for documents: YAML, and no part of it begins with a dot (.github, .git). */
export function isManifest(path: string): boolean {
  return /\.ya?ml$/.test(path) && !/(?:^|\/)\./.test(path);
}
