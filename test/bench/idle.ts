// What an agent costs that has nothing to do: memory, processor time, inotify. As the kernel counts them (proc(5)).
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileResources, startAgent } from './agents.ts';
import type { Row } from './statistics.ts';

/** What follows a start (compilation in the background, a first collection) is not yet idleness. */
const SETTLE_MS = 5_000;

export interface Memory {
  readonly residentMiB: number;
  readonly privateDirtyMiB: number;
}

export function memoryOf(pid: number): Memory {
  const text = fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const mib = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]) / 1024;
  return { residentMiB: mib('Rss'), privateDirtyMiB: mib('Private_Dirty') };
}

/** Of all its threads, milliseconds. */
export function processorMs(pid: number): number {
  return fs
    .readdirSync(`/proc/${pid}/task`)
    .map((tid) => Number(fs.readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'utf8').split(' ')[0]) / 1e6)
    .reduce((a, b) => a + b, 0);
}

function inotifyInstances(pid: number): number {
  const fds = fs.readdirSync(`/proc/${pid}/fd`);
  return fds.filter((fd) => linkOf(`/proc/${pid}/fd/${fd}`) === 'anon_inode:inotify').length;
}

function linkOf(file: string): string {
  try {
    return fs.readlinkSync(file);
  } catch {
    return ''; // closed meanwhile
  }
}

/** Node itself with an event loop that waits: what no agent under node can go below. */
export async function bareNode(): Promise<Memory> {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' });
  await once(child, 'spawn');
  await delay(1000);
  const memory = memoryOf(child.pid!);
  child.kill('SIGTERM');
  await once(child, 'exit');
  return memory;
}

export interface IdleOptions {
  readonly bundle: string;
  readonly files: number;
  readonly idleMs: number;
  readonly budgets: {
    residentMiB?: number;
    privateDirtyMiB?: number;
    corePercent?: number;
    inotify?: number;
  };
}

export async function idle({ bundle, files, idleMs, budgets }: IdleOptions): Promise<Row[]> {
  const agent = await startAgent({ bundle, resources: fileResources(files) });
  try {
    await delay(SETTLE_MS);
    const began = performance.now();
    const before = processorMs(agent.pid);
    await delay(idleMs);
    const corePercent = (100 * (processorMs(agent.pid) - before)) / (performance.now() - began);
    const { residentMiB, privateDirtyMiB } = memoryOf(agent.pid);
    const labels = `{files=${files}}`;
    return [
      { name: `idle_resident${labels}`, value: residentMiB, unit: 'MiB', budget: budgets.residentMiB },
      {
        name: `idle_private_dirty${labels}`,
        value: privateDirtyMiB,
        unit: 'MiB',
        budget: budgets.privateDirtyMiB,
      },
      { name: `idle_core${labels}`, value: corePercent, unit: '%', budget: budgets.corePercent },
      {
        name: `idle_inotify_instances${labels}`,
        value: inotifyInstances(agent.pid),
        unit: 'instances',
        budget: budgets.inotify,
      },
    ];
  } finally {
    await agent.stop();
  }
}
