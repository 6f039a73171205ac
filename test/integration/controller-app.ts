// The controller's HTTP application with a real store and no socket: requests are injected, agents sign them, and a test
// moves the clock.
import type { KeyObject } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { keyIdOf, privateKeyOf, rawPublicKey } from '../../api/bundle.ts';
import { signRequest } from '../../api/signatures.ts';
import { Fleet } from '../../controller/fleet/fleet.ts';
import { createKey, newSeed } from '../../controller/fleet/keys.ts';
import { buildApp } from '../../controller/http/app.ts';
import type { AppDeps } from '../../controller/http/deps.ts';
import { createMetrics } from '../../controller/metrics.ts';
import { compile } from '../../controller/pipeline/compile.ts';
import { Database } from '../../controller/store/database.ts';
import { Store } from '../../controller/store/store.ts';
import { Tokens } from '../../controller/store/tokens.ts';
import type { Clock } from '../../kinds/ports.ts';
import { memorySnapshot, testKinds } from '../unit/controller/support.ts';

const scratch = mkdtempSync(join(tmpdir(), 'homeostat-app-'));
const open: (() => Promise<void> | void)[] = [];
let counter = 0;

/** For `after`: nothing stays. */
export async function closeControllers(): Promise<void> {
  for (const close of open) await close();
  rmSync(scratch, { recursive: true, force: true });
}

class MovedClock implements Clock {
  readonly timers = new Set<{ at: number; run: () => void }>();
  #wallMs = Date.UTC(2026, 10, 23, 12);
  #monotonicMs = 0;
  now = (): number => this.#wallMs;
  monotonic = (): number => this.#monotonicMs;
  setTimeout(run: () => void, ms: number) {
    const timer = { at: this.#monotonicMs + ms, run };
    this.timers.add(timer);
    return { cancel: () => this.timers.delete(timer) };
  }
  sleep = (ms: number): Promise<void> => {
    this.advance(ms);
    return Promise.resolve();
  };
  advance(ms: number): void {
    this.#wallMs += ms;
    this.#monotonicMs += ms;
    for (const timer of [...this.timers])
      if (timer.at <= this.#monotonicMs && this.timers.delete(timer)) timer.run();
  }
  /** As somebody sets the time. */
  jump(ms: number): void {
    this.#wallMs += ms;
  }
}

export const MANIFESTS = `apiVersion: homeostat.dev/v1
kind: Fleet
metadata: {name: home}
spec: {operators: [me@example.com]}
---
apiVersion: homeostat.dev/v1
kind: Host
metadata: {name: pi}
spec: {mode: enforce}
---
apiVersion: homeostat.dev/v1
kind: Host
metadata: {name: mac}
spec: {mode: enforce}
---
apiVersion: homeostat.dev/v1
kind: File
metadata: {name: motd}
hosts: {names: [pi]}
spec: {path: /etc/motd, content: one}
`;

export const MANIFESTS_WITHOUT_PI = MANIFESTS.replace(
  'kind: Host\nmetadata: {name: pi}',
  'kind: Host\nmetadata: {name: pi2}',
).replace('names: [pi]', 'names: [pi2]');

export async function controller(over: Partial<AppDeps> = {}, options: { forgetAfterMs?: number } = {}) {
  const folder = join(scratch, String(counter++));
  mkdirSync(folder);
  const file = join(folder, 'store.sqlite');
  const backup = join(folder, 'backup.sqlite');
  const clock = new MovedClock();
  const keys = createKey(join(folder, 'controller.key'));
  const database = new Database(file, 20);
  database.open({ create: true });
  const store = new Store(database);
  const fleet = new Fleet({ store, signingKey: keys.privateKey, clock, ...options });
  fleet.load();
  const metrics = createMetrics('test');
  const refreshed: true[] = [];
  const keyChanges: { host: string; keyId: string }[] = [];
  const app = buildApp({
    fleet,
    store,
    tokens: new Tokens(database),
    keys,
    clock,
    metrics,
    log: pino({ level: 'silent' }),
    whois: undefined,
    openReads: true,
    names: [],
    hookSecret: undefined,
    sdToken: undefined,
    refresh: () => refreshed.push(true),
    audit: (entry) => void store.audit({ at: clock.now(), ...entry }),
    onEnroll: metrics.enrolled,
    onKeyChange: (host, keyId) => void keyChanges.push({ host, keyId }),
    ...over,
  });
  open.push(async () => {
    await app.close();
    database.close();
  });
  return {
    app,
    clock,
    keys,
    store,
    database,
    tokens: new Tokens(database),
    fleet,
    metrics,
    refreshed,
    keyChanges,
    /** The same store as another process has it. */
    beside(): Database {
      const other = new Database(file);
      other.open({ create: false });
      open.push(() => other.close());
      return other;
    },
    backUp(): void {
      database.get('PRAGMA wal_checkpoint(TRUNCATE)');
      copyFileSync(file, backup);
    },
    restore: (): void => renameSync(backup, file),
    async publish(text = MANIFESTS, commit = 'a'.repeat(40)) {
      const compilation = await compile(memorySnapshot({ 'a.yaml': text }, commit), testKinds);
      const info = { commit, subject: 'change <b>', author: 'Me', at: '2026-11-23T11:00:00Z' };
      return fleet.compiled(info, compilation);
    },
    async waiting(n = 1): Promise<void> {
      while (fleet.waiters.count < n) await new Promise(setImmediate);
    },
  };
}
export type Controller = Awaited<ReturnType<typeof controller>>;

export interface Agent {
  readonly host: string;
  readonly privateKey: KeyObject;
  readonly publicKey: string;
}

export function newAgent(host: string): Agent {
  const privateKey = privateKeyOf(newSeed());
  return { host, privateKey, publicKey: rawPublicKey(privateKey) };
}

export function headers(
  agent: Agent,
  c: Controller,
  method: string,
  url: string,
  body?: string,
  over: object = {},
) {
  return signRequest({
    method,
    url,
    ...(body === undefined ? {} : { body }),
    privateKey: agent.privateKey,
    keyId: keyIdOf(agent.publicKey),
    createdSeconds: Math.floor(c.clock.now() / 1000),
    ...over,
  });
}

export const bundleOf = (
  agent: Agent,
  c: Controller,
  more: Record<string, string> = {},
  url = `/v1/hosts/${agent.host}/bundle`,
) => c.app.inject({ method: 'GET', url, headers: { ...headers(agent, c, 'GET', url), ...more } });

export const reportOf = (agent: Agent, c: Controller, status: unknown, more: Record<string, string> = {}) => {
  const url = `/v1/hosts/${agent.host}/status`;
  const body = typeof status === 'string' ? status : JSON.stringify(status);
  return c.app.inject({
    method: 'PUT',
    url,
    headers: { 'content-type': 'application/json', ...headers(agent, c, 'PUT', url, body), ...more },
    body,
  });
};

export async function enroll(
  c: Controller,
  host: string,
  over: { token?: { id: string; secret: string }; agent?: Agent; sequenceSeen?: number; signer?: Agent } = {},
) {
  const agent = over.agent ?? newAgent(host);
  const token = over.token ?? c.tokens.create('enroll', host, c.clock.now(), 3600_000);
  const body = JSON.stringify({
    token: `hs1_${token.id}.${token.secret}`,
    host,
    publicKey: agent.publicKey,
    ...(over.sequenceSeen === undefined ? {} : { sequenceSeen: over.sequenceSeen }),
  });
  const response = await c.app.inject({
    method: 'POST',
    url: '/v1/enroll',
    headers: {
      'content-type': 'application/json',
      ...headers(over.signer ?? agent, c, 'POST', '/v1/enroll', body),
    },
    body,
  });
  return { agent, token, response };
}

/** '' of an answer that is no error. */
export const codeOf = (response: { json(): unknown }): string =>
  (response.json() as { error?: { code: string } }).error?.code ?? '';
