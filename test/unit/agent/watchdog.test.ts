// Whether the agent says that it is well: what is judged, and what is done about it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import pino from 'pino';
import { createNotifier } from '../../../agent/health/notify.ts';
import { type Facts, judge, type Limits, Watchdog } from '../../../agent/health/watchdog.ts';
import { ConditionSet } from '../../../agent/reconcile/conditions.ts';
import { FakeClock } from '../../support/clock.ts';

const MIB = 1024 * 1024;
const limits: Limits = { passMs: 300_000, informerMs: 300_000, lagMs: 15_000, memoryBytes: 512 * MIB };
const WELL: Facts = {
  oldestPassMs: 299_000,
  detachedPrograms: 0,
  informerIdleMs: 299_000,
  lagMs: 14_000,
  residentBytes: 511 * MIB,
};

const rows: readonly [name: string, facts: Partial<Facts>, reasons: readonly string[]][] = [
  ['everything is within its limits', {}, []],
  ['nothing runs, and there is no controller', { oldestPassMs: undefined, informerIdleMs: undefined }, []],
  ['a pass ignores its end', { oldestPassMs: 301_000 }, ['PassHangs']],
  ['a pass waits for dpkg', { oldestPassMs: 1_700_000, detachedPrograms: 1 }, []],
  ['the informer does nothing', { informerIdleMs: 301_000 }, ['InformerHangs']],
  ['the event loop stood still', { lagMs: 16_000 }, ['EventLoopLags']],
  ['memory comes first', { residentBytes: 600 * MIB, lagMs: 16_000 }, ['MemoryCeiling', 'EventLoopLags']],
];
for (const [name, facts, reasons] of rows) {
  test(`judged: ${name}`, () => {
    assert.deepEqual(
      judge({ ...WELL, ...facts }, limits).map(({ reason }) => reason),
      reasons,
    );
  });
}

test('a finding says what is wrong, and how much', () => {
  const [finding] = judge({ ...WELL, residentBytes: 600 * MIB }, limits);
  assert.equal(finding?.message, 'the agent takes 600 MiB, and memoryCeilingMiB is 512');
});

/** A clock whose timers may be late. */
class LateClock extends FakeClock {
  lateMs = 0;
  override monotonic(): number {
    return super.monotonic() + this.lateMs;
  }
}

function begin() {
  const clock = new LateClock();
  const conditions = new ConditionSet();
  const facts = { ...WELL };
  const ended: string[] = [];
  const watchdog = new Watchdog({
    ...{ clock, conditions, log: pino({ level: 'silent' }), memoryCeilingMiB: 512 },
    oldestPassAgeMs: () => facts.oldestPassMs,
    detachedPrograms: () => facts.detachedPrograms,
    informerIdleMs: () => facts.informerIdleMs,
    residentBytes: () => facts.residentBytes,
    onMemory: (message) => ended.push(message),
  });
  watchdog.start();
  return { clock, conditions, facts, ended, watchdog };
}

test('what is wrong is a condition until it is over, and silences the pings', async (t) => {
  const { clock, conditions, facts, watchdog } = begin();
  t.after(() => watchdog.stop());
  const sent: string[] = [];
  const notifier = createNotifier({
    env: { NOTIFY_SOCKET: '/run/systemd/notify', WATCHDOG_USEC: '60000000' },
    processes: {
      run: async (_program, args) => {
        sent.push(...args);
        return { exitCode: 0, stdout: '', stderr: '' };
      },
    },
    clock,
    healthy: () => watchdog.healthy(),
  });
  t.after(() => notifier.stop());
  await notifier.ready();
  await clock.advance(20_000);
  assert.deepEqual(sent, ['READY=1', 'WATCHDOG=1']);
  assert.equal(conditions.get('Healthy'), undefined);
  facts.oldestPassMs = 301_000;
  await clock.advance(40_000);
  assert.deepEqual(sent, ['READY=1', 'WATCHDOG=1']);
  assert.equal(conditions.get('Healthy')?.reason, 'PassHangs');
  facts.oldestPassMs = 0;
  await clock.advance(20_000);
  assert.equal(conditions.get('Healthy')?.status, 'True');
  // While it drains, it goes on saying that it is well.
  await notifier.stopping();
  await clock.advance(20_000);
  assert.deepEqual(sent.slice(2), ['WATCHDOG=1', 'STOPPING=1', 'WATCHDOG=1']);
});

test('a timer that is late shows as lag, for as long as it is late', async () => {
  const { clock, conditions, watchdog } = begin();
  clock.lateMs = 20_000;
  await clock.advance(5_000);
  assert.equal(conditions.get('Healthy')?.reason, 'EventLoopLags');
  assert.equal(watchdog.healthy(), false);
  await clock.advance(5_000);
  assert.equal(watchdog.healthy(), true);
  watchdog.stop();
  assert.deepEqual(clock.pending(), []);
});

test('memory above its ceiling ends the process, once, and in order: the pings go on', async () => {
  const { clock, facts, ended, watchdog } = begin();
  facts.residentBytes = 600 * MIB;
  await clock.advance(20_000);
  assert.deepEqual(ended, ['the agent takes 600 MiB, and memoryCeilingMiB is 512']);
  assert.equal(watchdog.healthy(), true);
  watchdog.stop();
});
