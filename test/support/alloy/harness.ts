/**
 * For tests that need an Alloy: starts the real one where ALLOY_BIN names it, otherwise homeostat's
 * stand-in, waits for events instead of sleeping, and reads its HTTP side. Also where the recordings are.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

/** Shell script that runs the stand-in; put its folder on PATH to have it found as `alloy`. */
export const STANDIN = join(import.meta.dirname, 'alloy');

const SHARED = process.env['HOMEOSTAT_SHARED'] ?? join(import.meta.dirname, '../../../../shared');
const RECORDINGS = join(SHARED, 'data/alloy');

/** Reason to skip a test that reads recordings; false where they are. */
export const noRecordings = existsSync(RECORDINGS)
  ? false
  : `the recordings of real Alloy are not at ${RECORDINGS}; set HOMEOSTAT_SHARED to the folder that has data/alloy`;

export interface Outcome {
  exit: number;
  stdout: string;
  stderr: string;
}
export interface Answer {
  status: number;
  body: string;
}
/** One case of shared/data/alloy: what real Alloy 1.18 answered. */
export interface Recording {
  case: string;
  config: string;
  validate: Outcome;
  fmt: Outcome;
  reload: Answer;
  ready: Answer;
  healthy: Answer;
  healthy_10s_later: Answer;
  metrics_after_reload: string[];
  metrics_10s_later: string[];
  components: Record<string, unknown>[];
}

export function recording(name: string): Recording {
  return JSON.parse(recordedText(`${name}.json`)) as Recording;
}

export function recordedText(file: string): string {
  return readFileSync(join(RECORDINGS, file), 'utf8');
}

function environment(extra: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { ...process.env, HOMEOSTAT_NODE: process.execPath, ...extra };
}

/** The Alloy that tests of homeostat use. */
export function alloyBinary(): string {
  return process.env['ALLOY_BIN'] ?? STANDIN;
}

/** Runs a command of Alloy's to its end. */
export async function runAlloy(args: string[], cwd: string, binary = alloyBinary()): Promise<Outcome> {
  const child = spawn(binary, args, { cwd, env: environment({}), stdio: ['ignore', 'pipe', 'pipe'] });
  const [stdout, stderr, [exit]] = await Promise.all([
    child.stdout.setEncoding('utf8').toArray(),
    child.stderr.setEncoding('utf8').toArray(),
    once(child, 'close') as Promise<[number]>,
  ]);
  return { exit, stdout: stdout.join(''), stderr: stderr.join('') };
}

/** Asks again until the answer holds, at most `ms`; the error carries what was seen last. */
export async function until<T>(
  what: string,
  ask: () => Promise<T>,
  holds: (seen: T) => boolean,
  ms = 10_000,
): Promise<T> {
  const deadline = performance.now() + ms;
  for (;;) {
    const seen = await ask();
    if (holds(seen)) return seen;
    if (performance.now() > deadline)
      throw new Error(`${what}: not within ${ms} ms; last seen: ${JSON.stringify(seen)}`);
    await pause(15);
  }
}

/** The series of a /metrics page: value by `name{labels}`. */
export function parseMetrics(page: string): Map<string, number> {
  const lines = page.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [
      line.slice(0, line.lastIndexOf(' ')),
      Number(line.slice(line.lastIndexOf(' ') + 1)),
    ]),
  );
}

export class RunningAlloy {
  readonly child: ChildProcess;
  readonly url: string;

  constructor(child: ChildProcess, url: string) {
    this.child = child;
    this.url = url;
  }

  async ask(path: string, method = 'GET'): Promise<Answer> {
    const response = await fetch(this.url + path, { method });
    return { status: response.status, body: await response.text() };
  }

  reload(): Promise<Answer> {
    return this.ask('/-/reload', 'POST');
  }

  async metrics(): Promise<Map<string, number>> {
    return parseMetrics((await this.ask('/metrics')).body);
  }

  /** The sum of a family's series. */
  async total(name: string): Promise<number> {
    const series = [...(await this.metrics())].filter(([key]) => key === name || key.startsWith(`${name}{`));
    return series.reduce((sum, [, value]) => sum + value, 0);
  }

  /** Ends it as systemd does; resolves to its exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return this.child.exitCode;
    const closed = once(this.child, 'close') as Promise<[number | null]>;
    this.child.kill(signal);
    return (await closed)[0];
  }
}

export interface Start {
  cwd: string;
  /** Relative to cwd, as Alloy's messages name it. */
  file: string;
  env?: NodeJS.ProcessEnv;
  binary?: string;
}

/** Starts `alloy run FILE` on a free port of loopback; resolves when it is ready. */
export async function startAlloy(start: Start): Promise<RunningAlloy> {
  const port = await freePort();
  const listen = `--server.http.listen-addr=127.0.0.1:${port}`;
  const args = ['run', listen, '--storage.path=data', start.file];
  const child = spawn(start.binary ?? alloyBinary(), args, {
    cwd: start.cwd,
    env: environment(start.env ?? {}),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  let ended = false;
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log = (log + text).slice(-20_000);
  });
  child.on('close', () => {
    ended = true;
  });
  const alloy = new RunningAlloy(child, `http://127.0.0.1:${port}`);
  const ready = (): Promise<number> =>
    alloy.ask('/-/ready').then(
      ({ status }) => status,
      () => 0,
    );
  await until('alloy is ready', ready, (status) => status === 200 || ended, 30_000);
  if (ended) throw new Error(`alloy ended with ${child.exitCode}: ${log}`);
  return alloy;
}

/** A port that nothing listens on just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
