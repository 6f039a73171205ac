// Many command lines, in one process of their own: a process each would take minutes.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { after } from 'node:test';
import type { Ran } from './cli-process.ts';

/** To be called at the top of a test file. @returns a function that runs `homeostat` in that directory. */
export function cliRuns(): (cwd: string, args: readonly string[]) => Promise<Ran> {
  const child = fork(path.join(import.meta.dirname, 'cli-process.ts'), [], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { PATH: process.env['PATH'], NO_COLOR: '1', EDITOR: 'false', HOME: '/nonexistent/home' },
  });
  after(() => child.disconnect());
  return async (cwd, args) => {
    const ended = once(child, 'exit').then(([code]) => {
      throw new Error(`homeostat ${args.join(' ')} ended the process with ${String(code)}`);
    });
    ended.catch(() => {});
    const answer = once(child, 'message');
    child.send({ args, cwd });
    const [ran] = (await Promise.race([answer, ended])) as [Ran];
    return ran;
  };
}
