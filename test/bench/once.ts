// `homeostat once` on a host that is as its manifests say: what cron runs. The installed form, and the whole process:
// its launcher, Node's start, the manifests, the passes, the report. The machine's own noise is told beside it, as what
// bare Node takes to start and end.
import { spawn } from 'node:child_process';
import { once as event } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { scratch } from './agents.ts';
import { median, type Row } from './statistics.ts';

export const ONCE_BUDGETS = { wallMs: 400, residentMiB: 100 } as const;

/**
 * Its own peak, read when it ends: the kernel's count for those who wait for a child (getrusage(2)) begins with what the
 * parent had when it forked.
 */
const AT_EXIT = `process.on('exit', () => {
  const fs = require('node:fs');
  const { user, system } = process.cpuUsage();
  const status = fs.readFileSync('/proc/self/status', 'utf8');
  fs.writeFileSync(process.env.BENCH_STATUS, status + 'BenchProcessor: ' + (user + system));
});`;

interface Run {
  readonly wallMs: number;
  /** Of all its threads. */
  readonly processorMs: number;
  readonly peakMiB: number;
}

export interface OnceRuns {
  readonly ours: readonly Run[];
  readonly bare: readonly Run[];
}

/** In turns with a Node that does nothing. */
export async function onceRuns(bundle: string, files: number, runs: number): Promise<OnceRuns> {
  const directory = scratch();
  const inDirectory = (name: string): string => path.join(directory, name);
  try {
    fs.mkdirSync(inDirectory('manifests'));
    fs.writeFileSync(inDirectory('manifests/all.yaml'), manifests(files));
    fs.writeFileSync(inDirectory('at-exit.cjs'), AT_EXIT);
    const environment = {
      ...process.env,
      PATH: `${path.dirname(process.execPath)}:${process.env['PATH']}`,
      NODE_OPTIONS: `--require ${inDirectory('at-exit.cjs')}`,
      BENCH_STATUS: inDirectory('status'),
    };
    const run = (command: string, args: readonly string[]): Promise<Run> =>
      measured(command, args, environment);
    const options = ['--dir', inDirectory('manifests'), '--host', 'bench', '--root', inDirectory('root')];
    const ours = (): Promise<Run> => run(path.join(bundle, 'homeostat'), ['once', ...options]);
    await ours(); // writes them all
    const results = { ours: [] as Run[], bare: [] as Run[] };
    for (let i = 0; i < runs; i++) {
      results.ours.push(await ours());
      results.bare.push(await run(process.execPath, ['-e', '']));
    }
    return results;
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

async function measured(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv & { readonly BENCH_STATUS: string },
): Promise<Run> {
  const began = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'], env });
  const [code] = (await event(child, 'exit')) as [number | null];
  const wallMs = performance.now() - began;
  if (code !== 0) throw new Error(`${path.basename(command)} ${args[0]} ended with ${code}`);
  const status = fs.readFileSync(env.BENCH_STATUS, 'utf8');
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
  return { wallMs, processorMs: field('BenchProcessor') / 1000, peakMiB: field('VmHWM') / 1024 };
}

/** One file with all, as a small fleet has it: 250 bytes each. */
function manifests(files: number): string {
  const host = { kind: 'Host', metadata: { name: 'bench' }, spec: { mode: 'enforce' } };
  const documents = Array.from({ length: files }, (_, i) => ({
    kind: 'File',
    metadata: { name: `f${i}` },
    hosts: { all: true },
    spec: { path: `/managed/f${i}`, content: `line ${i}\n`.repeat(10) },
  }));
  return [host, ...documents]
    .map((document) => JSON.stringify({ apiVersion: 'homeostat.dev/v1', ...document }))
    .join('\n---\n');
}

export function onceRows(files: number, { ours, bare }: OnceRuns): Row[] {
  const labels = `{files=${files}}`;
  const of = (runs: readonly Run[], what: keyof Run): number => median(runs.map((run) => run[what]));
  return [
    {
      name: `once_wall_p50${labels}`,
      value: of(ours, 'wallMs'),
      unit: 'ms',
      budget: ONCE_BUDGETS.wallMs,
    },
    { name: `once_wall_max${labels}`, value: Math.max(...ours.map((r) => r.wallMs)), unit: 'ms' },
    {
      name: `once_resident_most${labels}`,
      value: Math.max(...ours.map((r) => r.peakMiB)),
      unit: 'MiB',
      budget: ONCE_BUDGETS.residentMiB,
    },
    { name: `once_processor_p50${labels}`, value: of(ours, 'processorMs'), unit: 'ms' },
    { name: 'once_wall_p50{keeper=none}', value: of(bare, 'wallMs'), unit: 'ms' },
    { name: 'once_processor_p50{keeper=none}', value: of(bare, 'processorMs'), unit: 'ms' },
    { name: 'once_resident_p50{keeper=none}', value: of(bare, 'peakMiB'), unit: 'MiB' },
  ];
}
