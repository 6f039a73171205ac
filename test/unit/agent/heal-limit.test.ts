// Contention: bursts are healed at once, a fight is slowed down, and ends when it is quiet.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HealLimit } from '../../../agent/reconcile/heal-limit.ts';

test('a burst is free; after it each heal waits, and the waits grow up to a minute', () => {
  const budget = new HealLimit({ burst: 3, perSecond: 0 }, 0);
  assert.deepEqual([budget.take(0), budget.take(1), budget.take(2)], [0, 0, 0]);
  assert.equal(budget.contended, false);
  assert.equal(budget.take(3), 1000);
  assert.equal(budget.contended, true);
  assert.equal(budget.take(503), 500, 'asking earlier only tells how long is left');
  let now = 1003;
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    assert.equal(budget.take(now), 0, 'whoever waited may heal');
    const wait = budget.take(now);
    waits.push(wait);
    now += wait;
  }
  assert.deepEqual(waits, [2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
});

test('a rate below the refill is never contended', () => {
  const budget = new HealLimit({ burst: 5, perSecond: 10 }, 0);
  for (let i = 0; i < 1000; i++) assert.equal(budget.take(i * 101), 0);
});

test('quiet ends it', () => {
  const budget = new HealLimit({ burst: 5, perSecond: 1 }, 0);
  for (let i = 0; i < 6; i++) budget.take(0);
  assert.equal(budget.contended, true);
  assert.equal(budget.quiet(500), false);
  assert.equal(budget.quiet(60_000), true);
  assert.equal(budget.contended, false);
  assert.equal(budget.quiet(60_001), false, 'it ends once');
});
