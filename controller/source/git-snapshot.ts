// The files of one commit. Only what is committed counts: a working tree is never looked at. Sizes are known before
// anything is read, and nothing is read that is larger than its use allows.
import { BlobReader } from './blobs.ts';
import { type Git, GitError } from './git.ts';
import { addLinks } from './links.ts';
import {
  checkCount,
  checkLinks,
  isSkipped,
  MAX_CONTENT_BYTES,
  MAX_FILES,
  MAX_LINK_BYTES,
  pathProblem,
  refusedFile,
  type Snapshot,
  type SnapshotFile,
  SourceError,
} from './snapshot.ts';

export interface OpenSnapshot extends Snapshot {
  /** Ends the reading process; reads afterwards fail. */
  close(): Promise<void>;
}

export interface OpenOptions {
  readonly signal?: AbortSignal;
  /** Default 30,000: for each file. */
  readonly answerMs?: number;
  /** Whether an object that is missing is damage, and not one that a partial clone left out. */
  readonly complete?: boolean;
}

/**
 * @param subdir below which the manifests are; '' for all of the repository.
 * @throws SourceError
 */
export async function openSnapshot(
  git: Git,
  commit: string,
  subdir: string,
  options: OpenOptions = {},
): Promise<OpenSnapshot> {
  const tree = await list(git, commit, subdir, options.signal);
  const lacking = tree.files.find(({ size }) => !Number.isInteger(size));
  if (lacking !== undefined && options.complete === true)
    throw new SourceError(`git lacks the content of ${lacking.path}: is the repository damaged?`);
  const reader = new BlobReader(git, options);
  const files = new Map<string, SnapshotFile>();
  const links: Entry[] = [];
  for (const entry of tree.files) {
    const problem = pathProblem(entry.path);
    if (problem !== undefined) files.set(entry.path, refusedFile(problem));
    else if (!Number.isInteger(entry.size))
      files.set(entry.path, refusedFile('git lacks its content: is the repository a partial clone?'));
    else if (!entry.isLink) files.set(entry.path, fileOf(entry, reader));
    else if (entry.size > MAX_LINK_BYTES)
      files.set(
        entry.path,
        refusedFile(`it is a symbolic link of ${entry.size} bytes, and a path has at most ${MAX_LINK_BYTES}`),
      );
    else links.push(entry);
  }
  try {
    checkLinks(links.length, `commit ${commit.slice(0, 12)}`);
    const read = links.map(async ({ path, oid }) => {
      return [path, (await reader.read(oid, MAX_LINK_BYTES)).toString('utf8')] as const;
    });
    addLinks(files, new Map(await Promise.all(read)));
  } catch (error) {
    await reader.close();
    throw error;
  }
  return { commit, files, submodules: tree.submodules, close: () => reader.close() };
}

interface Entry {
  readonly path: string;
  readonly oid: string;
  readonly isLink: boolean;
  /** NaN when the object is missing. */
  readonly size: number;
}

function fileOf({ oid, size }: Entry, reader: BlobReader): SnapshotFile {
  return { oid, size, read: () => reader.read(oid, MAX_CONTENT_BYTES) };
}

async function list(git: Git, commit: string, subdir: string, signal: AbortSignal | undefined) {
  const where = `commit ${commit.slice(0, 12)}${subdir === '' ? '' : `, folder ${subdir},`}`;
  const files: Entry[] = [];
  const submodules = new Set<string>();
  const listing = await lines(git, commit, subdir, where, signal);
  for (const line of listing) {
    // <mode> SP <type> SP <object> SP+ <size> TAB <path>
    const tab = line.indexOf('\t');
    const [mode, type, oid, size] = line.slice(0, tab).split(/ +/);
    const path = line.slice(tab + 1);
    if (isSkipped(path)) continue;
    if (type === 'commit') submodules.add(path);
    if (type !== 'blob' || oid === undefined) continue;
    files.push({ path, oid, isLink: mode === '120000', size: Number(size) });
    checkCount(files.length, where);
  }
  return { files, submodules };
}

async function lines(
  git: Git,
  commit: string,
  subdir: string,
  where: string,
  signal: AbortSignal | undefined,
): Promise<string[]> {
  try {
    const args = ['ls-tree', '-r', '-z', '-l', '--full-tree', `${commit}:${subdir}`];
    const listing = await git.run(args, signal === undefined ? {} : { signal });
    return listing.toString('utf8').split('\0').slice(0, -1);
  } catch (error) {
    if (error instanceof GitError && error.how === 'too much') checkCount(MAX_FILES + 1, where);
    if (subdir === '' || !/Not a valid object name|not a tree object|does not exist/i.test(String(error)))
      throw error;
    throw new SourceError(
      `commit ${commit.slice(0, 12)} has no folder ${subdir}: commit it, or say another --subdir`,
    );
  }
}
