// Each test's name is a promise of the work queue.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Item, Queue } from '../../../agent/queue/queue.ts';
import { Turns } from '../../../agent/queue/turns.ts';
import { claimsOverlap } from '../../../kinds/kind.ts';
import { FakeClock, settle } from '../../support/clock.ts';

interface Run {
  readonly item: Item;
  end(): void;
}

function build(
  options: {
    concurrency?: number;
    locks?: Record<string, string[]>;
    random?: () => number;
    backoff?: { baseMs: number; maxMs: number };
  } = {},
) {
  const clock = new FakeClock();
  const runs: Run[] = [];
  const queue = new Queue({
    clock,
    concurrency: options.concurrency ?? 4,
    random: options.random ?? (() => 0.5),
    ...(options.backoff && { backoff: options.backoff }),
    locksOf: (key) => options.locks?.[key] ?? [],
    locksOverlap: claimsOverlap,
    work: (item) => new Promise((resolve) => runs.push({ item, end: resolve })),
  });
  queue.start();
  return { clock, queue, runs, keys: () => runs.map((r) => r.item.key) };
}

test('a key that is added many times before it is worked on is worked on once, with every cause', async () => {
  const { queue, runs } = build();
  queue.add('a', 'watch');
  queue.add('a', 'resync');
  await settle();
  assert.equal(runs.length, 1);
  assert.deepEqual([...runs[0]!.item.causes], ['watch', 'resync']);
});

test('a key is never worked on twice at a time, and one added meanwhile is worked on again', async () => {
  const { queue, runs } = build();
  queue.add('a', 'watch');
  await settle();
  queue.add('a', 'watch');
  queue.add('a', 'watch');
  await settle();
  assert.equal(runs.length, 1);
  runs[0]!.end();
  await settle();
  assert.equal(runs.length, 2);
  runs[1]!.end();
  await settle();
  assert.equal(runs.length, 2);
});

test('how long a pass has run is known while it runs, and not before or after', async () => {
  const { queue, runs, clock } = build({ concurrency: 1 });
  queue.add('a', 'watch');
  queue.add('b', 'watch');
  await settle();
  await clock.advance(372_000);
  assert.deepEqual([queue.runningMs('a'), queue.runningMs('b')], [372_000, undefined]);
  runs[0]!.end();
  await settle();
  assert.deepEqual([queue.runningMs('a'), queue.runningMs('b')], [undefined, 0]);
});

test('the time of the first cause is kept, so that latency counts from the event', async () => {
  const { queue, runs, clock } = build({ concurrency: 1 });
  queue.add('busy', 'watch');
  await settle();
  const woken = clock.monotonic();
  queue.add('a', 'watch');
  await clock.advance(500);
  queue.add('a', 'watch');
  runs[0]!.end();
  await settle();
  assert.equal(runs[1]!.item.wokenAt, woken);
});

test('no more keys run at a time than the concurrency allows', async () => {
  const { queue, runs, keys } = build({ concurrency: 2 });
  for (const key of ['a', 'b', 'c']) queue.add(key, 'watch');
  await settle();
  assert.deepEqual(keys(), ['a', 'b']);
  runs[0]!.end();
  await settle();
  assert.deepEqual(keys(), ['a', 'b', 'c']);
});

test('keys whose locks overlap never run together, and one that waits holds up nobody else', async () => {
  const { queue, runs, keys } = build({ locks: { a: ['dpkg'], b: ['dpkg'], d: ['dpkg/sub'] } });
  for (const key of ['a', 'b', 'c', 'd']) queue.add(key, 'watch');
  await settle();
  assert.deepEqual(keys(), ['a', 'c']);
  runs[0]!.end();
  await settle();
  assert.deepEqual(keys(), ['a', 'c', 'b']);
});

test('a key that comes from the slow lane takes no lock that one in the fast lane waits for', async () => {
  const { queue, runs, keys } = build({ locks: { a: ['x'], heal: ['x', 'y'], b: ['y'] } });
  queue.add('a', 'bundle');
  await settle();
  queue.add('b', 'bundle');
  queue.add('heal', 'watch');
  await settle();
  assert.deepEqual(keys(), ['a']);
  runs[0]!.end();
  await settle();
  assert.deepEqual(keys(), ['a', 'heal']);
  runs[1]!.end();
  await settle();
  assert.deepEqual(keys(), ['a', 'heal', 'b']);
});

test('events and requests come before bundles, dependencies, retries and resyncs', async () => {
  const { queue, runs, keys } = build({ concurrency: 1 });
  for (const cause of ['bundle', 'dependency', 'retry', 'resync'] as const) queue.add(cause, cause);
  queue.add('watch', 'watch');
  queue.add('request', 'request');
  for (let i = 0; i < 6; i++) {
    await settle();
    runs[i]!.end();
  }
  assert.deepEqual(keys(), ['watch', 'request', 'bundle', 'dependency', 'retry', 'resync']);
});

test('a key that waits in the slow lane and is woken by an event moves to the fast lane, with both causes', async () => {
  const { queue, runs, keys } = build({ concurrency: 1 });
  for (const key of ['a', 'b', 'c']) queue.add(key, 'bundle');
  queue.add('c', 'watch');
  for (let i = 0; i < 3; i++) {
    await settle();
    runs[i]!.end();
  }
  await settle();
  assert.deepEqual(keys(), ['c', 'a', 'b']);
  assert.deepEqual([...runs[0]!.item.causes], ['bundle', 'watch']);
});

test('a thousand passes of a bundle leave workers free for events', async () => {
  const { queue, runs, keys } = build({ concurrency: 32 });
  for (let i = 0; i < 1000; i++) queue.add(`new${i}`, 'bundle');
  for (let i = 0; i < 10; i++) await settle();
  assert.equal(runs.length, 24);
  for (let i = 0; i < 9; i++) queue.add(`heal${i}`, 'watch');
  await settle();
  assert.deepEqual(
    keys().slice(24),
    Array.from({ length: 8 }, (_, i) => `heal${i}`),
  );
});

test('events that keep coming leave one worker to the slow lane', async () => {
  const { queue, runs, keys } = build({ concurrency: 2 });
  queue.add('new', 'bundle');
  for (const key of ['a', 'b', 'c']) queue.add(key, 'watch');
  await settle();
  assert.deepEqual(keys(), ['a', 'new']);
  runs[0]!.end();
  await settle();
  assert.deepEqual(keys(), ['a', 'new', 'b']);
});

test('what happens while a pass of the slow lane blocks the process is worked on before the next of them', async () => {
  const { port1, port2 } = new MessageChannel();
  const order: string[] = [];
  let now = 0;
  const queue: Queue = new Queue({
    clock: new FakeClock(),
    turns: new Turns(() => (now += 10)),
    concurrency: 4,
    random: () => 0.5,
    locksOf: () => [],
    locksOverlap: claimsOverlap,
    async work({ key }) {
      order.push(key);
      if (key === 'a') port2.postMessage('the system has an event');
    },
  });
  const read = new Promise<void>((resolve) => {
    port1.onmessage = () => {
      queue.add('heal', 'watch');
      resolve();
    };
  });
  queue.start();
  for (const key of ['a', 'b', 'c']) queue.add(key, 'bundle');
  await read;
  await queue.idle();
  port1.close();
  assert.deepEqual(order, ['a', 'heal', 'b', 'c']);
});

test('a pass of the slow lane begins in a turn that no running pass has asked for', async () => {
  const turns = new Turns(() => 0);
  const order: string[] = [];
  const queue: Queue = new Queue({
    clock: new FakeClock(),
    concurrency: 4,
    random: () => 0.5,
    locksOf: () => [],
    locksOverlap: claimsOverlap,
    turns,
    async work({ key }) {
      order.push(`${key} begins`);
      await turns.next();
      order.push(`${key} writes`);
    },
  });
  queue.start();
  for (const key of ['a', 'b']) queue.add(key, 'bundle');
  await queue.idle();
  assert.deepEqual(order, ['a begins', 'a writes', 'b begins', 'b writes']);
});

test('failures back off exponentially with jitter, key by key, up to a limit, and begin anew after forget', async () => {
  const { queue } = build();
  assert.deepEqual(
    [1, 2, 3].map(() => queue.addRateLimited('a')),
    [200, 400, 800],
  );
  assert.equal(queue.addRateLimited('b'), 200);
  for (let i = 0; i < 40; i++) queue.addRateLimited('a');
  assert.equal(queue.addRateLimited('a'), 300_000);
  queue.forget('a');
  assert.equal(queue.addRateLimited('a'), 200);
  const low = build({ random: () => 0 }).queue.addRateLimited('a');
  const high = build({ random: () => 0.999 }).queue.addRateLimited('a');
  assert.ok(low < 200 && high > 200 && low >= 150 && high <= 250);
});

test('events alone do not bring a failing key back before its backoff, and then once', async () => {
  const { queue, clock, runs } = build();
  queue.addRateLimited('a');
  for (let i = 0; i < 20; i++) {
    queue.add('a', 'watch');
    await clock.advance(9);
  }
  assert.equal(runs.length, 0);
  await queue.idle();
  await clock.advance(20);
  assert.equal(runs.length, 1);
  assert.deepEqual([...runs[0]!.item.causes], ['watch', 'retry']);
  runs[0]!.end();
  await clock.advance(1000);
  assert.equal(runs.length, 1);
  assert.deepEqual(clock.pending(), []);
});

test('an event waits at most 30 s for the backoff of a failing key, counted from its failure', async () => {
  const { queue, clock, runs } = build({ backoff: { baseMs: 300_000, maxMs: 300_000 } });
  queue.addRateLimited('a');
  await clock.advance(10_000);
  const woken = clock.monotonic();
  queue.add('a', 'watch');
  await clock.advance(19_999);
  assert.equal(runs.length, 0);
  await clock.advance(1);
  assert.deepEqual([...runs[0]!.item.causes], ['watch']);
  assert.equal(runs[0]!.item.wokenAt, woken);
  runs[0]!.end();
  queue.add('a', 'watch');
  await settle();
  assert.equal(runs.length, 2);
});

test('a request, a bundle, a dependency or a resync brings a failing key back at once, with the event that waited', async () => {
  for (const cause of ['request', 'bundle', 'dependency', 'resync'] as const) {
    const { queue, runs } = build();
    queue.addRateLimited('a');
    queue.add('a', 'watch');
    await settle();
    queue.add('a', cause);
    await settle();
    assert.deepEqual([...runs[0]!.item.causes], ['watch', cause]);
    runs[0]!.end();
    await settle();
    assert.equal(runs.length, 1);
  }
});

test('an event that comes while a key runs is not lost when that pass fails', async () => {
  const { queue, clock, runs } = build();
  queue.add('a', 'bundle');
  await settle();
  queue.add('a', 'watch');
  queue.addRateLimited('a');
  runs[0]!.end();
  await clock.advance(199);
  assert.equal(runs.length, 1);
  await clock.advance(1);
  assert.equal(runs.length, 2);
  assert.ok(runs[1]!.item.causes.has('watch'));
});

test('a key that succeeds is brought back by events at once, and by one that waited', async () => {
  const { queue, runs } = build();
  queue.addRateLimited('a');
  queue.add('a', 'watch');
  await settle();
  assert.equal(runs.length, 0);
  queue.forget('a');
  await settle();
  assert.equal(runs.length, 1);
  runs[0]!.end();
  queue.add('a', 'watch');
  await settle();
  assert.equal(runs.length, 2);
});

test('a delayed key comes when it is due, and a sooner delay wins', async () => {
  const { queue, clock, keys } = build();
  queue.addAfter('a', 'resync', 1000);
  queue.addAfter('a', 'retry', 100);
  queue.addAfter('a', 'resync', 5000);
  await clock.advance(99);
  assert.deepEqual(keys(), []);
  await clock.advance(1);
  assert.deepEqual(keys(), ['a']);
  assert.deepEqual(clock.pending(), []);
});

test('a key that is removed neither runs nor comes back', async () => {
  const { queue, clock, keys } = build();
  queue.addAfter('a', 'retry', 100);
  queue.remove('a');
  queue.addRateLimited('b');
  queue.add('b', 'watch');
  queue.add('c', 'bundle');
  queue.remove('b');
  queue.remove('c');
  await clock.advance(1000);
  assert.deepEqual(keys(), []);
  assert.deepEqual(clock.pending(), []);
});

test('stop waits for what runs, and takes up nothing more', async () => {
  const { queue, runs, keys } = build({ concurrency: 1 });
  queue.add('a', 'watch');
  queue.add('b', 'watch');
  await settle();
  let stopped = false;
  const stopping = queue.stop().then(() => {
    stopped = true;
  });
  await settle();
  assert.equal(stopped, false);
  runs[0]!.end();
  await stopping;
  queue.add('c', 'watch');
  await settle();
  assert.deepEqual(keys(), ['a']);
});

test('idle resolves when nothing runs and nothing is ready', async () => {
  const { queue, runs } = build();
  await queue.idle();
  queue.add('a', 'watch');
  let idle = false;
  const waiting = queue.idle().then(() => {
    idle = true;
  });
  await settle();
  assert.equal(idle, false);
  runs[0]!.end();
  await waiting;
  assert.equal(idle, true);
});

test('the age of the oldest running pass is known, for the watchdog', async () => {
  const { queue, runs, clock } = build();
  assert.equal(queue.oldestPassAgeMs(), undefined);
  queue.add('a', 'bundle');
  await settle();
  await clock.advance(1000);
  queue.add('b', 'watch');
  await settle();
  await clock.advance(500);
  assert.equal(queue.oldestPassAgeMs(), 1500);
  runs[0]!.end();
  await settle();
  assert.equal(queue.oldestPassAgeMs(), 500);
  runs[1]!.end();
  await settle();
  assert.equal(queue.oldestPassAgeMs(), undefined);
});
