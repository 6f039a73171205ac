// An agent that ends over and over applies nothing new, until it is calm or a person says so.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import { CrashLoop } from '../../../agent/health/crash-loop.ts';
import { ConditionSet } from '../../../agent/reconcile/conditions.ts';
import { FakeClock } from '../../support/clock.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

const MINUTE = 60_000;

function begin(t: TestContext) {
  const stateDir = path.join(temporaryDirectory(t), 'state');
  let clock = new FakeClock();
  /** A new process, at the time of the last: its timers are gone. */
  const start = () => {
    clock = new FakeClock(clock.now());
    const conditions = new ConditionSet();
    const applied: string[] = [];
    const log = pino({ level: 'silent' });
    const onEnd = (): void => void applied.push('all');
    const loop = new CrashLoop({ stateDir, clock, log, conditions, onEnd });
    loop.started();
    return { loop, conditions, applied };
  };
  const startTimes = (n: number) => Array.from({ length: n }, start).at(-1)!;
  return { stateDir, start, startTimes, advance: (ms: number) => clock.advance(ms), clock: () => clock };
}

test('five starts within five minutes are a crash loop, four are none', async (t) => {
  const { startTimes, start } = begin(t);
  const fourth = startTimes(4);
  assert.equal(fourth.loop.crashLooping(), false);
  assert.equal(fourth.conditions.get('Stable'), undefined);
  const fifth = start();
  assert.equal(fifth.loop.crashLooping(), true);
  const condition = fifth.conditions.get('Stable');
  assert.deepEqual([condition?.status, condition?.reason], ['False', 'CrashLoop']);
  assert.match(
    condition!.message,
    /^5 starts within 5 minutes: nothing new is applied until .*homeostat resume/,
  );
});

test('starts that are spread over more than five minutes are none', async (t) => {
  const { start, advance } = begin(t);
  for (let i = 0; i < 12; i++) {
    assert.equal(start().loop.crashLooping(), false);
    await advance(59_000 + 20_000 * (i % 2)); // each second one lives for its stable minute
  }
});

test('a stable minute forgets what was before', async (t) => {
  const { startTimes, start, advance } = begin(t);
  startTimes(4);
  await advance(MINUTE);
  assert.equal(start().loop.crashLooping(), false);
});

test('five minutes of calm end it, and what was left is looked at; an end before does not', async (t) => {
  const { startTimes, start, advance } = begin(t);
  startTimes(5);
  await advance(5 * MINUTE - 1);
  const next = start();
  assert.equal(next.loop.crashLooping(), true, 'the minute of rest was one in which nothing was applied');
  await advance(5 * MINUTE);
  assert.equal(next.loop.crashLooping(), false);
  assert.deepEqual(next.applied, ['all']);
  assert.equal(next.conditions.get('Stable')?.status, 'True');
  assert.equal(start().loop.crashLooping(), false);
});

test('a person ends it, also for the next start', (t) => {
  const { startTimes, start, clock } = begin(t);
  const { loop, applied } = startTimes(5);
  loop.resume();
  loop.resume();
  assert.equal(loop.crashLooping(), false);
  assert.deepEqual(applied, ['all']);
  assert.deepEqual(clock().pending(), []);
  assert.equal(start().loop.crashLooping(), false);
});

test('an end in order is no crash', (t) => {
  const { start } = begin(t);
  for (let i = 0; i < 20; i++) {
    const { loop } = start();
    assert.equal(loop.crashLooping(), false);
    loop.stopped(true);
  }
});

test('an end that nobody wanted is one, and leaves no timer', (t) => {
  const { start, clock } = begin(t);
  for (let i = 1; i <= 5; i++) {
    const { loop } = start();
    assert.equal(loop.crashLooping(), i === 5);
    loop.stopped(false);
    assert.deepEqual(clock().pending(), []);
  }
});

test('a file that can’t be read or written stops nothing, and a clock that was ahead counts for nothing', (t) => {
  const { stateDir, start, clock } = begin(t);
  fs.mkdirSync(stateDir);
  const file = path.join(stateDir, 'starts.json');
  const future = clock().now() + MINUTE;
  for (const text of [
    '',
    '{"starts":["x"],"looping":1}',
    JSON.stringify({ starts: Array(5).fill(future), looping: false }),
  ]) {
    fs.writeFileSync(file, text);
    assert.equal(start().loop.crashLooping(), false, text);
  }
  fs.rmSync(file);
  fs.mkdirSync(file);
  assert.equal(start().loop.crashLooping(), false);
});
