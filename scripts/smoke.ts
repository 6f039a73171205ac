// What only shows in the form that is shipped: that the controller's compiling thread is found and runs.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

const HOST = 'apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: pi}\nspec: {mode: observe}\n';

/** Starts a controller on a repository with one host. @throws Error when it does not publish it. */
export async function publishesACommit(program: string, args: readonly string[] = []): Promise<void> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-smoke-'));
  const repo = path.join(directory, 'repo');
  fs.mkdirSync(repo);
  fs.writeFileSync(path.join(repo, 'pi.yaml'), HOST);
  const git = (...rest: string[]) =>
    execFileSync('git', ['-c', 'user.name=B', '-c', 'user.email=b@example.com', ...rest], { cwd: repo });
  git('init', '--quiet');
  git('add', '--all');
  git('commit', '--quiet', '--message', 'one host');
  const options = ['--repo', repo, '--state', path.join(directory, 'state'), '--listen', '127.0.0.1:0'];
  const child = spawn(program, [...args, 'controller', ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  try {
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(line);
      if (/"msg":"revision published"/.test(line)) return;
      if (/"level":"(?:warn|error)"/.test(line)) break;
    }
    throw new Error(`the controller does not publish a commit:\n${lines.join('\n')}`);
  } finally {
    child.kill('SIGTERM');
    await ended;
    fs.rmSync(directory, { recursive: true, force: true });
  }
}
