// What a heal takes, kind by kind: the agent itself in this process, on the hosts that the contract suite has for its
// kinds, with the breakages from there. By event, and by resync at its default interval: then the kind has no watch,
// and the agent's clock runs so much faster that ten minutes are over in seconds. Told without a budget, since most of
// what is measured is apt, Docker or Prometheus.
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { AgentConfig } from '../../agent/config.ts';
import { systemClock } from '../../agent/providers/clock.ts';
import { isSecretRef } from '../../api/documents.ts';
import { findCondition } from '../../api/status.ts';
import type { AnyKind } from '../../kinds/kind.ts';
import type { Clock } from '../../kinds/ports.ts';
import type { Fixture } from '../contract/fixture.ts';
import { fixtures } from '../contract/fixtures.ts';
import { until } from '../support/agent-host.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { resource, Timeline } from '../support/timeline.ts';
import { median, type Row } from './statistics.ts';

const RESYNC_SECONDS = AgentConfig.parse({ host: 'bench' }).resyncSeconds;
const HASTE = 200;
const LOST_AFTER_MS = 60_000;

/** Once for each breakage that a fixture has, `rounds` times over; below the kinds' patience. */
export async function kindRows(rounds: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const fixture of fixtures) {
    const { kind } = fixture.kind;
    const missing = (fixture.requires ?? []).map((capability) => capability.missing()).find(Boolean);
    if (missing !== undefined) {
      console.log(`# ${kind} is not measured here: ${missing}`);
      continue;
    }
    // A promise is asked at its interval, and nothing of it is healed.
    const first = await onHost(fixture, fixture.kind, systemClock, rounds);
    if (first === undefined) continue;
    rows.push(
      { name: `healed_by_event_p50{kind=${kind}}`, value: median(first.times), unit: 'ms' },
      { name: `healed_by_event_max{kind=${kind}}`, value: Math.max(...first.times), unit: 'ms' },
      { name: `healed_by_event_lost{kind=${kind}}`, value: first.lost, unit: `of ${first.asked}`, budget: 0 },
    );
    const { watch: _, ...unwatched } = fixture.kind;
    const second = (await onHost(fixture, unwatched, hasty(systemClock), 1))!;
    rows.push(
      {
        name: `healed_by_resync_max{kind=${kind}}`,
        value: (Math.max(...second.times) * HASTE) / 1000,
        unit: 's',
        // The interval with its jitter of a tenth, and what a pass takes, which runs no faster than it does.
        budget: undefined,
      },
      {
        name: `healed_by_resync_lost{kind=${kind}}`,
        value: second.lost,
        unit: `of ${second.asked}`,
        budget: 0,
      },
    );
  }
  return rows;
}

async function onHost(
  fixture: Fixture,
  kind: AnyKind,
  clock: Clock,
  rounds: number,
): Promise<{ times: number[]; lost: number; asked: number } | undefined> {
  const cleanups: (() => unknown)[] = [];
  const t = { after: (cleanup: () => unknown) => cleanups.push(cleanup) } as unknown as TestContext;
  try {
    const opened = await fixture.open(t);
    if (opened.repair !== undefined) return undefined;
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
    await line.agent.idle();
    const times: number[] = [];
    let lost = 0;
    let asked = 0;
    for (const breakIt of Array.from({ length: rounds }).flatMap(() => Object.values(opened.breakages))) {
      const began = performance.now();
      await breakIt();
      asked += 1;
      // What `homeostat plan` says: no difference, and nothing in the way of looking.
      const isRight = async (): Promise<boolean> =>
        (await line.agent.plan()).every(({ changes, error }) => changes.length === 0 && error === undefined);
      if (await until(isRight, LOST_AFTER_MS)) times.push(performance.now() - began);
      else lost += 1;
      await line.agent.idle();
    }
    return { times, lost, asked };
  } finally {
    // In the order of node's own after-hooks.
    for (const cleanup of cleanups) await cleanup();
  }
}

/** The contract suite never reads a secret: here each has a file. */
function withSecrets(value: Record<string, unknown>, t: TestContext): Record<string, unknown> {
  const file = path.join(temporaryDirectory(t), 'secret');
  fs.writeFileSync(file, randomUUID());
  return JSON.parse(
    JSON.stringify(value, (_, member) => (isSecretRef(member) ? { secretFrom: { file } } : member)),
  );
}

/** The same clock, its timers over sooner; what a kind measures with it stays what it is. */
function hasty(clock: Clock): Clock {
  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    setTimeout: (callback, ms) => clock.setTimeout(callback, ms / HASTE),
    sleep: (ms, signal) => clock.sleep(ms / HASTE, signal),
  };
}
