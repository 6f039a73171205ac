// A host's paths as a test says they are: links, kinds of files, sockets; nothing is mounted but its root.
import path from 'node:path';
import type { Mounts, Resolved } from '../../kinds/ports.ts';

export interface PlainHost {
  /** By path, where it leads. */
  readonly links?: Readonly<Record<string, string>>;
  readonly types?: Readonly<Record<string, Resolved['type']>>;
  readonly sockets?: readonly string[];
}

/** @param root put before each path for the host's other programs */
export function plainMounts(root = '', { links = {}, types = {}, sockets = [] }: PlainHost = {}): Mounts {
  const follow = (p: string): string => {
    const from = Object.keys(links).find((link) => p === link || p.startsWith(`${link}/`));
    return from === undefined ? p : follow(path.normalize(links[from]! + p.slice(from.length)));
  };
  return {
    resolve(p) {
      const real = follow(path.normalize(p));
      return { path: real, hostPath: `${root}${real}`, type: types[real] ?? 'directory', links: 1 };
    },
    nameOf: (hostPath) => hostPath.slice(root.length),
    table: () => '1 0 8:1 / / rw - ext4 /dev/sda1 rw',
    tableOf: () => undefined,
    socketsIn: (hostPath) => sockets.filter((s) => s === hostPath || s.startsWith(`${hostPath}/`)),
  };
}
