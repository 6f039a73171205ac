// The demo's processes: homeostat itself, as a user would start it, and git.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';

const root = path.dirname(path.dirname(import.meta.dirname));
const program = path.join(root, 'cli', 'homeostat.ts');

/** Runs a subcommand to its end. @returns its standard output. @throws Error with its standard error. */
export function homeostat(...args: string[]): string {
  try {
    return execFileSync(process.execPath, [program, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (error) {
    throw new Error(`homeostat ${args.join(' ')}: ${(error as { stderr?: string }).stderr ?? error}`);
  }
}

export interface Daemon {
  readonly child: ChildProcess;
  /** Its log lines so far. */
  readonly log: () => string;
  stop(): Promise<void>;
}

/** Starts a subcommand that keeps running, with its log in a file. */
export function daemon(logFile: string, ...args: string[]): Daemon {
  const out = fs.openSync(logFile, 'a');
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', out, out] });
  fs.closeSync(out);
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return {
    child,
    log: () => fs.readFileSync(logFile, 'utf8'),
    async stop() {
      child.kill('SIGTERM');
      const hard = setTimeout(() => child.kill('SIGKILL'), 30_000);
      await ended;
      clearTimeout(hard);
    },
  };
}

export function git(repo: string, ...args: string[]): string {
  const identity = ['-c', 'user.name=demo', '-c', 'user.email=demo@localhost', '-c', 'commit.gpgsign=false'];
  return execFileSync('git', ['-C', repo, ...identity, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim();
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer().on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
