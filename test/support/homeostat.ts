// The command line as a person calls it: a process of its own, with no more environment than it is given.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { PROGRAM } from './program.ts';

/** @returns a function that runs `homeostat` in that directory, to its end. */
export function homeostatIn(cwd: string) {
  return async (args: string[], env: Record<string, string> = {}) => {
    const child = spawn(process.execPath, [PROGRAM, ...args], {
      cwd,
      timeout: 60_000,
      env: { PATH: process.env['PATH'], NO_COLOR: '1', ...env },
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (data) => (stdout += data));
    child.stderr.on('data', (data) => (stderr += data));
    const [status] = (await once(child, 'close')) as [number];
    return { status, stdout, stderr };
  };
}
