// Preloaded into an agent process (`--import`), so that the agent itself knows nothing of faults. What it does is
// told by the environment variable FAULT, as JSON (see Faults):
// - counts the steps by which the process changes anything (file system calls here, calls of ports in
//   agent-process.ts), and kills itself with SIGKILL just before, or half-way through, a chosen one;
// - makes file system calls below a directory fail with an errno for as long as a file exists;
// - moves the wall clock or the monotonic one by what is written in a file.
import childProcess from 'node:child_process';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';
import { performance } from 'node:perf_hooks';

export interface Faults {
  /** Of the test's host: steps on paths below its root and state count. */
  readonly directory: string;
  /** The step to die at, from 1; it counts from the start, or from a SIGUSR2 that is answered by the file `armed`. */
  readonly killAt?: number;
  readonly armed?: 'start' | 'signal';
  /** Where the names of the steps are written, one a line. */
  readonly record?: string;
  /** While the file `toggle` exists, its text is the errno of every call that touches a path below `under`. */
  readonly errno?: { readonly toggle: string; readonly under: string };
  /** Milliseconds to add to Date.now() and performance.now(): read at each call. */
  /** AbortSignal.timeout() comes that much sooner. */
  readonly timeoutsDividedBy?: number;
  readonly clock?: { readonly wall?: string; readonly monotonic?: string };
}

const faults = JSON.parse(process.env['FAULT'] ?? '{"directory":"/nonexistent"}') as Faults;
const real = { ...fs };
const paths = new Map<number, string>();
let counting = faults.armed === 'start';
let count = 0;
/** Inside of a call: what node's own functions call in turn is no step of its own. */
let inside = false;

/** One step of the process; `half` does what a write does when it is cut off in the middle. */
export function step(name: string, half?: () => void): void {
  if (!counting || inside) return;
  inside = true;
  for (const what of half === undefined ? [name] : [name, `half of ${name}`]) {
    count += 1;
    if (faults.record !== undefined) real.appendFileSync(faults.record, `${what}\n`);
    if (count !== faults.killAt) continue;
    if (what !== name) half?.();
    process.kill(process.pid, 'SIGKILL');
  }
  inside = false;
}

function resolved(target: unknown): string {
  if (typeof target === 'number') return paths.get(target) ?? '';
  const text = String(target);
  const handle = /^\/proc\/self\/fd\/(\d+)(.*)$/.exec(text);
  return handle === null ? text : path.join(paths.get(Number(handle[1])) ?? '', handle[2]!);
}

function shown(target: unknown): string {
  return path.relative(faults.directory, resolved(target)) || '.';
}

function failing(target: unknown): void {
  if (faults.errno === undefined || !resolved(target).startsWith(faults.errno.under)) return;
  if (!real.existsSync(faults.errno.toggle)) return;
  const code = real.readFileSync(faults.errno.toggle, 'utf8').trim();
  throw Object.assign(new Error(`${code}: injected, '${resolved(target)}'`), {
    code,
    path: resolved(target),
  });
}

function counted(target: unknown): boolean {
  const place = resolved(target);
  return ['root', 'state'].some((below) => place.startsWith(path.join(faults.directory, below)));
}

const writes = (flags: unknown): boolean =>
  typeof flags === 'number'
    ? (flags & (fs.constants.O_WRONLY | fs.constants.O_RDWR | fs.constants.O_CREAT)) !== 0
    : /[wa+]/.test(String(flags ?? 'r'));

type Call = (...args: unknown[]) => unknown;
function wrap(name: keyof typeof fs, before: (...args: unknown[]) => void): void {
  const original = real[name] as unknown as Call;
  (fs as unknown as Record<string, Call>)[name] = (...args) => {
    if (inside) return original.apply(fs, args);
    failing(args[0]);
    before(...args);
    inside = true;
    try {
      return original.apply(fs, args);
    } finally {
      inside = false;
    }
  };
}

function install(): void {
  const { openSync, closeSync } = real;
  fs.openSync = (target, flags, mode) => {
    failing(target);
    if (writes(flags) && counted(target)) step(`open ${shown(target)}`);
    const place = resolved(target);
    const fd = openSync(target, flags, mode);
    paths.set(fd, place);
    return fd;
  };
  fs.closeSync = (fd) => {
    paths.delete(fd);
    closeSync(fd);
  };
  for (const name of ['mkdirSync', 'rmSync', 'rmdirSync', 'unlinkSync', 'fsyncSync'] as const) {
    wrap(name, (target) => void (counted(target) && step(`${name.slice(0, -4)} ${shown(target)}`)));
  }
  for (const name of ['fchmodSync', 'fchownSync', 'ftruncateSync'] as const) {
    wrap(name, (fd) => void (counted(fd) && step(`${name.slice(0, -4)} ${shown(fd)}`)));
  }
  for (const name of ['renameSync', 'symlinkSync'] as const) {
    wrap(name, (_, to) => void (counted(to) && step(`${name.slice(0, -4)} ${shown(to)}`)));
  }
  wrap('writeSync', (fd, data) => {
    if (!counted(fd)) return;
    const bytes = data as Uint8Array;
    const half = (): void => void real.writeSync(fd as number, bytes, 0, bytes.length >> 1);
    step(`write ${shown(fd)}`, half);
  });
  wrap('writeFileSync', (target, data) => {
    if (!counted(target)) return;
    const text = String(data);
    step(`write ${shown(target)}`, () =>
      real.writeFileSync(target as number, text.slice(0, text.length >> 1)),
    );
  });
  for (const name of ['readSync', 'fstatSync'] as const) wrap(name, () => undefined);

  const { spawn } = childProcess;
  childProcess.spawn = ((...args: Parameters<typeof spawn>) => {
    step(`spawn ${path.basename(String(args[0]))}`);
    const child = spawn(...args);
    step(`spawned ${path.basename(String(args[0]))}`);
    return child;
  }) as typeof spawn;

  const { clock } = faults;
  const offset = (file: string): number =>
    real.existsSync(file) ? Number(real.readFileSync(file, 'utf8')) || 0 : 0;
  if (clock?.wall !== undefined) {
    const now = Date.now;
    Date.now = () => now() + offset(clock.wall!);
  }
  if (clock?.monotonic !== undefined) {
    const now = performance.now.bind(performance);
    performance.now = () => now() + offset(clock.monotonic!);
  }
  const { timeoutsDividedBy } = faults;
  if (timeoutsDividedBy !== undefined) {
    const timeout = AbortSignal.timeout.bind(AbortSignal);
    AbortSignal.timeout = (ms) => timeout(Math.ceil(ms / timeoutsDividedBy));
  }
  syncBuiltinESMExports();
}

if (process.env['FAULT'] !== undefined) {
  install();
  process.on('SIGUSR2', () => {
    counting = true;
    real.writeFileSync(path.join(faults.directory, 'armed'), '');
  });
  // For agent-process.ts, which may be bundled and can't import this very module.
  (globalThis as Record<string, unknown>)['faultStep'] = step;
}
