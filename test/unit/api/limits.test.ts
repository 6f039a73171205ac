// A host can always report: whatever it has to say, what it sends fits, and says what was left out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { resourceState, tally } from '../../../api/health.ts';
import { clip, fitted, MAX_STATUS_BYTES } from '../../../api/limits.ts';
import { AgentStatus, findCondition, type ResourceStatus } from '../../../api/status.ts';
import { statusOf } from '../../support/agent-status.ts';

const bytesOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));

const COMMIT = 'a'.repeat(40);
const statusWith = (over: Partial<AgentStatus>): AgentStatus =>
  statusOf('pi', { commit: { desired: COMMIT, running: COMMIT }, ...over });

function resource(key: string, status: 'True' | 'False', reason: string, message: string): ResourceStatus {
  return {
    key,
    conditions: [{ type: 'Ready', status, reason, message, lastTransitionTime: '2026-11-23T12:00:00Z' }],
    desiredDigest: 'd'.repeat(64),
    runningDigest: 'd'.repeat(64),
    drift: [],
    healedTotal: 1,
    source: 'hosts/pi/some-file.yaml:17',
  };
}
const keysOf = (status: AgentStatus): string[] =>
  [...status.resources.map((r) => r.key), ...(status.brief ?? []).flatMap((b) => b.keys)].sort();

test('a text that fits is not touched; one that does not keeps its head and tail and says what is missing', () => {
  assert.equal(clip('short'), 'short');
  const clipped = clip(`first line${'x'.repeat(10_000)}last line`, 200);
  assert.match(clipped, /^first linex+… \((\d+) characters left out\) …x+last line$/);
  const missing = Number(/\((\d+) /.exec(clipped)![1]);
  assert.equal(missing + clipped.replace(/…[^…]*…/, '').length, 10_019);
});

test('a text that is cut twice says how much is missing of the first one', () => {
  const text = 'abc'.repeat(10_000);
  const twice = clip(clip(text), 300);
  const missing = Number(/\((\d+) characters/.exec(twice)![1]);
  assert.equal(missing + twice.replace(/…[^…]*…/, '').length, text.length);
});

test('a clipped text is never longer than allowed, and never has half a character', () => {
  const texts = fc.string({
    unit: fc.constantFrom('a', 'é', '\u{1f525}', '\u{1f600}', '…', '\n'),
    maxLength: 400,
  });
  fc.assert(
    fc.property(texts, fc.nat(300), (text, max) => {
      const clipped = clip(text, max);
      assert.ok(clipped.length <= max || clipped === text, `${clipped.length} > ${max}`);
      assert.ok(clipped.isWellFormed());
      assert.equal(clipped === text, text.length <= max);
    }),
  );
});

test('a status that fits is sent as it is', () => {
  const status = statusWith({ resources: [resource('File/a', 'True', 'InSync', 'as the manifest says')] });
  assert.equal(fitted(status), status);
});

test('six rollbacks with long logs fit, each with the head and tail of its evidence', () => {
  const log = `begin ${'line of a log\n'.repeat(18_000)} end`;
  const resources = Array.from({ length: 6 }, (_, i) => resource(`Alloy/${i}`, 'False', 'RolledBack', log));
  const status = statusWith({ resources });
  assert.ok(bytesOf(status) > 1_480_000);
  const short = fitted(status);
  assert.ok(bytesOf(short) <= MAX_STATUS_BYTES);
  assert.equal(short.brief, undefined);
  for (const { conditions } of short.resources) {
    assert.match(findCondition(conditions, 'Ready')!.message, /^begin .*characters left out.* end$/s);
  }
  const said = findCondition(short.conditions, 'StatusShortened');
  assert.equal(said?.status, 'True');
  assert.match(
    said!.message,
    /bytes, and 1,048,576 bytes are taken: messages are cut to 4096 characters; homeostat status/,
  );
});

test('of 10,000 resources every key and state is reported, and the detail of those that are not Ready', () => {
  const name = (i: number) => `File/${String(i).padStart(63, 'n')}`;
  const resources = Array.from({ length: 10_000 }, (_, i) =>
    i % 1000 === 0
      ? resource(name(i), 'False', 'NotAllowed', 'the path is not allowed here')
      : resource(name(i), 'True', 'InSync', 'as the manifest says'),
  );
  const status = statusWith({ resources });
  const short = fitted(status);
  assert.ok(bytesOf(short) <= MAX_STATUS_BYTES, `${bytesOf(short)} bytes`);
  assert.deepEqual(keysOf(short), resources.map((r) => r.key).sort());
  assert.equal(short.resources.length, 10);
  assert.equal(short.resources[0]!.conditions[0]!.message, 'the path is not allowed here');
  assert.deepEqual(tally(short), tally(status));
  assert.match(
    findCondition(short.conditions, 'StatusShortened')!.message,
    /the detail of 9990 of 10000 resources is left out/,
  );
});

test('when not even the keys fit, everything is still counted', () => {
  const resources = Array.from({ length: 300 }, (_, i) =>
    resource(
      `File/${i}-${'n'.repeat(50)}`,
      i < 150 ? 'False' : 'True',
      i < 150 ? `Error${i}` : 'InSync',
      'm',
    ),
  );
  const status = statusWith({ resources });
  const short = fitted(status, 4096);
  assert.ok(bytesOf(short) <= 4096);
  const [now, before] = [tally(short), tally(status)];
  assert.deepEqual(
    [now.total, now.ready, now.healedTotal, now.by.Degraded.count],
    [before.total, before.ready, before.healedTotal, before.by.Degraded.count],
  );
});

const message = fc.oneof(
  fc.string(),
  fc.nat(60_000).map((n) => 'log line\n'.repeat(Math.floor(n / 9))),
  fc.nat(20_000).map((n) => '\u{1f525}\u0000"'.repeat(Math.floor(n / 4))),
);
const condition = fc.record({
  type: fc.constantFrom('Ready', 'Applied', 'Suspended', 'Contended', 'AlloyHealthy'),
  status: fc.constantFrom('True' as const, 'False' as const, 'Unknown' as const),
  reason: fc.oneof(fc.constantFrom('InSync', 'RolledBack', 'Drifted', 'UndoFailing', 'Pending'), fc.string()),
  message,
  lastTransitionTime: fc.constant('2026-11-23T12:00:00Z'),
});
const anyResource = fc.record({
  key: fc.string({ maxLength: 80 }),
  conditions: fc.array(condition, { maxLength: 4 }),
  desiredDigest: fc.constant('d'.repeat(64)),
  runningDigest: fc.constant('d'.repeat(64)),
  drift: fc.array(message, { maxLength: 5 }),
  healedTotal: fc.nat(1000),
  source: fc.constant('a.yaml:1'),
});
const anyStatus = fc
  .record({
    conditions: fc.array(condition, { maxLength: 4 }),
    resources: fc.array(anyResource, { maxLength: 40 }),
    events: fc.array(
      fc.record({
        at: fc.constant('2026-11-23T12:00:00Z'),
        key: fc.constant('File/a'),
        type: fc.constant('Normal' as const),
        reason: fc.constant('Healed'),
        message,
      }),
      { maxLength: 50 },
    ),
  })
  .map(statusWith);

test('whatever a host has to say fits, is a status, and counts every resource in its state', () => {
  fc.assert(
    fc.property(anyStatus, fc.integer({ min: 4096, max: 200_000 }), (status, maxBytes) => {
      const short = fitted(status, maxBytes);
      assert.ok(bytesOf(short) <= maxBytes, `${bytesOf(short)} > ${maxBytes}`);
      AgentStatus.parse(JSON.parse(JSON.stringify(short)));
      assert.equal(short === status, bytesOf(status) <= maxBytes, 'what fits is not touched');
      const [now, before] = [tally(short), tally(status)];
      for (const state of Object.keys(before.by) as (keyof typeof before.by)[]) {
        assert.equal(now.by[state].count, before.by[state].count, state);
      }
      assert.deepEqual([now.drifted, now.healedTotal], [before.drifted, before.healedTotal]);
      if (short === status) return;
      assert.ok(findCondition(short.conditions, 'StatusShortened') !== undefined);
      const readyHasDetail = short.resources.some((r) => resourceState(r.conditions, status.at) === 'Ready');
      const otherHasNone = (short.brief ?? []).some((b) => b.state !== 'Ready');
      assert.ok(!(readyHasDetail && otherHasNone), 'the detail of Ready resources goes first');
    }),
    { numRuns: 200 },
  );
});
