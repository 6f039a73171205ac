// The controller's HTTP application with a real store, agents that sign, and a clock that a test moves.
import type { KeyObject } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { keyIdOf, privateKeyOf, rawPublicKey } from '../../api/bundle.ts';
import { signRequest } from '../../api/signatures.ts';
import type { AgentStatus } from '../../api/status.ts';
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
export async function end(): Promise<void> {
  for (const close of open) await close();
  rmSync(scratch, { recursive: true, force: true });
}

class MovedClock implements Clock {
  #wallMs = Date.UTC(2026, 10, 23, 12);
  #monotonicMs = 0;
  now = (): number => this.#wallMs;
  monotonic = (): number => this.#monotonicMs;
  setTimeout = () => ({ cancel: () => {} });
  sleep = (ms: number): Promise<void> => {
    this.advance(ms);
    return Promise.resolve();
  };
  advance(ms: number): void {
    this.#wallMs += ms;
    this.#monotonicMs += ms;
  }
  /** As somebody sets the time. */
  jump(ms: number): void {
    this.#wallMs += ms;
  }
}

export const MANIFESTS = `apiVersion: homeostat.dev/v1
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
hosts: {all: true}
spec: {path: /etc/motd, content: one}
`;

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
    refresh: () => {},
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
      const info = { commit, subject: '', author: 'Me', at: '2026-11-23T11:00:00Z' };
      return fleet.compiled(info, compilation);
    },
    async waiting(n: number): Promise<void> {
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

function newAgent(host: string): Agent {
  const privateKey = privateKeyOf(newSeed());
  return { host, privateKey, publicKey: rawPublicKey(privateKey) };
}

function signed(agent: Agent, c: Controller, method: string, url: string, body?: string) {
  const { privateKey } = agent;
  const keyId = keyIdOf(agent.publicKey);
  const createdSeconds = Math.floor(c.clock.now() / 1000);
  const more = body === undefined ? {} : { body };
  return signRequest({ method, url, privateKey, keyId, createdSeconds, ...more });
}

export function bundleOf(
  agent: Agent,
  c: Controller,
  more: Record<string, string> = {},
  url = `/v1/hosts/${agent.host}/bundle`,
) {
  return c.app.inject({ method: 'GET', url, headers: { ...signed(agent, c, 'GET', url), ...more } });
}

export function reportOf(agent: Agent, c: Controller, status: object) {
  const url = `/v1/hosts/${agent.host}/status`;
  const body = JSON.stringify(status);
  const headers = { 'content-type': 'application/json', ...signed(agent, c, 'PUT', url, body) };
  return c.app.inject({ method: 'PUT', url, headers, body });
}

export interface EnrollOptions {
  readonly token?: { readonly id: string; readonly secret: string };
  readonly agent?: Agent;
}

export async function enroll(c: Controller, host: string, options: EnrollOptions = {}) {
  const agent = options.agent ?? newAgent(host);
  const token = options.token ?? c.tokens.create('enroll', host, c.clock.now(), 3600_000);
  const { publicKey } = agent;
  const body = JSON.stringify({ token: `hs1_${token.id}.${token.secret}`, host, publicKey });
  const headers = { 'content-type': 'application/json', ...signed(agent, c, 'POST', '/v1/enroll', body) };
  const response = await c.app.inject({ method: 'POST', url: '/v1/enroll', headers, body });
  return { agent, token, response };
}

export function codeOf(response: { json(): { error?: { code: string } } }): string | undefined {
  return response.json().error?.code;
}

export function statusOf(host: string, over: Partial<AgentStatus> = {}): AgentStatus {
  return {
    host,
    at: '2026-11-23T12:00:00Z',
    agent: { version: '1', kinds: ['File'], platform: 'linux-x64', startedAt: '2026-11-23T11:00:00Z' },
    mode: 'enforce',
    sequence: { desired: 0, attempted: 0, running: 0 },
    commit: { desired: '', running: '' },
    conditions: [],
    resources: [],
    events: [],
    ...over,
  };
}
