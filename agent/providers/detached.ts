// Programs that must not be cut off halfway: dpkg. Where systemd runs the host, such a program is a transient unit of
// its own: neither a stop nor a kill of the agent's unit reaches it. Elsewhere it is a session of its own, which no
// signal to the agent or to its terminal reaches. What it writes goes to files without a name, since a pipe would end
// with the agent, and the program with the pipe.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { errnoOf } from '../../api/errors.ts';
import type { ProcessResult } from '../../kinds/ports.ts';

export interface DetachedProgram {
  readonly command: string;
  readonly args: readonly string[];
  readonly timeoutMs: number;
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string | undefined;
  /** Of the transient unit, without what makes it unique; undefined where there are no units. */
  readonly unit: string | undefined;
  /** Ends the waiting; the program goes on. Its reason is thrown. */
  readonly leave: AbortSignal;
}

/** What may be read of one stream: its end. */
const MAX_OUTPUT = 4 * 1024 * 1024;
/** What Debian gives its own upgrades (apt-daily-upgrade.service) before a shutdown cuts them off. */
const STOP_SECONDS = 900;
/** systemd's limit comes after ours, so that the error is ours. */
const LATER_SECONDS = 10;
/** What systemd-run ends with then. */
const ENDED_BY_SIGNAL = 255;

/** Whether this process may start transient units: systemd is PID 1 (sd_booted(3)), and we are root. */
export function hasTransientUnits(): boolean {
  return process.getuid?.() === 0 && fs.existsSync('/run/systemd/system');
}

/** @throws Error when it can't be started, did not end in time, or was left. */
export async function runDetached(program: DetachedProgram): Promise<ProcessResult> {
  const output = openOutput();
  try {
    const unit = program.unit && `${program.unit}-${randomBytes(4).toString('hex')}.service`;
    const exitCode = await (unit === undefined ? inSession(program, output) : inUnit(program, unit, output));
    return { exitCode, stdout: output.read('stdout'), stderr: output.read('stderr') };
  } finally {
    output.close();
  }
}

async function inUnit(program: DetachedProgram, unit: string, output: Output): Promise<number> {
  const { command, args } = program;
  const { exitCode } = await run('systemd-run', [...unitOptions(program, unit), '--', command, ...args], {
    program,
    output,
    // Only what waits: the unit is systemd's.
    onLeave: (child) => child.kill(),
    goesOnIn: unit,
  });
  if (exitCode === 0) return 0;
  const words = output.read('stderr').trim();
  if (/^Failed to find executable/m.test(words)) throw missing(command);
  if (/^Failed to /.test(words)) throw new Error(`systemd did not start ${command}: ${words}`);
  if (await isActive(unit)) throw new Error(`${command} goes on in ${unit}, out of sight: ${words}`);
  if (exitCode === null || exitCode === ENDED_BY_SIGNAL)
    throw new Error(`${command} was ended by a signal (journalctl --unit ${unit})`);
  return exitCode;
}

function unitOptions({ command, timeoutMs, env, cwd }: DetachedProgram, unit: string): string[] {
  const { PATH, HOME } = process.env;
  const environment = { ...(PATH && { PATH }), ...(HOME && { HOME }), ...env };
  const properties = {
    // A stop, as before a shutdown, waits for its end: SIGCONT is the one signal that ends nothing.
    KillSignal: 'SIGCONT',
    TimeoutStopSec: STOP_SECONDS,
    // What its scripts leave running is not its to end.
    KillMode: 'process',
    RuntimeMaxSec: Math.ceil(timeoutMs / 1000) + LATER_SECONDS,
  };
  return [
    ...['--quiet', '--wait', '--pipe', '--collect', '--no-ask-password', '--service-type=exec'],
    `--unit=${unit}`,
    `--description=${path.basename(command)}, run by homeostat`,
    ...(cwd === undefined ? [] : [`--working-directory=${cwd}`]),
    ...Object.entries(environment).map(([name, value]) => `--setenv=${name}=${value}`),
    ...Object.entries(properties).map(([name, value]) => `--property=${name}=${value}`),
  ];
}

async function inSession(program: DetachedProgram, output: Output): Promise<number> {
  const { command, args } = program;
  const { exitCode, signal } = await run(command, args, {
    program,
    output,
    onLeave: (child) => child.unref(),
    goesOnIn: 'the background',
  });
  if (exitCode === null) throw new Error(`${command} was ended by ${signal}`);
  return exitCode;
}

interface Run {
  readonly program: DetachedProgram;
  readonly output: Output;
  readonly onLeave: (child: ChildProcess) => void;
  readonly goesOnIn: string;
}
type Ended = { readonly exitCode: number | null; readonly signal: NodeJS.Signals | null };

/** @throws Error when it can't be started, with the errno of spawn(2); did not end in time; or was left. */
async function run(
  command: string,
  args: readonly string[],
  { program, output, onLeave, goesOnIn }: Run,
): Promise<Ended> {
  const { leave, timeoutMs, env, cwd } = program;
  leave.throwIfAborted();
  const child = spawn(command, args, {
    detached: true,
    stdio: ['ignore', output.stdout, output.stderr],
    env: { ...process.env, ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('exit', (exitCode, signal) => resolve({ exitCode, signal }));
    child.once('error', (error) => reject(errnoOf(error) === 'ENOENT' ? missing(command) : error));
  });
  const tooLong = AbortSignal.timeout(timeoutMs);
  const result = await Promise.race([ended, aborted(AbortSignal.any([leave, tooLong]))]);
  if (result !== 'aborted') return result;
  if (!leave.aborted) {
    child.kill();
    throw new Error(`${program.command} did not end within ${timeoutMs} ms`);
  }
  onLeave(child);
  const cause: unknown = leave.reason;
  throw new Error(`${program.command} goes on in ${goesOnIn}, and is not waited for`, { cause });
}

function aborted(signal: AbortSignal): Promise<'aborted'> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve('aborted'), { once: true }));
}

function missing(command: string): Error {
  return Object.assign(new Error(`there is no program ${command} on this host`), { code: 'ENOENT' });
}

async function isActive(unit: string): Promise<boolean> {
  const child = spawn('systemctl', ['is-active', '--quiet', unit], { stdio: 'ignore' });
  return new Promise((resolve) => {
    child.once('exit', (code) => resolve(code === 0));
    child.once('error', () => resolve(false));
  });
}

interface Output {
  readonly stdout: number;
  readonly stderr: number;
  read(stream: 'stdout' | 'stderr'): string;
  close(): void;
}

/** Files that have no name any more: whoever has them open writes on, and nothing is left behind. */
function openOutput(): Output {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-output-'));
  try {
    const [stdout, stderr] = ['stdout', 'stderr'].map((name) =>
      fs.openSync(path.join(directory, name), 'wx+', 0o600),
    ) as [number, number];
    const fds = { stdout, stderr };
    return {
      ...fds,
      read: (stream) => readEnd(fds[stream]),
      close() {
        fs.closeSync(stdout);
        fs.closeSync(stderr);
      },
    };
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

function readEnd(fd: number): string {
  const { size } = fs.fstatSync(fd);
  const length = Math.min(size, MAX_OUTPUT);
  const buffer = Buffer.alloc(length);
  const read = fs.readSync(fd, buffer, 0, length, size - length);
  return buffer.toString('utf8', 0, read);
}
