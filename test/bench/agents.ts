// The agent as it is installed: bundled, run by its launcher under node, with a configuration and a signed bundle on
// disk. It begins with what is in its cache, so that nothing but the agent itself is measured; or, where that is asked
// for, with what a controller tells it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { ALLOW_EVERYTHING } from '../../agent/config.ts';
import { privateKeyOf, type Resource, rawPublicKey, signEnvelope } from '../../api/bundle.ts';
import { sha256 } from '../../api/json.ts';
import { resource } from '../support/manifest.ts';

export const CONTENT = 'homeostat keeps this line\n'.repeat(160); // 4 KiB
/** Signs the bundles. */
export const BUNDLE_KEY = privateKeyOf(Buffer.alloc(32, 7).toString('base64'));

export function scratch(): string {
  return fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'homeostat-bench-')));
}

export function fileResources(n: number): Resource[] {
  return Array.from({ length: n }, (_, i) =>
    resource('File', `f${i}`, { path: `/managed/f${i}`, content: CONTENT }),
  );
}

/** As a controller answers with it, and as an agent caches it. */
export function signedBundle(
  sequence: number,
  resources: readonly Resource[],
  mode: 'enforce' | 'observe' = 'enforce',
): string {
  const host = { name: 'bench', labels: {}, mode, decommission: false, confirmRemovals: [] };
  const payload = JSON.stringify({ apiVersion: 'homeostat.dev/v1', host, resources });
  const envelope = {
    apiVersion: 'homeostat.dev/v1',
    host: 'bench',
    sequence,
    commit: 'bench',
    payloadDigest: sha256(payload),
    issuedAt: new Date(0).toISOString(),
  } as const;
  return JSON.stringify({ ...signEnvelope(envelope, BUNDLE_KEY), payload });
}

/** The bundle and the configuration of an agent that has all it needs on disk. */
export function agentFiles(
  resources: readonly Resource[],
  config: Readonly<Record<string, unknown>>,
  mode: 'enforce' | 'observe' = 'enforce',
): { 'agent.json': string; 'bundle.json': string } {
  return {
    'agent.json': JSON.stringify({
      host: 'bench',
      trustedKeys: [rawPublicKey(BUNDLE_KEY)],
      allow: ALLOW_EVERYTHING,
      listen: '127.0.0.1:0',
      resyncSeconds: 600,
      ...config,
    }),
    'bundle.json': signedBundle(1, resources, mode),
  };
}

export interface BenchAgent {
  readonly pid: number;
  readonly directory: string;
  /** Below which its files lie. */
  readonly root: string;
  /** From its exec until every resource had had its pass, milliseconds. */
  readonly readyMs: number;
  stop(): Promise<void>;
}

export interface AgentOptions {
  /** The directory that scripts/bundle.ts made. */
  readonly bundle: string;
  readonly resources: readonly Resource[];
  /** One that an agent used before, to start on what it left; removed by the caller. */
  readonly directory?: string;
  /** Where it gets its bundle from, who vouches for that, and the seed of its own key. */
  readonly controller?: { readonly url: string; readonly publicKey: string; readonly seed: string };
}

/** Starts an agent; settles when each resource had a pass. */
export async function startAgent(options: AgentOptions): Promise<BenchAgent> {
  const { bundle, resources, controller } = options;
  const directory = options.directory ?? scratch();
  const root = path.join(directory, 'root');
  const stateDir = path.join(directory, 'state');
  for (const d of [root, stateDir]) fs.mkdirSync(d, { recursive: true });
  const files = agentFiles(resources, {
    ...{ root, stateDir, socket: path.join(directory, 'agent.sock') },
    ...(controller && { controller: controller.url, trustedKeys: [controller.publicKey] }),
  });
  const config = path.join(directory, 'agent.json');
  fs.writeFileSync(config, files['agent.json']);
  if (controller === undefined) fs.writeFileSync(path.join(stateDir, 'bundle.json'), files['bundle.json']);
  else fs.writeFileSync(path.join(stateDir, 'agent.key'), controller.seed, { mode: 0o600 });
  const began = performance.now();
  const child = spawn(path.join(bundle, 'homeostat'), ['agent', '--config', config], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, PATH: `${path.dirname(process.execPath)}:${process.env['PATH']}` },
  });
  const readyMs = (await hadTheirPass(child, resources.length)) - began;
  return {
    pid: child.pid!,
    directory,
    root,
    readyMs,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM');
        await once(child, 'exit');
      }
      if (options.directory === undefined) fs.rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Its log says of each resource what became of it. @returns when the last of them was told */
function hadTheirPass(child: ChildProcess, resources: number): Promise<number> {
  const seen = new Set<string>();
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const { msg, key, level, reason, detail } = JSON.parse(line) as Record<string, string>;
      if (msg !== 'resource changed' || key === undefined) return;
      if (level !== 'info') reject(new Error(`${key}: ${reason}: ${detail}`));
      seen.add(key);
      if (seen.size === resources) resolve(performance.now());
    });
    child.once('exit', (code) => reject(new Error(`the agent ended with ${code}`)));
  });
}
