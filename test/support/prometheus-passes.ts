// PrometheusConfig as the loop runs it, without the loop: passes over real files, beside Prometheus's API as a test plays it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { systemClock } from '../../agent/providers/clock.ts';
import { createFiles } from '../../agent/providers/files.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { digestOf } from '../../api/json.ts';
import type { Change, Desired, InventoryRecord, Trial, Verdict } from '../../kinds/kind.ts';
import type { Ports, Processes } from '../../kinds/ports.ts';
import { prometheusConfig as kind } from '../../kinds/prometheus-config/index.ts';
import { ServedPrometheus } from '../fault/support/fakes.ts';
import { desiredOf } from './desired.ts';
import { temporaryDirectory } from './sandbox.ts';

const never = new AbortController().signal;

type D = Desired<Record<string, unknown>>;

export interface Passed {
  readonly changes: readonly Change[];
  readonly before: unknown;
}

/** A host with a config, and a Prometheus that reads it. */
export class PrometheusHost {
  readonly root: string;
  readonly file: string;
  readonly served: ServedPrometheus;
  readonly ports: Ports;
  /** As it was before anything of ours, long enough ago. */
  static async open(
    t: TestContext,
    {
      theirs = '# theirs\n',
      version = '2.42.0',
      ports = {},
    }: { theirs?: string; version?: string; ports?: object } = {},
  ): Promise<PrometheusHost> {
    const host = new PrometheusHost(t, theirs, version, ports);
    await host.served.start();
    t.after(() => host.served.close());
    return host;
  }

  private constructor(t: TestContext, theirs: string, version: string, ports: object) {
    this.root = temporaryDirectory(t);
    this.file = path.join(this.root, 'prometheus.yml');
    this.put(theirs);
    this.served = new ServedPrometheus(this.file, version);
    const [files, http] = [createFiles({ root: this.root }), createHttp()];
    t.after(() => Promise.all([files.close(), http.close()]));
    // Without promtool.
    const processes: Processes = {
      run: async () => {
        throw Object.assign(new Error('spawn promtool ENOENT'), { code: 'ENOENT' });
      },
    };
    this.ports = { files, http, processes, clock: systemClock, ...ports } as unknown as Ports;
  }

  get text(): string {
    return fs.readFileSync(this.file, 'utf8');
  }

  put(text: string): void {
    fs.writeFileSync(this.file, text);
    fs.utimesSync(this.file, 1, 1);
  }

  desire(name: string, spec: Record<string, unknown>, more: Partial<D> = {}): D {
    const whole = { path: '/prometheus.yml', address: this.served?.address, ...spec };
    return desiredOf(`PrometheusConfig/${name}`, kind.spec.parse(whole), {
      digest: digestOf(JSON.parse(JSON.stringify(whole))),
      content: () => ({ bytes: Buffer.alloc(0), secret: false }),
      ...more,
    });
  }

  async changes(d: D): Promise<readonly Change[]> {
    return kind.diff(d, await kind.observe(d, this.ports, never));
  }

  /** Until nothing differs any more. @throws what the pass throws */
  async pass(d: D): Promise<Passed> {
    const observed = await kind.observe(d, this.ports, never);
    const changes = kind.diff(d, observed);
    if (changes.length === 0) return { changes, before: undefined };
    const before = d.heal ? undefined : (await kind.prepare(d, observed, this.ports, never)).before;
    await kind.apply(changes, d, this.ports, never);
    assert.deepEqual(await this.changes(d), [], 'still differs after it was applied');
    return { changes, before };
  }

  async assess(d: D, trial?: Trial<unknown>): Promise<Verdict> {
    const observed = await kind.observe(d, this.ports, never);
    assert.deepEqual(kind.diff(d, observed), []);
    return kind.assess(d, observed, trial);
  }

  async undo(before: unknown, d: D, record: Partial<InventoryRecord> = {}): Promise<void> {
    const owns = kind.owns(d.spec);
    await kind.undo(before, { ...d, owns, memory: undefined, ...record }, this.ports, never);
  }
}

/** The evidence of a verdict that is not Yes. */
export function evidenceOf(verdict: Verdict): string {
  assert.notEqual(verdict.verdict, 'Yes');
  return 'evidence' in verdict ? `${verdict.verdict} ${verdict.reason}: ${verdict.evidence}` : '';
}
