// A real agent on a sandbox root, told as a timeline: assign, expect, tamper, expect healed. Everything is real
// but the ports that a test replaces.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import pino from 'pino';
import { Agent } from '../../agent/agent.ts';
import { AgentConfig, ALLOW_EVERYTHING } from '../../agent/config.ts';
import { systemClock } from '../../agent/providers/clock.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { createMounts } from '../../agent/providers/mounts.ts';
import type { Payload, Resource } from '../../api/bundle.ts';
import { findCondition, type ResourceStatus } from '../../api/status.ts';
import { kinds as allKinds } from '../../kinds/index.ts';
import type { AnyKind } from '../../kinds/kind.ts';
import type { Ports } from '../../kinds/ports.ts';
import { eventually } from './eventually.ts';
import { temporaryDirectory } from './sandbox.ts';

export { resource } from './manifest.ts';

export interface TimelineOptions {
  readonly ports?: Partial<Ports>;
  readonly kinds?: ReadonlyMap<string, AnyKind>;
  readonly config?: Record<string, unknown>;
  /** The same, for what names paths in the timeline's directory. */
  readonly configWith?: (directory: string) => Record<string, unknown>;
  readonly mode?: 'observe' | 'enforce';
  readonly env?: Record<string, string>;
  readonly passTimeoutMs?: number;
  readonly applyNothing?: () => boolean;
  /** How long what is expected may take; more where other programs take part. Default 10 s. */
  readonly withinMs?: number;
  /** Without a sandbox root: manifests name this machine's own paths, which a test keeps in its directory. */
  readonly onHost?: boolean;
  /** Run on the state and root of an earlier timeline, as after a restart. */
  readonly directory?: string;
}

export class Timeline {
  readonly directory: string;
  readonly root: string;
  readonly agent: Agent;
  /** What a test did to the machine, to be undone once the agent has stopped. */
  readonly afterStop: (() => void)[] = [];
  readonly #files: ReturnType<typeof createFiles>;
  readonly #withinMs: number;
  #sequence = 0;
  mode: 'observe' | 'enforce';
  host: Partial<Payload['host']> = {};

  constructor(t: TestContext, options: TimelineOptions = {}) {
    // After-hooks run in the order in which they were made: stop first, then what the test itself undoes.
    t.after(async () => {
      await this.stop();
      for (const undo of this.afterStop.reverse()) undo();
    });
    this.directory = options.directory ?? temporaryDirectory(t);
    this.root = options.onHost === true ? '' : path.join(this.directory, 'root');
    const sandbox = this.root === '' ? {} : { root: this.root };
    if (this.root !== '') fs.mkdirSync(this.root, { recursive: true });
    this.mode = options.mode ?? 'enforce';
    this.#withinMs = options.withinMs ?? 10_000;
    this.#files = createFiles({
      ...sandbox,
      candidates: path.join(this.directory, 'state', 'candidates'),
    });
    // A kind that asks for a port that the test did not bring fails with its name.
    const missing = new Proxy({} as Ports, {
      get: (_, port) => {
        throw new Error(`this timeline has no port ${String(port)}`);
      },
    });
    this.agent = new Agent({
      config: AgentConfig.parse({
        host: 'testhost',
        stateDir: path.join(this.directory, 'state'),
        allow: ALLOW_EVERYTHING,
        ...options.config,
        ...options.configWith?.(this.directory),
      }),
      kinds: options.kinds ?? allKinds,
      ports: Object.setPrototypeOf(
        { files: this.#files, clock: systemClock, mounts: createMounts(sandbox), ...options.ports },
        missing,
      ),
      log: pino({ level: process.env['TEST_LOG'] ?? 'silent' }),
      env: options.env ?? {},
      version: 'test',
      random: () => 0.5,
      ...(options.passTimeoutMs === undefined ? {} : { passTimeoutMs: options.passTimeoutMs }),
      ...(options.applyNothing === undefined ? {} : { applyNothing: options.applyNothing }),
    });
  }

  start(): this {
    this.agent.start();
    return this;
  }

  #stopped = false;
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await this.agent.stop();
    await this.#files.close();
  }

  assign(...resources: Resource[]): this {
    this.#sequence += 1;
    this.agent.assign({
      sequence: this.#sequence,
      commit: `commit-${this.#sequence}`,
      payload: {
        apiVersion: 'homeostat.dev/v1',
        host: {
          name: 'testhost',
          address: '100.64.0.8',
          labels: {},
          mode: this.mode,
          decommission: false,
          confirmRemovals: [],
          ...this.host,
        },
        resources,
      },
    });
    return this;
  }

  status(key: string): ResourceStatus {
    const found = this.agent.status().resources.find((r) => r.key === key);
    assert.ok(found, `no status of ${key}`);
    return found;
  }

  condition(key: string, type: string) {
    return findCondition(this.status(key).conditions, type);
  }

  /** Waits until the resource is Ready for this very reason, or for any when none is given. */
  async expect(key: string, status: 'True' | 'False' | 'Unknown', reason?: string): Promise<ResourceStatus> {
    return eventually(() => {
      const ready = this.condition(key, 'Ready');
      assert.equal(ready?.status, status, `${key} is ${ready?.status} ${ready?.reason}: ${ready?.message}`);
      if (reason !== undefined) assert.equal(ready?.reason, reason, ready?.message);
      return this.status(key);
    }, this.#withinMs);
  }

  async expectGone(key: string): Promise<void> {
    await eventually(
      () => assert.ok(!this.agent.status().resources.some((r) => r.key === key), `${key} is still there`),
      this.#withinMs,
    );
  }

  path(p: string): string {
    return path.join('/', this.root, p);
  }

  read(p: string): string {
    return fs.readFileSync(this.path(p), 'utf8');
  }

  async expectContent(p: string, content: string): Promise<void> {
    await eventually(() => assert.equal(this.read(p), content), this.#withinMs);
  }
}
