// What keeps a file as it should be: homeostat, bare fs.watch, and mgmt where it is on PATH; each in a process of
// its own, in a directory of its own.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CONTENT, fileResources, scratch, startAgent } from './agents.ts';

export interface Keeper {
  /** As in the rows' names: `files=1`, `keeper=bare`. */
  readonly label: string;
  /** Whether the budgets are about it. */
  readonly isOurs: boolean;
  /** The one of its files that is tampered with. */
  readonly file: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** @param managed how many files the agent keeps. */
export async function homeostat(bundle: string, managed: number): Promise<Keeper> {
  const agent = await startAgent({ bundle, resources: fileResources(managed) });
  return {
    label: `files=${managed}`,
    isOurs: true,
    file: path.join(agent.root, 'managed', `f${Math.floor(managed / 2)}`),
    pid: agent.pid,
    stop: () => agent.stop(),
  };
}

export async function bareWatch(): Promise<Keeper> {
  const directory = scratch();
  const file = path.join(directory, 'managed', 'f0');
  const wanted = path.join(directory, 'wanted');
  fs.mkdirSync(path.dirname(file));
  fs.writeFileSync(wanted, CONTENT);
  const script = path.join(import.meta.dirname, 'bare-watch.mjs');
  return kept(
    'keeper=bare',
    directory,
    file,
    spawn(process.execPath, [script, file, wanted], { stdio: 'ignore' }),
  );
}

/** github.com/purpleidea/mgmt, the one event-driven peer; undefined where it is not on PATH. */
export async function mgmt(): Promise<Keeper | undefined> {
  const directories = (process.env['PATH'] ?? '').split(path.delimiter);
  const program = directories.map((d) => path.join(d, 'mgmt')).find((p) => fs.existsSync(p));
  if (program === undefined) return undefined;
  const directory = scratch();
  const file = path.join(directory, 'managed', 'f0');
  fs.mkdirSync(path.dirname(file));
  const code = path.join(directory, 'main.mcl');
  const text = JSON.stringify(CONTENT);
  fs.writeFileSync(code, `file "${file}" { state => "exists", content => ${text}, mode => "0644", }\n`);
  return kept(
    'keeper=mgmt',
    directory,
    file,
    spawn(program, ['run', '--tmp-prefix', 'lang', code], { stdio: 'ignore', cwd: directory }),
  );
}

async function kept(label: string, directory: string, file: string, child: ChildProcess): Promise<Keeper> {
  const deadline = performance.now() + 60_000;
  while (!fs.existsSync(file)) {
    if (performance.now() > deadline || child.exitCode !== null)
      throw new Error(`${label} did not make ${file}`);
    await delay(50);
  }
  await delay(500);
  return {
    label,
    isOurs: false,
    file,
    pid: child.pid!,
    async stop() {
      child.kill('SIGTERM');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      fs.rmSync(directory, { recursive: true, force: true });
    },
  };
}
