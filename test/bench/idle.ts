// What an agent costs that has nothing to do: memory, processor time, inotify. As the kernel counts them (proc(5)).
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { privateKeyOf, rawPublicKey } from '../../api/bundle.ts';
import { newSeed } from '../../controller/fleet/keys.ts';
import { type BenchAgent, fileResources, scratch, startAgent } from './agents.ts';
import { git, startController } from './controllers.ts';
import { type Memory, memoryOf } from './process-memory.ts';
import type { Row } from './statistics.ts';

/** What follows a start (compilation in the background, a first collection) is not yet idleness. */
const SETTLE_MS = 5_000;

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

/** With a controller that has it wait for news: what is always there on a host, and takes undici. */
export async function idleWithController(options: IdleOptions): Promise<Row[]> {
  const directory = scratch();
  const repo = path.join(directory, 'repo');
  const resources = fileResources(options.files);
  const seed = newSeed();
  const head = { apiVersion: 'homeostat.dev/v1' };
  const spec = { mode: 'enforce', publicKey: rawPublicKey(privateKeyOf(seed)) };
  const documents = [
    { ...head, kind: 'Host', metadata: { name: 'bench' }, spec },
    ...resources.map((r) => ({
      ...head,
      kind: r.kind,
      metadata: { name: r.name },
      hosts: { all: true },
      spec: r.spec,
    })),
  ];
  fs.mkdirSync(repo);
  git(repo, 'init', '-q', '-b', 'main');
  fs.writeFileSync(path.join(repo, 'all.yaml'), documents.map((d) => JSON.stringify(d)).join('\n---\n'));
  git(repo, 'add', '-A');
  git(repo, 'commit', '-q', '-m', 'all');
  const controller = await startController(options.bundle, directory, repo);
  try {
    const url = `http://127.0.0.1:${controller.port}`;
    const known = { url, publicKey: controller.publicKey(), seed };
    const agent = await startAgent({ bundle: options.bundle, resources, controller: known });
    return await measured(agent, `{files=${options.files},controller=1}`, options);
  } finally {
    await controller.stop();
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

export async function idle(options: IdleOptions): Promise<Row[]> {
  const { bundle, files } = options;
  const agent = await startAgent({ bundle, resources: fileResources(files) });
  return measured(agent, `{files=${files}}`, options);
}

async function measured(agent: BenchAgent, labels: string, { idleMs, budgets }: IdleOptions): Promise<Row[]> {
  try {
    await delay(SETTLE_MS);
    const began = performance.now();
    const before = processorMs(agent.pid);
    await delay(idleMs);
    const corePercent = (100 * (processorMs(agent.pid) - before)) / (performance.now() - began);
    const { residentMiB, privateDirtyMiB } = memoryOf(agent.pid);
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
