// A plain directory as a snapshot, for `validate`, `plan` and `once`: what lies there now, committed or not, with the
// limits and refusals that the same files have when they come from a commit.
import {
  type BigIntStats,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoOf, inWords } from '../../api/errors.ts';
import { addLinks } from './links.ts';
import {
  checkCount,
  checkLinks,
  isSkipped,
  pathProblem,
  refusedFile,
  type Snapshot,
  type SnapshotFile,
  SourceError,
} from './snapshot.ts';
import { asCommitted } from './worktree.ts';

interface Found {
  readonly files: Map<string, SnapshotFile>;
  readonly links: Map<string, string>;
  readonly submodules: Set<string>;
}

/**
 * Symbolic links that lead out of the directory are refused where they are used.
 * @throws SourceError when it is no directory, or can't be read.
 */
export function readDirectory(root: string): Snapshot {
  const found: Found = { files: new Map(), links: new Map(), submodules: new Set() };
  let files: Map<string, SnapshotFile>;
  try {
    const base = realpathSync(root);
    if (!statSync(base).isDirectory()) throw new SourceError(`${root} is not a directory`);
    walk(root, base, '', found);
    files = asCommitted(base, found.files);
  } catch (error) {
    if (error instanceof SourceError) throw error;
    throw new SourceError(errnoOf(error) === 'ENOENT' ? `there is no directory ${root}` : inWords(error));
  }
  checkLinks(found.links.size, root);
  addLinks(files, found.links);
  return { commit: 'working-tree', files, submodules: found.submodules };
}

function walk(root: string, directory: string, prefix: string, found: Found): void {
  const names = readdirSync(directory).sort();
  // Another repository lies in this one: git keeps none of its files.
  if (prefix !== '' && names.includes('.git')) return void found.submodules.add(prefix.slice(0, -1));
  for (const name of names) {
    const path = `${prefix}${name}`;
    if (isSkipped(path)) continue;
    const full = join(directory, name);
    const stat = lstatSync(full, { bigint: true });
    const problem = pathProblem(path);
    if (stat.isDirectory()) walk(root, full, `${path}/`, found);
    else if (problem !== undefined) found.files.set(path, refusedFile(problem));
    else if (stat.isFile()) found.files.set(path, fileAt(full, stat));
    else if (stat.isSymbolicLink()) found.links.set(path, readlinkSync(full));
    checkCount(found.files.size + found.links.size, root);
  }
}

function fileAt(full: string, { size, mtimeNs, ino }: BigIntStats): SnapshotFile {
  return { oid: `${ino}-${mtimeNs}-${size}`, size: Number(size), read: async () => readFileSync(full) };
}
