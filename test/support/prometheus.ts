// A real Prometheus (Debian's package), on a free port of loopback, with a data directory of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { createHttp } from '../../agent/providers/http.ts';
import type { Units } from '../../kinds/ports.ts';
import { freePort } from './alloy/harness.ts';
import { eventually } from './eventually.ts';
import { temporaryDirectory } from './sandbox.ts';

export interface RunningPrometheus {
  readonly address: string;
  readonly url: string;
  readonly pid: number;
  /** Body of a GET. */
  ask(path: string): Promise<string>;
  /** `data` of an answer of its API. */
  api<T>(path: string): Promise<T>;
  kill(): Promise<void>;
  /** Once more, on the same port and data; of another config, if one is given. */
  restart(otherConfig?: string): Promise<void>;
}

/** How the test itself reaches a Prometheus that not everybody may ask. */
export interface Way {
  readonly scheme?: 'http' | 'https';
  /** As `/prometheus`. */
  readonly below?: string;
  readonly tls?: { readonly ca: string };
  readonly headers?: Readonly<Record<string, string>>;
}

/** Resolves when it is ready. It ends with the test. */
export async function startPrometheus(
  t: TestContext,
  configFile: string,
  args: readonly string[] = [],
  { scheme = 'http', below = '', ...way }: Way = {},
): Promise<RunningPrometheus> {
  const address = `127.0.0.1:${await freePort()}`;
  const data = path.join(temporaryDirectory(t), 'data');
  const url = `${scheme}://${address}${below}`;
  const client = createHttp();
  t.after(() => client.close());
  const ask = async (p: string) => (await client.request(`${url}${p}`, { timeoutMs: 10_000, ...way })).body;
  const begin = async (config = configFile) => {
    const child = spawn(
      'prometheus',
      [`--config.file=${config}`, `--storage.tsdb.path=${data}`, `--web.listen-address=${address}`, ...args],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let words = '';
    child.stderr.on('data', (chunk) => {
      words = `${words}${chunk}`.slice(-2000);
    });
    try {
      await eventually(async () => {
        if (child.exitCode !== null) throw new Error(`Prometheus ended: ${words}`);
        const text = await ask('/-/ready');
        if (!/Ready/.test(text)) throw new Error(text);
      }, 30_000);
      return child;
    } catch (error) {
      child.kill('SIGKILL'); // or the test's process would wait for it
      throw error;
    }
  };
  let child = await begin();
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  t.after(kill);
  return {
    address,
    url,
    get pid() {
      return child.pid!;
    },
    ask,
    api: async <T>(p: string) => (JSON.parse(await ask(`/api/v1${p}`)) as { data: T }).data,
    kill,
    async restart(otherConfig) {
      await kill();
      fs.rmSync(path.join(data, 'lock'), { force: true });
      child = await begin(otherConfig);
    },
  };
}

/** Writes a file so that it is newer than what was loaded before: a file system's clock is coarse. */
export function writeNewer(file: string, text: string): void {
  fs.writeFileSync(file, text);
  const atMs = Date.now() + 2;
  fs.utimesSync(file, atMs / 1000, atMs / 1000);
  while (Date.now() <= atMs); // not in the future for whoever looks next
}

/** A unit's reload, as Debian's has it: ExecReload=/bin/kill -HUP $MAINPID. */
export function unitOf(pid: () => number): Units {
  return {
    show: async (id: string) => ({ id }),
    run: async () => void process.kill(pid(), 'SIGHUP'),
    watch: async (_unit: string, wake: () => void, signal: AbortSignal) => {
      wake();
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    },
  } as unknown as Units;
}
