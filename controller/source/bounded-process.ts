// Runs a program so that it always comes to an end: a deadline, a limit on silence, a limit on output, and a signal
// that cuts it off. The program is the leader of a process group of its own, and the whole group is ended, since git
// starts others (ssh, git-remote-https, credential helpers) that would keep its pipes open.
import { type ChildProcessByStdio, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { errnoOf } from '../../api/errors.ts';

export interface Program {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface Bounds {
  readonly timeoutMs: number;
  /** How long it may write nothing at all; without it only `timeoutMs` counts. */
  readonly quietMs?: number;
  /** Of standard output. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal;
}

/** Why a program was ended, or that it ended by itself. */
type Cause = 'ended' | 'late' | 'quiet' | 'aborted' | 'too much' | 'not found';

export interface Result {
  readonly cause: Cause;
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** From SIGTERM to SIGKILL, and from there until it is waited for no more. */
const GRACE_MS = 2_000;
/** After its end, for pipes that something it started holds open. */
const DRAIN_MS = 500;
const MAX_STDERR = 64 * 1024;

/** Ends a process group: politely, then at once. Settles even when the kernel does not let go of it. */
export async function endGroup(child: { readonly pid?: number | undefined }, exited: Promise<unknown>) {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    signalGroup(child.pid, signal);
    if (await within(GRACE_MS, exited)) break;
  }
  // What it started may have outlived it.
  signalGroup(child.pid, 'SIGKILL');
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // It is gone.
  }
}

/** Whether it settled in time. */
async function within(ms: number, promise: Promise<unknown>): Promise<boolean> {
  const late = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => late.resolve(false), ms);
  try {
    return await Promise.race([promise.then(() => true), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

export function startTalk({ file, args, env, cwd }: Program): ChildProcessWithoutNullStreams {
  return spawn(file, args, { env, cwd, stdio: 'pipe', detached: true });
}

/** Never throws: what went wrong is in the result. */
export async function runBounded({ file, args, env, cwd }: Program, bounds: Bounds): Promise<Result> {
  if (bounds.signal?.aborted) return { cause: 'aborted', code: null, stdout: Buffer.alloc(0), stderr: '' };
  const child = spawn(file, args, { env, cwd, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const exited = Promise.withResolvers<number | null>();
  const closed = Promise.withResolvers<void>();
  let cause: Cause = 'ended';
  child.once('error', (error) => {
    if (errnoOf(error) === 'ENOENT') cause = 'not found';
    exited.resolve(null);
    closed.resolve();
  });
  child.once('exit', (code) => exited.resolve(code));
  child.once('close', () => closed.resolve());
  const end = (why: Cause): void => {
    if (cause !== 'ended') return;
    cause = why;
    void endGroup(child, exited.promise).then(() => exited.resolve(null));
  };
  const read = collect(child, bounds, end);
  const code = await exited.promise;
  await within(DRAIN_MS, closed.promise);
  read.stop();
  return { cause, code, stdout: Buffer.concat(read.stdout), stderr: read.stderr() };
}

/** Keeps what comes, and calls `end` when a bound is reached. */
function collect(
  child: ChildProcessByStdio<null, Readable, Readable>,
  { timeoutMs, quietMs, maxBytes, signal }: Bounds,
  end: (why: Cause) => void,
) {
  const stdout: Buffer[] = [];
  let bytes = 0;
  let stderr = '';
  const late = setTimeout(() => end('late'), timeoutMs);
  let quiet: NodeJS.Timeout | undefined;
  const heard = (): void => {
    if (quietMs === undefined) return;
    clearTimeout(quiet);
    quiet = setTimeout(() => end('quiet'), quietMs);
  };
  const onAbort = (): void => end('aborted');
  signal?.addEventListener('abort', onAbort);
  heard();
  child.stdout.on('data', (chunk: Buffer) => {
    heard();
    bytes += chunk.length;
    if (bytes > maxBytes) end('too much');
    else stdout.push(chunk);
  });
  child.stderr.on('data', (chunk: Buffer) => {
    heard();
    // Of progress only the end is of interest, and that is where errors stand.
    stderr = (stderr + chunk.toString()).slice(-MAX_STDERR);
  });
  const stop = (): void => {
    clearTimeout(late);
    clearTimeout(quiet);
    signal?.removeEventListener('abort', onAbort);
    child.stdout.destroy();
    child.stderr.destroy();
  };
  return { stdout, stderr: () => stderr, stop };
}
