// A process's memory, as the kernel counts it (proc(5), smaps_rollup).
import fs from 'node:fs';

export interface Memory {
  readonly residentMiB: number;
  readonly privateDirtyMiB: number;
}

export function memoryOf(pid: number): Memory {
  const text = fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const mib = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]) / 1024;
  return { residentMiB: mib('Rss'), privateDirtyMiB: mib('Private_Dirty') };
}
