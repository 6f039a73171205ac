// Symbolic links of a tree, resolved by their texts alone, in a commit as in a directory: a link is as good as the
// file it leads to, as long as it stays inside the tree, and what it passes through is a folder of the tree.
import { posix } from 'node:path';
import { refusedFile, type SnapshotFile } from './snapshot.ts';

const MAX_HOPS = 40;

/** Adds each link to `files`: as the file it leads to, or as one that is refused. @param links target by path. */
export function addLinks(files: Map<string, SnapshotFile>, links: ReadonlyMap<string, string>): void {
  const found = [...links.keys()].map((path) => [path, fileAt(path, files, links)] as const);
  for (const [path, file] of found) files.set(path, file);
}

function fileAt(path: string, files: ReadonlyMap<string, SnapshotFile>, links: ReadonlyMap<string, string>) {
  const end = follow(path, links);
  if (end === undefined)
    return refusedFile(
      'it is a symbolic link that leads out of the manifests, or in a circle: put the file itself there',
      path,
    );
  return (
    files.get(end) ??
    refusedFile(`it is a symbolic link to ${end}, and there is no such file: put the file itself there`, path)
  );
}

/** Where a path ends when each link on the way is followed; undefined where that leads out, or never ends. */
function follow(path: string, links: ReadonlyMap<string, string>): string | undefined {
  let rest = path.split('/');
  let at = '';
  for (let hops = 0; rest.length > 0; ) {
    const name = rest.shift()!;
    const next = posix.join(at, name);
    if (next === '..' || next.startsWith('../')) return undefined;
    const target = links.get(next);
    if (target === undefined) {
      at = next === '.' ? '' : next;
      continue;
    }
    hops += 1;
    if (hops > MAX_HOPS || target.startsWith('/')) return undefined;
    rest = [...target.split('/').filter((part) => part !== ''), ...rest];
  }
  return at;
}
