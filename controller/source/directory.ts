// A plain directory as a snapshot, for `validate`, `plan` and `once`: what lies there now, committed or not.
import { lstatSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { join, sep } from 'node:path';
import { errnoOf, inWords } from '../../api/errors.ts';
import { type Snapshot, type SnapshotFile, SourceError } from './snapshot.ts';

const SKIPPED = new Set(['.git', 'node_modules']);

/**
 * Symbolic links that lead out of the directory are refused where they are used.
 * @throws SourceError when it is no directory, or can't be read.
 */
export function readDirectory(root: string): Snapshot {
  const files = new Map<string, SnapshotFile>();
  try {
    const base = realpathSync(root);
    if (!statSync(base).isDirectory()) throw new SourceError(`${root} is not a directory`);
    walk(base, base, '', files);
  } catch (error) {
    if (error instanceof SourceError) throw error;
    throw new SourceError(errnoOf(error) === 'ENOENT' ? `there is no directory ${root}` : inWords(error));
  }
  return { commit: 'working-tree', files };
}

function walk(base: string, directory: string, prefix: string, files: Map<string, SnapshotFile>): void {
  for (const name of readdirSync(directory).sort()) {
    if (SKIPPED.has(name)) continue;
    const full = join(directory, name);
    const path = `${prefix}${name}`;
    const stat = lstatSync(full);
    if (stat.isDirectory()) walk(base, full, `${path}/`, files);
    else if (stat.isFile()) files.set(path, fileAt(full));
    else if (stat.isSymbolicLink()) files.set(path, linkAt(base, full));
  }
}

function fileAt(full: string): SnapshotFile {
  const { size, mtimeMs, ino } = statSync(full);
  return { oid: `${ino}-${mtimeMs}-${size}`, size, read: async () => readFileSync(full) };
}

function linkAt(base: string, full: string): SnapshotFile {
  const refused = (why: string): SnapshotFile => ({
    oid: why,
    size: 0,
    refused: why,
    read: async () => Buffer.alloc(0),
  });
  let target: string;
  try {
    target = realpathSync(full);
  } catch {
    return refused('it is a symbolic link that leads nowhere: put the file itself there');
  }
  if (!target.startsWith(base + sep))
    return refused('it is a symbolic link that leads out of the manifests: put the file itself there');
  if (!statSync(target).isFile())
    return refused('it is a symbolic link to a directory: put the files themselves there');
  return fileAt(target);
}
