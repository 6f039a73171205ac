// One pass over everything, and what bounds it.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import * as z from 'zod';
import { allReady } from '../../../agent/agent.ts';
import type { Payload } from '../../../api/bundle.ts';
import type { AgentStatus } from '../../../api/status.ts';
import { type AnyKind, defineKind } from '../../../kinds/kind.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { resource, Timeline } from '../../support/timeline.ts';

/** A kind whose pass hangs, even when it is aborted, until the test lets it go. */
function begin(t: TestContext) {
  const gate = Promise.withResolvers<void>();
  let looking = false;
  const kind = defineKind<object, object, never, object>({
    kind: 'Hanging',
    scope: 'host',
    spec: z.strictObject({}),
    before: { version: 1, schema: z.object({}) },
    needs: [],
    place: () => 'here',
    owns: () => ['hanging:here'],
    permissions: () => [],
    async observe() {
      looking = true;
      await gate.promise;
      return {};
    },
    diff: () => [],
    assess: () => ({ verdict: 'Yes' }),
    prepare: async () => ({ existed: true, before: {} }),
    apply: async () => undefined,
    undo: async () => {},
  });
  const clock = new FakeClock();
  const kinds = new Map<string, AnyKind>([[kind.kind, kind]]);
  const line = new Timeline(t, { kinds, ports: { clock } });
  let status: AgentStatus | undefined;
  const payload: Payload = {
    apiVersion: 'homeostat.dev/v1',
    host: { name: 'testhost', labels: {}, mode: 'enforce', decommission: false, confirmRemovals: [] },
    resources: [resource('Hanging', 'h', {})],
  };
  const run = (timeoutMs: number): void =>
    void line.agent.runOnce({ sequence: 1, commit: 'c', payload }, timeoutMs).then((s) => {
      status = s;
    });
  return { line, clock, gate, run, looking: () => looking, status: () => status };
}

test('it returns when its time is over, whatever a pass does', async (t) => {
  const { clock, gate, run, looking, status } = begin(t);
  t.after(() => gate.resolve());
  run(60_000);
  await clock.advance(59_999);
  assert.ok(looking());
  assert.equal(status(), undefined);
  await clock.advance(1);
  assert.deepEqual(
    status()?.resources.map(({ key, conditions }) => [key, conditions]),
    [['Hanging/h', []]],
  );
  gate.resolve();
});

test('it returns when the agent is stopped, and the stop waits for the pass', async (t) => {
  const { line, gate, run, clock, status } = begin(t);
  run(60_000);
  await clock.advance(0);
  let stopped = false;
  const stopping = line.stop().then(() => {
    stopped = true;
  });
  await settle();
  assert.ok(status() !== undefined && !stopped);
  assert.deepEqual(
    clock.pending().filter((ms) => ms === 60_000),
    [],
    'its timer is gone',
  );
  gate.resolve();
  await stopping;
});

test('it returns at once when everything has its verdict', async (t) => {
  const { clock, gate, run, status } = begin(t);
  gate.resolve();
  run(60_000);
  await clock.advance(0);
  assert.equal(status()?.resources.length, 1);
});

/** Two runs on one host, whose things are in memory. */
function host(t: TestContext) {
  const things = new Map<string, string>();
  let looks: string[] = [];
  let watched: string[] = [];
  const Spec = z.strictObject({ value: z.string(), spoils: z.string().optional() });
  const kind = defineKind<z.infer<typeof Spec>, string | undefined, never, object>({
    kind: 'Thing',
    scope: 'host',
    spec: Spec,
    before: { version: 1, schema: z.object({}) },
    needs: [],
    owns: () => [],
    permissions: () => [],
    async observe(d) {
      looks.push(d.key);
      return things.get(d.key);
    },
    diff: (d, now) => (now === d.spec.value ? [] : [{ what: 'value', from: now ?? '', to: d.spec.value }]),
    assess: () => ({ verdict: 'Yes' }),
    prepare: async () => ({ existed: false, before: {} }),
    async apply(_changes, d) {
      things.set(d.key, d.spec.value);
      if (d.spec.spoils !== undefined) things.set(d.spec.spoils, 'spoiled');
      return undefined;
    },
    undo: async () => {},
    async watch(d, _io, wake, signal) {
      watched.push(d.key);
      wake();
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    },
  });
  const kinds = new Map<string, AnyKind>([[kind.kind, kind]]);
  const directory = temporaryDirectory(t);
  const run = async (...resources: Payload['resources']) => {
    looks = [];
    watched = [];
    const line = new Timeline(t, { kinds, directory });
    const payload: Payload = {
      apiVersion: 'homeostat.dev/v1',
      host: { name: 'testhost', labels: {}, mode: 'enforce', decommission: false, confirmRemovals: [] },
      resources,
    };
    line.agent.load();
    const status = await line.agent.runOnce({ sequence: 1, commit: 'c', payload }, 60_000);
    await line.stop();
    return { ready: allReady(status), looks, watched };
  };
  return { things, run };
}

test('a run that finds all as it should be looks at each once, and watches nothing', async (t) => {
  const { run } = host(t);
  const resources = [resource('Thing', 'a', { value: '1' }), resource('Thing', 'b', { value: '2' })];
  await run(...resources);
  assert.deepEqual(await run(...resources), { ready: true, looks: ['Thing/a', 'Thing/b'], watched: [] });
});

test('what was found in order is looked at again when something else was written', async (t) => {
  const { things, run } = host(t);
  const a = resource('Thing', 'a', { value: '1' });
  await run(a);
  const { ready, watched } = await run(a, resource('Thing', 'b', { value: '2', spoils: 'Thing/a' }));
  assert.ok(ready);
  assert.deepEqual(watched.toSorted(), ['Thing/a', 'Thing/b']);
  assert.equal(things.get('Thing/a'), '1');
});
