// The system's clock, where Node's own timers surprise.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { systemClock } from '../../../agent/providers/clock.ts';

test('a wait that is longer than a timer can be does not end at once', async (t) => {
  const warnings: Error[] = [];
  const note = (warning: Error) => warnings.push(warning);
  process.on('warning', note);
  t.after(() => process.off('warning', note));
  const stop = new AbortController();
  const sleep = systemClock.sleep(2 ** 40, stop.signal).catch(() => undefined);
  const timer = systemClock.setTimeout(() => undefined, 2 ** 40);
  await turn();
  stop.abort();
  timer.cancel();
  await sleep;
  assert.deepEqual(warnings, [], 'Node warns of a timer that it ends at once');
});
