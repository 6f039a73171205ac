// The gate: what a verdict counts for, and when to ask again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Decision, decide, type Question, seenYes } from '../../../agent/reconcile/gate.ts';
import type { Verdict } from '../../../kinds/kind.ts';

const yes: Verdict = { verdict: 'Yes' };
const no: Verdict = { verdict: 'No', reason: 'Unhealthy', evidence: '2 of 3 answer' };
const unknown: Verdict = { verdict: 'Unknown', reason: 'Starting', evidence: 'it starts' };
const run = (id: string, ageMs: number): Verdict => ({ verdict: 'Yes', run: { id, ageMs } });

const NOW = 100_000;
const ask = (more: Partial<Question>): Decision =>
  decide({
    verdict: yes,
    gate: { withinMs: 10_000, settleMs: 5_000 },
    yes: undefined,
    looks: 0,
    nowMs: NOW,
    trialMs: undefined,
    ...more,
  });

test('a Yes counts once it was seen for the time to settle', () => {
  assert.equal(ask({ yes: { sinceMs: NOW - 5_000, run: undefined } }).is, 'Ready');
  const early = ask({ yes: { sinceMs: NOW - 4_000, run: undefined } });
  assert.deepEqual([early.is, 'againMs' in early && early.againMs], ['Pending', 1_000]);
  assert.equal(
    ask({ gate: { withinMs: 0, settleMs: 0 }, yes: { sinceMs: NOW, run: undefined } }).is,
    'Ready',
  );
});

test('a run is as old as the host says, whoever looked at it', () => {
  const first = seenYes(run('a', 1_000), undefined, NOW, true);
  assert.equal(ask({ verdict: run('a', 1_000), yes: first }).is, 'Pending', 'it was just started');
  assert.equal(ask({ verdict: run('a', 5_000), yes: first }).is, 'Ready');
});

test('another run begins anew', () => {
  const first = seenYes(run('a', 0), undefined, 0, false);
  assert.deepEqual(seenYes(run('a', 9_000), first, NOW, false), first);
  const second = seenYes(run('b', 0), first, NOW, false);
  assert.equal(second?.sinceMs, NOW);
  assert.equal(ask({ verdict: run('b', 0), yes: second }).is, 'Pending');
  assert.equal(seenYes(no, second, NOW, false), undefined, 'and so does a Yes after a No');
});

test('what is well at the first look of an agent is taken to have been so', () => {
  const seen = seenYes(yes, undefined, NOW, true);
  assert.equal(ask({ yes: seen }).is, 'Ready');
});

test('a No refuses a change on trial at once, and nothing else', () => {
  assert.deepEqual(ask({ verdict: no, trialMs: 0 }), {
    is: 'Refused',
    reason: 'Unhealthy',
    evidence: '2 of 3 answer',
  });
  const standing = ask({ verdict: no });
  assert.deepEqual([standing.is, 'ready' in standing && standing.ready], ['Pending', 'False']);
});

test('an Unknown never becomes a Yes by waiting', () => {
  for (const trialMs of [0, 9_000, 11_000, 10_000_000]) {
    const decision = ask({ verdict: unknown, trialMs });
    assert.deepEqual([decision.is, 'ready' in decision && decision.ready], ['Pending', 'Unknown']);
  }
  const late = ask({ verdict: unknown, trialMs: 65_000 });
  assert.match('message' in late ? late.message : '', /not confirmed, 65 s after the change/);
});

test('a change on trial is asked often, what is not more and more seldom, and whoever knows when says so', () => {
  const again = (more: Partial<Question>): unknown => {
    const decision = ask({ verdict: unknown, ...more });
    return 'againMs' in decision && decision.againMs;
  };
  assert.equal(again({ trialMs: 0, looks: 30 }), 250);
  assert.deepEqual(
    [0, 1, 3, 30].map((looks) => again({ looks })),
    [1_000, 2_000, 8_000, 60_000],
  );
  assert.equal(again({ verdict: { ...unknown, againMs: 90_000 } as Verdict }), 90_000);
});

test('a No that a rollback would not mend stays, and is not Ready', () => {
  const kept: Verdict = { verdict: 'No', reason: 'CannotBeEnabled', evidence: 'it is static', keep: true };
  const decision = ask({ verdict: kept, trialMs: 60_000 });
  assert.deepEqual(
    [decision.is, 'ready' in decision && decision.ready, 'message' in decision && decision.message],
    ['Pending', 'False', 'it is static'],
  );
});
