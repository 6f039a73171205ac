// The files of one commit. Only what is committed counts: a working tree is never looked at.
import { posix } from 'node:path';
import { BlobReader } from './blobs.ts';
import type { Git } from './git.ts';
import { type Snapshot, type SnapshotFile, SourceError } from './snapshot.ts';

export interface OpenSnapshot extends Snapshot {
  /** Ends the reading process; reads afterwards fail. */
  close(): Promise<void>;
}

/**
 * @param subdir below which the manifests are; '' for all of the repository.
 * @throws SourceError
 */
export async function openSnapshot(
  git: Git,
  commit: string,
  subdir: string,
  signal?: AbortSignal,
): Promise<OpenSnapshot> {
  const options = signal === undefined ? {} : { signal };
  let listing: Buffer;
  try {
    listing = await git.run(['ls-tree', '-r', '-z', '-l', '--full-tree', `${commit}:${subdir}`], options);
  } catch (error) {
    if (subdir === '' || !/Not a valid object name|not a tree object|does not exist/i.test(String(error)))
      throw error;
    throw new SourceError(
      `commit ${commit.slice(0, 12)} has no folder ${subdir}: commit it, or say another --subdir`,
    );
  }
  const reader = new BlobReader(git);
  const files = new Map<string, SnapshotFile>();
  const links = new Map<string, string>();
  for (const line of listing.toString('utf8').split('\0')) {
    // <mode> SP <type> SP <object> SP+ <size> TAB <path>
    const tab = line.indexOf('\t');
    if (tab < 0) continue;
    const [mode, type, oid, size] = line.slice(0, tab).split(/ +/);
    if (type !== 'blob' || oid === undefined) continue; // a submodule's files are another repository's
    const path = line.slice(tab + 1);
    if (mode === '120000') links.set(path, oid);
    else files.set(path, { oid, size: Number(size), read: () => reader.read(oid) });
  }
  try {
    await resolveLinks(files, links, reader);
  } catch (error) {
    await reader.close();
    throw error;
  }
  return { commit, files, close: () => reader.close() };
}

/** A symbolic link is as good as the file it leads to, as long as it stays inside the tree. */
async function resolveLinks(
  files: Map<string, SnapshotFile>,
  links: Map<string, string>,
  reader: BlobReader,
): Promise<void> {
  const targets = new Map<string, string>();
  await Promise.all(
    [...links].map(async ([path, oid]) => {
      targets.set(path, (await reader.read(oid)).toString('utf8'));
    }),
  );
  for (const [path, oid] of links) {
    const end = follow(path, targets);
    const file = end === undefined ? undefined : files.get(end);
    const refused =
      end === undefined
        ? 'it is a symbolic link that leads out of the manifests, or in a circle: commit the file itself'
        : `it is a symbolic link to ${end}, and there is no such file: commit the file itself`;
    files.set(path, file ?? { oid, size: 0, refused, read: async () => Buffer.alloc(0) });
  }
}

function follow(path: string, targets: ReadonlyMap<string, string>): string | undefined {
  let at = path;
  for (let hops = 0; hops < 16; hops++) {
    const target = targets.get(at);
    if (target === undefined) return at;
    at = posix.normalize(posix.join(posix.dirname(at), target));
    if (target.startsWith('/') || at === '..' || at.startsWith('../')) return undefined;
  }
  return undefined;
}
