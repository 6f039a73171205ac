// No green word for a red host: each kind on a host of the contract suite, broken behind the agent's back in every way
// that leaves files, units and documents as they should be. It must not be Ready within one resync, nor after a restart
// of the agent, however often it is looked at, and must be Ready again once others repaired it.
import assert from 'node:assert/strict';
import { findCondition } from '../../../api/status.ts';
import type { Fixture, Opened } from '../../contract/fixture.ts';
import { fixtures } from '../../contract/fixtures.ts';
import { eventually } from '../../support/eventually.ts';
import { detachedContext, withSecrets } from '../../support/fixture-host.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { endSharedEngine } from '../../support/shared-engine.ts';
import { resource, Timeline } from '../../support/timeline.ts';
import { Tally } from '../support/tally.ts';

/** The slowest gate, and a machine that does other things. */
const READY_WITHIN_MS = 90_000;
const LOOKS = 4;

/** `FAULT_ONLY=Service` chooses one kind. */
export async function truth(): Promise<Tally> {
  const tally = new Tally('truth');
  const only = process.env['FAULT_ONLY'];
  try {
    for (const fixture of fixtures) {
      const { kind } = fixture.kind;
      if (only !== undefined && kind !== only) continue;
      const missing = (fixture.requires ?? []).map((capability) => capability.missing()).find(Boolean);
      if (missing !== undefined) console.log(`  ${kind} can't be tried here: ${missing}`);
      else
        for (const way of await waysOf(fixture))
          await tally.check(`${kind}: ${way}`, () => tried(fixture, way));
    }
  } finally {
    await endSharedEngine();
  }
  return tally;
}

async function onHost<T>(fixture: Fixture, use: (opened: Opened, host: Host) => Promise<T>): Promise<T> {
  const { t, end } = detachedContext();
  try {
    const opened = await fixture.open(t);
    const spec = withSecrets(opened.specs[0], t);
    const directory = temporaryDirectory(t);
    const start = (): Timeline =>
      new Timeline(t, {
        directory,
        ports: opened.ports,
        kinds: new Map([[fixture.kind.kind, fixture.kind]]),
      })
        .start()
        .assign(resource(fixture.kind.kind, 'truth', spec));
    return await use(opened, { start, key: `${fixture.kind.kind}/truth` });
  } finally {
    await end();
  }
}

interface Host {
  readonly key: string;
  start(): Timeline;
}

function waysOf(fixture: Fixture): Promise<string[]> {
  return onHost(fixture, async ({ unwell = {} }) => Object.keys(unwell));
}

function tried(fixture: Fixture, way: string): Promise<void> {
  return onHost(fixture, async ({ unwell }, { start, key }) => {
    const { harm, repair } = unwell![way]!;
    const first = start();
    await becomesReady(first, key);
    await harm();
    await notReady(first, key, 'broken');
    await first.stop();
    const second = start();
    await notReady(second, key, 'after a restart of the agent');
    await repair();
    await becomesReady(second, key);
    await second.stop();
  });
}

async function becomesReady(line: Timeline, key: string): Promise<void> {
  await eventually(() => {
    line.agent.reconcile(key);
    const ready = findCondition(line.status(key).conditions, 'Ready');
    assert.equal(ready?.status, 'True', `never Ready: ${ready?.reason}: ${ready?.message}`);
  }, READY_WITHIN_MS);
}

/** One resync, and it is not Ready; and not by being looked at again and again either. */
async function notReady(line: Timeline, key: string, when: string): Promise<void> {
  for (let look = 0; look < LOOKS; look++) {
    line.agent.reconcile(key);
    await line.agent.idle();
    const ready = findCondition(line.status(key).conditions, 'Ready');
    assert.ok(ready, `${when}: it was not looked at`);
    assert.notEqual(ready.status, 'True', `${when}: Ready ${ready.reason} at look ${look + 1}`);
    assert.notEqual(ready.message, '', `${when}: without a word`);
  }
  const { sequence } = line.agent.status();
  if (when !== 'broken') assert.equal(sequence.running, 0, `${when}: its revision counts as running`);
}
