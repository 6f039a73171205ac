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

/**
 * @param prefix what runs it, as `taskset -c 1`
 * @param probe loaded into it (loop-probe.mjs)
 */
export async function startController(
  bundle: string,
  directory: string,
  repo: string,
  prefix: readonly string[] = [],
  probe?: string,
) {
  const state = path.join(directory, 'state');
  const options = ['--repo', repo, '--state', state, '--listen', '127.0.0.1:0', '--open-reads'];
  const [program, ...args] = [...prefix, path.join(bundle, 'homeostat'), 'controller', ...options];
  const child = spawn(program!, args, {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env: {
      ...process.env,
      PATH: `${path.dirname(process.execPath)}:${process.env['PATH']}`,
      ...(probe === undefined
        ? {}
        : { NODE_OPTIONS: `--import=${probe} ${process.env['NODE_OPTIONS'] ?? ''}` }),
    },
  });
  const counts = new Map<string, number>();
  let publishedMs = 0;
  const started = Promise.withResolvers<string>();
  const published = Promise.withResolvers<void>();
  createInterface({ input: child.stdout! }).on('line', (line) => {
    const entry = JSON.parse(line) as Record<string, unknown>;
    const message = String(entry['msg']);
    counts.set(message, (counts.get(message) ?? 0) + 1);
    if (message === 'commit refused') published.reject(new Error(line));
    if (entry['level'] !== 'info' && message !== 'commit refused') console.error(line);
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
    /** How often this was logged. */
    logged: (message: string): number => counts.get(message) ?? 0,
    /** With a probe: the longest stop of its event loop since this was asked last. */
    async longestStop(): Promise<{ longestMs: number; cpuMs: number }> {
      const answered = once(child, 'message');
      child.send('longest');
      const [answer] = (await answered) as [{ longestMs: number; cpuMs: number }];
      return answer;
    },
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
