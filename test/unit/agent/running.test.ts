import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RunningPasses } from '../../../agent/reconcile/running.ts';
import { FakeClock } from '../../support/clock.ts';

const TIMEOUT_MS = 1000;

function running() {
  const clock = new FakeClock();
  const stopping = new AbortController();
  const passes = new RunningPasses(clock, TIMEOUT_MS, stopping.signal);
  return { clock, stopping, passes, begin: () => passes.begin(clock.monotonic()) };
}

test('each pass ends when its own time is over', async () => {
  const { clock, begin } = running();
  const first = begin();
  await clock.advance(600);
  const second = begin();
  await clock.advance(399);
  assert.deepEqual([first.signal.aborted, second.signal.aborted], [false, false]);
  await clock.advance(1);
  assert.deepEqual([first.signal.aborted, second.signal.aborted], [true, false]);
  await clock.advance(599);
  assert.equal(second.signal.aborted, false);
  await clock.advance(1);
  assert.equal(second.signal.aborted, true);
});

test('a pass that has ended is not ended again, and does not end the others sooner', async () => {
  const { clock, passes, begin } = running();
  const first = begin();
  passes.ended(first);
  await clock.advance(700);
  const second = begin();
  await clock.advance(999);
  assert.deepEqual([first.signal.aborted, second.signal.aborted], [false, false]);
  await clock.advance(1);
  assert.equal(second.signal.aborted, true);
});

test('a thousand passes have one timer, and none is left when no pass runs', async () => {
  const { clock, passes, begin } = running();
  for (let i = 0; i < 1000; i++) passes.ended(begin());
  assert.deepEqual(clock.pending(), [TIMEOUT_MS]);
  await clock.advance(TIMEOUT_MS);
  assert.deepEqual(clock.pending(), []);
});

test('a pass that hangs although it was ended does not keep a later one', async () => {
  const { clock, begin } = running();
  const hangs = begin();
  await clock.advance(TIMEOUT_MS);
  assert.equal(hangs.signal.aborted, true);
  const later = begin();
  await clock.advance(TIMEOUT_MS);
  assert.equal(later.signal.aborted, true);
});

test('when the agent stops, what runs ends, what begins is over at once, and no timer is left', async () => {
  const { clock, stopping, begin } = running();
  const before = begin();
  stopping.abort(new Error('stops'));
  const after = begin();
  assert.deepEqual(
    [before.signal.reason, after.signal.reason],
    [stopping.signal.reason, stopping.signal.reason],
  );
  assert.deepEqual(clock.pending(), []);
});
