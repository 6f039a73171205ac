// The controller as it is installed, in a process of its own, on a repository that was made for it.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { privateKeyOf, rawPublicKey } from '../../api/bundle.ts';

export function git(directory: string, ...args: string[]): void {
  const identity = ['-c', 'user.name=B', '-c', 'user.email=b@example.com'];
  execFileSync('git', [...identity, ...args], { cwd: directory });
}

/** @param prefix what runs it, as `taskset -c 1` */
export async function startController(
  bundle: string,
  directory: string,
  repo: string,
  prefix: readonly string[] = [],
) {
  const state = path.join(directory, 'state');
  const options = ['--repo', repo, '--state', state, '--listen', '127.0.0.1:0', '--open-reads'];
  const [program, ...args] = [...prefix, path.join(bundle, 'homeostat'), 'controller', ...options];
  const child = spawn(program!, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, PATH: `${path.dirname(process.execPath)}:${process.env['PATH']}` },
  });
  let publishedMs = 0;
  const started = Promise.withResolvers<string>();
  const published = Promise.withResolvers<void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const entry = JSON.parse(line) as Record<string, unknown>;
    if (entry['level'] !== 'info') console.error(line);
    if (entry['msg'] === 'controller started') started.resolve(String(entry['url']));
    if (entry['msg'] !== 'revision published') return;
    publishedMs = Number(entry['durationSeconds']) * 1000;
    published.resolve();
  });
  const { port } = new URL(await started.promise);
  await published.promise;
  return {
    port: Number(port),
    pid: child.pid!,
    /** Base64 of the key that agents are to trust. */
    publicKey: () =>
      rawPublicKey(privateKeyOf(fs.readFileSync(path.join(state, 'controller.key'), 'utf8').trim())),
    publishedMs: () => publishedMs,
    async waiting(): Promise<number> {
      const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      return Number(/waiting_agents (\d+)/.exec(metrics)?.[1]);
    },
    async stop() {
      child.kill('SIGTERM');
      await once(child, 'exit');
    },
  };
}
