// A controller without a socket for tests of its HTTP API: requests are injected; the clock stands still unless a test
// moves it.
import type { KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { keyIdOf, privateKeyOf, rawPublicKey } from '../../api/bundle.ts';
import { signRequest } from '../../api/signatures.ts';
import type { AgentStatus } from '../../api/status.ts';
import { Fleet } from '../../controller/fleet/fleet.ts';
import { addKey, newSeed } from '../../controller/fleet/keys.ts';
import { buildApp } from '../../controller/http/app.ts';
import type { AppDeps } from '../../controller/http/deps.ts';
import { createMetrics } from '../../controller/metrics.ts';
import { compile } from '../../controller/pipeline/compile.ts';
import { Database } from '../../controller/store/database.ts';
import { Store } from '../../controller/store/store.ts';
import { Tokens } from '../../controller/store/tokens.ts';
import type { Clock } from '../../kinds/ports.ts';
import { memorySnapshot, testKinds } from '../unit/controller/support.ts';

const scratch = mkdtempSync(join(tmpdir(), 'homeostat-http-'));
const open: (() => Promise<void>)[] = [];
/** To be called when all tests of a file have ended. */
export async function closeControllers(): Promise<void> {
  for (const close of open) await close();
  rmSync(scratch, { recursive: true, force: true });
}
let counter = 0;

class ManualClock implements Clock {
  ms = Date.UTC(2026, 10, 23, 12);
  readonly timers = new Set<{ at: number; run: () => void }>();
  now = (): number => this.ms;
  monotonic = (): number => this.ms;
  setTimeout(run: () => void, ms: number) {
    const timer = { at: this.ms + ms, run };
    this.timers.add(timer);
    return { cancel: () => this.timers.delete(timer) };
  }
  sleep = (): Promise<void> => Promise.reject(new Error('not used'));
  advance(ms: number): void {
    this.ms += ms;
    for (const timer of [...this.timers]) if (timer.at <= this.ms && this.timers.delete(timer)) timer.run();
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

export async function controller(over: Partial<AppDeps> = {}) {
  const folder = join(scratch, String(counter++));
  const clock = new ManualClock();
  const keys = addKey(join(folder, 'controller.key'));
  const database = new Database(join(folder, 'store.sqlite'));
  database.open({ create: true });
  const store = new Store(database);
  const tokens = new Tokens(database);
  const fleet = new Fleet({ store, signingKey: keys.privateKey, clock });
  const metrics = createMetrics('test');
  const refreshed: true[] = [];
  const app = buildApp({
    fleet,
    store,
    tokens,
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
    onKeyChange: () => {},
    onEnroll: metrics.enrolled,
    ...over,
  });
  open.push(async () => {
    await app.close();
    database.close();
  });
  const publish = async (text = MANIFESTS, commit = 'a'.repeat(40)) => {
    const compilation = await compile(memorySnapshot({ 'a.yaml': text }, commit), testKinds);
    return fleet.compiled(
      { commit, subject: 'change <b>', author: 'Me', at: '2026-11-23T11:00:00Z' },
      compilation,
    );
  };
  return { app, clock, keys, store, tokens, fleet, metrics, publish, refreshed };
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

export const get = (
  agent: Agent,
  c: Controller,
  more: Record<string, string> = {},
  url = `/v1/hosts/${agent.host}/bundle`,
) => c.app.inject({ method: 'GET', url, headers: { ...headers(agent, c, 'GET', url), ...more } });

export const put = (agent: Agent, c: Controller, status: unknown, more: Record<string, string> = {}) => {
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

export const codeOf = (response: { json(): unknown }): string =>
  (response.json() as { error: { code: string } }).error.code;

export function statusOf(host: string, over: Partial<AgentStatus> = {}): AgentStatus {
  return {
    host,
    at: '2026-11-23T12:00:00Z',
    agent: { version: '1', kinds: ['File'], platform: 'linux-x64', startedAt: '2026-11-23T11:00:00Z' },
    mode: 'enforce',
    sequence: { desired: 1, attempted: 1, running: 1 },
    commit: { desired: 'a', running: 'a' },
    conditions: [],
    resources: [],
    events: [],
    ...over,
  };
}

export const waiting = async (c: Controller, n = 1): Promise<void> => {
  while (c.fleet.waiters.count < n) await new Promise(setImmediate);
};
