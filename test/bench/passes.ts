// How long whole passes take: the first one from exec, the one that creates everything, the one that finds nothing.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { AGENT_NODE_ARGUMENTS, AGENT_TIER_ARGUMENTS } from '../../scripts/bundle.ts';
import { CONTENT, fileResources, scratch, startAgent } from './agents.ts';
import { median, type Row } from './statistics.ts';

/** From exec until each of `files` resources had its pass; the files are there already, as after a reboot. */
export async function startUp(bundle: string, files: number, runs: number): Promise<number[]> {
  const directory = scratch();
  const resources = fileResources(files);
  try {
    await (await startAgent({ bundle, resources, directory })).stop();
    const times: number[] = [];
    for (let i = 0; i < runs; i++) {
      const agent = await startAgent({ bundle, resources, directory });
      times.push(agent.readyMs);
      await agent.stop();
    }
    return times;
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

/** From exec until all are there and confirmed, from nothing. */
export async function creation(bundle: string, files: number, runs: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < runs; i++) {
    const agent = await startAgent({ bundle, resources: fileResources(files) });
    times.push(agent.readyMs);
    await agent.stop();
  }
  return times;
}

/** Passes over everything in an agent that runs as the launcher runs it, by its own clock. */
export async function noOp(files: number, runs: number): Promise<number[]> {
  const directory = scratch();
  const manifest = path.join(directory, 'manifest.json');
  fs.mkdirSync(path.join(directory, 'root'));
  fs.writeFileSync(manifest, JSON.stringify(fileResources(files)));
  const child = spawn(
    process.execPath,
    [
      ...AGENT_NODE_ARGUMENTS,
      ...AGENT_TIER_ARGUMENTS,
      path.join(import.meta.dirname, 'agent-process.ts'),
      directory,
      manifest,
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  try {
    const next = linesOf(child);
    await next(); // ready
    const times: number[] = [];
    for (let i = 0; i < runs + 1; i++) {
      child.stdin.write('pass\n');
      times.push(Number(await next()));
    }
    // The first of them still compiles.
    return times.slice(1);
  } finally {
    child.kill('SIGTERM');
    await once(child, 'exit');
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

function linesOf(child: ChildProcess): () => Promise<string> {
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error('the agent ended');
    return value as string;
  };
}

export function passRows(name: string, labels: string, times: readonly number[], budget?: number): Row[] {
  return [
    { name: `${name}_p50${labels}`, value: median(times), unit: 'ms', budget },
    { name: `${name}_max${labels}`, value: Math.max(...times), unit: 'ms' },
  ];
}

/** What the same costs without an agent, in a process of its own: `node -e` on a few synchronous calls. */
export async function bare(
  what: 'start' | 'create' | 'read',
  files: number,
  runs: number,
): Promise<number[]> {
  const times: number[] = [];
  const program = {
    start: '',
    create: `for (let i = 0; i < ${files}; i++) {
      const fd = fs.openSync('f' + i + '.new', 'w');
      fs.writeSync(fd, content); fs.fsyncSync(fd); fs.closeSync(fd);
      fs.renameSync('f' + i + '.new', 'f' + i);
    }`,
    read: `for (let i = 0; i < ${files}; i++) {
      const { mode } = fs.statSync('f' + i);
      if (mode === 0 || !fs.readFileSync('f' + i).equals(content)) throw new Error('differs');
    }`,
  }[what];
  const prepare =
    what === 'read' ? `for (let i = 0; i < ${files}; i++) fs.writeFileSync('f' + i, content);` : '';
  const script = `const fs = require('node:fs'); const content = Buffer.from(${JSON.stringify(CONTENT)});
    ${prepare} const began = performance.now(); ${program} console.log(performance.now() - began);`;
  for (let i = 0; i < runs; i++) {
    const directory = scratch();
    const began = performance.now();
    const child = spawn(process.execPath, ['-e', script], {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const line = await linesOf(child)();
    times.push(what === 'start' ? performance.now() - began : Number(line));
    if (child.exitCode === null) await once(child, 'exit');
    fs.rmSync(directory, { recursive: true, force: true });
  }
  return times;
}
