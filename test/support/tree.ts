// A directory tree as text: every path with its type, mode and content, for comparing before and after.
import fs from 'node:fs';
import path from 'node:path';

export function treeText(root: string): string {
  return fs
    .readdirSync(root, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => {
      const full = path.join(root, name);
      const stat = fs.lstatSync(full);
      const what = stat.isFile()
        ? fs.readFileSync(full).toString('base64')
        : stat.isSymbolicLink()
          ? fs.readlinkSync(full)
          : 'directory';
      return `${name} ${(stat.mode & 0o7777).toString(8)} ${stat.uid}:${stat.gid} ${what}`;
    })
    .join('\n');
}
