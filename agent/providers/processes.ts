// Programs of this host, run to their end. execa is loaded with the first of them: an agent whose kinds run none
// doesn't pay for it.
import fs from 'node:fs';
import path from 'node:path';
import { Stalled } from '../../api/errors.ts';
import type { Processes } from '../../kinds/ports.ts';
import { hasTransientUnits, runDetached } from './detached.ts';
import { commandLineOf } from './process-identity.ts';

/** A program that writes more than this to one stream is cut off; nobody reads on. */
const MAX_OUTPUT = 4 * 1024 * 1024;

export interface ProcessesOptions {
  /** Whether a program that a manifest chose may be run; it is named by where it really is. */
  readonly allows?: (program: string) => boolean;
  /** Whether detached programs get units of their own. Default: where systemd runs the host, and we are root. */
  readonly units?: boolean;
}

export interface ClosableProcesses extends Processes {
  /** What runs in a unit of its own is no longer waited for: it goes on without the agent. */
  leaveUnits(): void;
  /** How many detached programs are waited for. */
  detachedPrograms(): number;
  close(): Promise<void>;
}

export function createProcesses(options: ProcessesOptions = {}): ClosableProcesses {
  const closing = new AbortController();
  const leaving = new AbortController();
  let detachedPrograms = 0;

  return {
    locate,
    commandLine: commandLineOf,

    async run(command, args, { timeoutMs, signal, input, env, cwd, detached, chosen }) {
      // What was judged is what is run, whatever is put in its place on PATH meanwhile.
      const program = chosen === true ? (locate(command) ?? command) : command;
      if (chosen === true && options.allows?.(program) === false) {
        throw new Stalled('NotAllowed', `this host's agent does not allow ${program} to be run (allow.exec)`);
      }
      if (!(timeoutMs > 0)) throw new Error(`${command} must have a timeout`);
      signal?.throwIfAborted();
      if (detached !== undefined) {
        const unit = (options.units ?? hasTransientUnits()) ? detached.unit : undefined;
        const leave = [signal, closing.signal, unit && leaving.signal].filter(
          (s) => s instanceof AbortSignal,
        );
        detachedPrograms += 1;
        return runDetached({
          ...{ command, args, timeoutMs, cwd, unit },
          env: { LC_ALL: 'C', ...env },
          leave: AbortSignal.any(leave),
        }).finally(() => {
          detachedPrograms -= 1;
        });
      }
      const { execa } = await import('execa');
      const result = await execa(program, args, {
        ...(program === command ? {} : { argv0: command }),
        reject: false,
        timeout: timeoutMs,
        cancelSignal: signal === undefined ? closing.signal : AbortSignal.any([signal, closing.signal]),
        forceKillAfterDelay: 2000,
        maxBuffer: MAX_OUTPUT,
        stripFinalNewline: false,
        // Messages are matched and shown; they should not depend on who started the agent.
        env: { LC_ALL: 'C', ...env },
        ...(cwd === undefined ? {} : { cwd }),
        ...(input === undefined ? { stdin: 'ignore' as const } : { input }),
      });
      if (result.isCanceled) {
        signal?.throwIfAborted();
        throw new Error(`${command} was ended, since the agent stops`);
      }
      if (result.timedOut) throw new Error(`${describe(command, args)} did not end within ${timeoutMs} ms`);
      if (result.isMaxBuffer)
        throw new Error(`${describe(command, args)} wrote more than ${MAX_OUTPUT} bytes`);
      if (result.exitCode === undefined) throw startError(command, args, result);
      return { exitCode: result.exitCode, stdout: result.stdout, stderr: result.stderr };
    },

    leaveUnits: () => leaving.abort(),
    detachedPrograms: () => detachedPrograms,

    async close() {
      closing.abort();
    },
  };
}

/** Ended by a signal, or never started: then with the errno of spawn(2). */
function startError(
  command: string,
  args: readonly string[],
  result: { signal?: string | undefined; code?: string | undefined; shortMessage?: string | undefined },
): Error {
  if (result.signal !== undefined) {
    return new Error(`${describe(command, args)} was ended by ${result.signal}`);
  }
  const code = result.code ?? '';
  const words = code === 'ENOENT' ? `there is no program ${command} on this host` : result.shortMessage;
  return Object.assign(new Error(words ?? `${command} could not be started`), { code });
}

/** As execvp(3) finds it. */
function locate(command: string): string | undefined {
  const directories = command.includes('/')
    ? ['']
    : (process.env['PATH'] ?? '').split(':').filter(path.isAbsolute);
  for (const directory of directories) {
    try {
      const at = path.join(directory, command);
      fs.accessSync(at, fs.constants.X_OK);
      if (fs.statSync(at).isFile()) return fs.realpathSync(at);
    } catch {
      // not there, or not to be run: the next may be
    }
  }
  return undefined;
}

function describe(command: string, args: readonly string[]): string {
  return args[0] === undefined ? command : `${command} ${args[0]}`;
}
