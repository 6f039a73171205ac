// Where paths lead on this host, and what processes have mounted, from what the kernel shows.
import fs from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../../api/errors.ts';
import type { Mounts, Resolved } from '../../kinds/ports.ts';
import { realPlace } from './path-steps.ts';

/** A directory with more entries than these, or deeper, is not looked through for sockets that nobody listens on. */
const MOST_ENTRIES = 5_000;
const DEEPEST = 6;

/** @param options.root below which all paths are, in a sandbox */
export function createMounts(options: { readonly root?: string } = {}): Mounts {
  const root = options.root === undefined ? '' : realOf(path.resolve(options.root));
  // An engine that a sandbox shares with others keeps its volumes elsewhere: a name that no grant of a path has.
  const outside = `outside ${root}: `;
  const nameOf = (real: string): string => {
    if (root === '' || root === '/') return real;
    if (real === root) return '/';
    return real.startsWith(`${root}/`) ? real.slice(root.length) : `${outside}${real}`;
  };
  return {
    nameOf,

    resolve(p): Resolved {
      const isOutside = root !== '' && p.startsWith(outside);
      if (!isOutside && !path.isAbsolute(p)) throw new Error(`${p} is not an absolute path`);
      const hostPath = realOf(isOutside ? p.slice(outside.length) : path.normalize(`${root}/${p}`));
      const stat = lstat(hostPath);
      return { path: nameOf(hostPath), hostPath, type: typeOf(stat), links: stat?.nlink ?? 0 };
    },

    table: () => readText('/proc/self/mountinfo') ?? '',

    tableOf(id, pid) {
      const table = tableOfProcess(String(pid), id);
      if (table !== undefined) return table;
      // The engine counts in a namespace of its own.
      for (const other of processes()) {
        const numbers = /^NSpid:\s*(.*)$/m.exec(readText(`/proc/${other}/status`) ?? '')?.[1]?.split(/\s+/);
        if (numbers === undefined || !numbers.slice(1).includes(String(pid))) continue;
        const found = tableOfProcess(other, id);
        if (found !== undefined) return found;
      }
      return undefined;
    },

    socketsIn(hostPath) {
      const known = listening().filter((socket) => socket === hostPath || socket.startsWith(`${hostPath}/`));
      return [...new Set([...known, ...found(hostPath)])];
    },
  };
}

/** Every link followed; what does not exist stays as it is written. @throws system errors: it is what is judged */
const realOf = (target: string): string => realPlace(target, true, linkAt);

const linkAt = (entry: string): string | undefined =>
  lstat(entry)?.isSymbolicLink() === true ? fs.readlinkSync(entry) : undefined;

function lstat(file: string): fs.Stats | undefined {
  try {
    return fs.lstatSync(file, { throwIfNoEntry: false });
  } catch (error) {
    if (errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

function typeOf(stat: fs.Stats | undefined): Resolved['type'] {
  if (stat === undefined) return 'absent';
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'directory';
  return stat.isSocket() ? 'socket' : 'other';
}

/** undefined for what is not there (any more). */
function readText(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function processes(): string[] {
  try {
    return fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}

/** A container's ID stands in its control group, and in the files that its engine mounts into it. */
function tableOfProcess(pid: string, id: string): string | undefined {
  const table = readText(`/proc/${pid}/mountinfo`);
  if (table === undefined || table === '') return undefined;
  return table.includes(id) || readText(`/proc/${pid}/cgroup`)?.includes(id) ? table : undefined;
}

/** Of this network namespace, as they were bound (proc(5), net/unix). */
function listening(): string[] {
  const lines = readText('/proc/net/unix')?.split('\n') ?? [];
  const bound = lines.flatMap((line) => /^\S+: (?:\S+ ){5}\s*\S+ (\/.*)$/.exec(line)?.[1] ?? []);
  return [...new Set(bound)].map(realOf).filter((real) => lstat(real)?.isSocket() === true);
}

function found(directory: string): string[] {
  const sockets: string[] = [];
  let entries = 0;
  const lookInto = (at: string, depth: number): void => {
    if (depth > DEEPEST || entries > MOST_ENTRIES) return;
    let names: fs.Dirent[];
    try {
      names = fs.readdirSync(at, { withFileTypes: true });
    } catch {
      return;
    }
    entries += names.length;
    for (const entry of names) {
      if (entry.isSocket()) sockets.push(path.join(at, entry.name));
      else if (entry.isDirectory()) lookInto(path.join(at, entry.name), depth + 1);
    }
  };
  const stat = lstat(directory);
  if (stat?.isSocket()) return [directory];
  if (stat?.isDirectory()) lookInto(directory, 0);
  return sockets;
}
