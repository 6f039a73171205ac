// What the pipeline reads: the files of one commit, or of a plain directory. Content comes on demand, so that a
// commit that changes one file costs one read. The limits are the same for both, so that `validate` says what the
// controller will say.

/** A manifest larger than this is a diagnostic; 1 MiB of YAML is about 30,000 lines. */
export const MAX_MANIFEST_BYTES = 1024 * 1024;
/** The largest file that `contentFrom` takes: what an agent is ready to read back from its disk. */
export const MAX_CONTENT_BYTES = 16 * 1024 * 1024;
/** Of all manifests of a commit, and of all files that they take content from. */
export const MAX_TOTAL_BYTES = 256 * 1024 * 1024;
export const MAX_FILES = 100_000;
/** Of a path below the manifests' root, in bytes, and how many folders deep it may be. */
const MAX_PATH_BYTES = 1024;
const MAX_PATH_DEPTH = 32;
/** PATH_MAX of Linux: no longer link can be made there. */
export const MAX_LINK_BYTES = 4096;
const MAX_LINKS = 10_000;

export interface SnapshotFile {
  /** Names the content: two files with the same oid are the same bytes. */
  readonly oid: string;
  /** Bytes. */
  readonly size: number;
  /** Why it can't be read as a file (a symbolic link that leads out of the tree), in words. */
  readonly refused?: string;
  /** @throws SourceError when the object is gone or can't be read. */
  read(): Promise<Buffer>;
}

export interface Snapshot {
  /** Object name of the commit, or a word for what is not in git. */
  readonly commit: string;
  /** By path below the manifests' root, with forward slashes. */
  readonly files: ReadonlyMap<string, SnapshotFile>;
  /** Paths of git submodules, whose files are another repository's and are not read. */
  readonly submodules?: ReadonlySet<string>;
}

/** The snapshot can't be had; the message says what to do. The last good revision keeps serving. */
export class SourceError extends Error {
  override readonly name: string = 'SourceError';
}

/** Whether a path is read for documents: YAML, and no part of it begins with a dot (.github, .git). */
export function isManifest(path: string): boolean {
  return /\.ya?ml$/.test(path) && !/(?:^|\/)\./.test(path);
}

/** What is never part of the manifests, committed or not. */
export function isSkipped(path: string): boolean {
  return /(?:^|\/)(?:\.git|node_modules)(?:\/|$)/.test(path);
}

export function refusedFile(why: string, oid = why): SnapshotFile {
  return { oid: `refused ${oid}`, size: 0, refused: why, read: async () => Buffer.alloc(0) };
}

/** Why a path is not taken, whatever stands there. */
export function pathProblem(path: string): string | undefined {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES)
    return `its path has more than ${MAX_PATH_BYTES} bytes: give it a shorter one`;
  const depth = path.split('/').length - 1;
  if (depth > MAX_PATH_DEPTH)
    return `it is ${depth} folders deep, and at most ${MAX_PATH_DEPTH} are read: move it up`;
  return undefined;
}

/** @throws SourceError when there are more files than are read. @param where names the tree. */
export function checkCount(count: number, where: string): void {
  if (count > MAX_FILES)
    throw new SourceError(
      `${where} has more than ${MAX_FILES} files: put the manifests into a folder of their own, and name it with --subdir`,
    );
}

/** @throws SourceError when there are more links than are followed. */
export function checkLinks(count: number, where: string): void {
  if (count > MAX_LINKS)
    throw new SourceError(`${where} has more than ${MAX_LINKS} symbolic links: commit the files themselves`);
}

/** Content that stands for other content: what git keeps of a file that a filter replaces in the work tree. */
export function standInProblem(bytes: Uint8Array): string | undefined {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 1024)).toString('latin1');
  const pointer =
    /^version https:\/\/(?:git-lfs\.github\.com|hawser\.github\.com)\/spec\/[^\n]*\n(?:[^\n]*\n)*?oid sha256:/;
  if (bytes.length <= 1024 && pointer.test(start))
    return 'it is a pointer of git LFS, whose content is not in git: commit the file itself (git lfs untrack, then git add --renormalize)';
  if (start.startsWith('\0GITCRYPT\0'))
    return 'it is encrypted by git-crypt, which the controller can not open: use `homeostat secret encrypt` and ageFrom';
  return undefined;
}
