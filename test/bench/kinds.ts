// What a heal takes, kind by kind: the agent itself in this process, on the hosts that the contract suite has for its
// kinds, with the breakages from there. By event, and by resync at its default interval: then the kind has no watch,
// and that one timer of the agent's runs so much faster that ten minutes are over in seconds. Told without a budget,
// since most of what is measured is apt, Docker or Prometheus.
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { AgentConfig } from '../../agent/config.ts';
import { systemClock } from '../../agent/providers/clock.ts';
import { isSecretRef, type SecretRef } from '../../api/documents.ts';
import { findCondition } from '../../api/status.ts';
import type { AnyKind } from '../../kinds/kind.ts';
import type { Clock } from '../../kinds/ports.ts';
import type { Fixture } from '../contract/fixture.ts';
import { fixtures } from '../contract/fixtures.ts';
import { until } from '../support/agent-host.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { endSharedEngine } from '../support/shared-engine.ts';
import { resource, Timeline } from '../support/timeline.ts';
import { median, type Row } from './statistics.ts';

const RESYNC_SECONDS = AgentConfig.parse({ host: 'bench' }).resyncSeconds;
const HASTE = 200;
/** Above a poll of those that are polled, where the fixture leaves that at its default. */
const LOST_AFTER_MS = 90_000;

/** Once for each breakage that a fixture has, on `rounds` hosts; below the kinds' patience. */
export async function kindRows(rounds: number): Promise<Row[]> {
  try {
    return await rowsOf(rounds);
  } finally {
    await endSharedEngine();
  }
}

async function rowsOf(rounds: number): Promise<Row[]> {
  const rows: Row[] = [];
  const only = process.env['BENCH_KIND'];
  for (const fixture of fixtures) {
    const { kind } = fixture.kind;
    if (only !== undefined && kind !== only) continue;
    const missing = (fixture.requires ?? []).map((capability) => capability.missing()).find(Boolean);
    if (missing !== undefined) {
      console.log(`# ${kind} is not measured here: ${missing}`);
      continue;
    }
    const started = performance.now();
    const first: Healed[] = [];
    for (let i = 0; i < rounds; i++) {
      const healed = await onHost(fixture, fixture.kind, systemClock);
      if (healed !== undefined) first.push(healed);
    }
    // A promise is asked at its interval, and nothing of it is healed.
    if (first.length === 0) continue;
    const times = first.flatMap((healed) => healed.times);
    const [lost, asked] = (['lost', 'asked'] as const).map((n) => first.reduce((sum, h) => sum + h[n], 0));
    rows.push(
      { name: `healed_by_event_p50{kind=${kind}}`, value: median(times), unit: 'ms' },
      { name: `healed_by_event_max{kind=${kind}}`, value: Math.max(...times), unit: 'ms' },
      { name: `healed_by_event_lost{kind=${kind}}`, value: lost!, unit: `of ${asked}`, budget: 0 },
    );
    const { watch: _, ...unwatched } = fixture.kind;
    const second = (await onHost(fixture, unwatched, hasty(systemClock)))!;
    rows.push(
      { name: `healed_by_resync_p50{kind=${kind}}`, value: median(second.times) / 1000, unit: 's' },
      { name: `healed_by_resync_max{kind=${kind}}`, value: Math.max(...second.times) / 1000, unit: 's' },
      {
        name: `healed_by_resync_lost{kind=${kind}}`,
        value: second.lost,
        unit: `of ${second.asked}`,
        budget: 0,
      },
    );
    console.error(`# ${kind} took ${((performance.now() - started) / 1000).toFixed(0)} s`);
  }
  return rows;
}

interface Healed {
  /** Milliseconds. */
  readonly times: number[];
  readonly lost: number;
  readonly asked: number;
}

async function onHost(
  fixture: Fixture,
  kind: AnyKind,
  clock: Clock & Partial<Hasty>,
): Promise<Healed | undefined> {
  const cleanups: (() => unknown)[] = [];
  const t = { after: (cleanup: () => unknown) => cleanups.push(cleanup) } as unknown as TestContext;
  try {
    const opened = await fixture.open(t);
    if (Object.keys(opened.breakages).length === 0) return undefined;
    const line = new Timeline(t, {
      ports: { ...opened.ports, clock },
      kinds: new Map([[kind.kind, kind]]),
      config: { resyncSeconds: RESYNC_SECONDS },
    }).start();
    const key = `${kind.kind}/bench`;
    line.assign(resource(kind.kind, 'bench', withSecrets(opened.specs[0], t)));
    await eventually(() => {
      const ready = findCondition(line.status(key).conditions, 'Ready');
      if (ready?.status === 'False') throw new Error(`${key}: ${ready.reason}: ${ready.message}`);
      // Nobody runs behind some fixtures, so that the gate can't tell; the file is in place all the same.
      if (line.condition(key, 'Applied')?.status !== 'True') throw new Error(`${key} is not applied`);
    }, LOST_AFTER_MS);
    const times: number[] = [];
    let lost = 0;
    const isTold = (name: string): boolean => kind.watch === undefined || !opened.silent?.includes(name);
    for (const [, breakIt] of Object.entries(opened.breakages).filter(([name]) => isTold(name))) {
      await line.agent.idle();
      const began = performance.now();
      await breakIt();
      // What `homeostat plan` says: no difference, and nothing in the way of looking. The agent is in this very process
      // and has half of the time to itself.
      const isRight = async (): Promise<boolean> => {
        const asked = performance.now();
        const plan = await line.agent.plan();
        if (plan.every(({ changes, error }) => changes.length === 0 && error === undefined)) return true;
        await delay(performance.now() - asked);
        return false;
      };
      if (await until(isRight, LOST_AFTER_MS)) times.push(simulated(began, performance.now(), clock));
      else lost += 1;
    }
    return { times, lost, asked: times.length + lost };
  } finally {
    // In the order of node's own after-hooks.
    for (const cleanup of cleanups) await cleanup();
  }
}

/** Each secret in a file: one from the environment is its variable's name, as in the contract suite. */
function withSecrets(value: Record<string, unknown>, t: TestContext): Record<string, unknown> {
  const directory = temporaryDirectory(t);
  const inFile = ({ secretFrom }: SecretRef): SecretRef => {
    const file = path.join(directory, randomUUID());
    fs.writeFileSync(file, 'env' in secretFrom ? secretFrom.env : path.basename(file));
    return { secretFrom: { file } };
  };
  return JSON.parse(JSON.stringify(value, (_, member) => (isSecretRef(member) ? inFile(member) : member)));
}

interface Hasty {
  /** When the resync's timer was over last, as performance.now(). */
  resyncAt: number;
}

/** The same clock, but for the timer of the resync, the one that takes minutes. */
function hasty(clock: Clock): Clock & Hasty {
  return {
    ...clock,
    resyncAt: 0,
    setTimeout(callback, ms) {
      if (ms < RESYNC_SECONDS * 900) return clock.setTimeout(callback, ms);
      const over = (): void => {
        this.resyncAt = performance.now();
        callback();
      };
      return clock.setTimeout(over, ms / HASTE);
    },
  };
}

/**
 * What it would have taken with a clock that does not hurry: until the resync it did, and from then on it didn't. A
 * pass that came by itself before that (what was unconfirmed is looked at again) took what it took.
 */
function simulated(began: number, ended: number, { resyncAt }: Partial<Hasty>): number {
  if (resyncAt === undefined || resyncAt < began) return ended - began;
  return (resyncAt - began) * HASTE + ended - resyncAt;
}
