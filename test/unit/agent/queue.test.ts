// Each test's name is a promise of the work queue.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Item, Queue } from '../../../agent/queue/queue.ts';
import { claimsOverlap } from '../../../kinds/kind.ts';
import { FakeClock, settle } from '../../support/clock.ts';

interface Run {
  readonly item: Item;
  end(): void;
}

function build(
  options: { concurrency?: number; locks?: Record<string, string[]>; random?: () => number } = {},
) {
  const clock = new FakeClock();
  const runs: Run[] = [];
  const queue = new Queue({
    clock,
    concurrency: options.concurrency ?? 4,
    random: options.random ?? (() => 0.5),
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
  await clock.advance(1000);
  assert.deepEqual(keys(), []);
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
