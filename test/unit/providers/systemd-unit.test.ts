// What systemd says, as our state; recorded from systemd 252.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSystemd } from '../../../agent/providers/systemd.ts';
import { fromProperties, pathOfUnit, variantValues } from '../../../agent/providers/systemd-unit.ts';

test('object paths of units', () => {
  assert.equal(pathOfUnit('alloy.service'), '/org/freedesktop/systemd1/unit/alloy_2eservice');
  assert.equal(pathOfUnit('1x@a-b.service'), '/org/freedesktop/systemd1/unit/_31x_40a_2db_2eservice');
  assert.equal(pathOfUnit('ü.timer'), '/org/freedesktop/systemd1/unit/_c3_bc_2etimer');
});

test('properties of a running and of a waiting service', () => {
  const running = {
    LoadState: 'loaded',
    LoadError: ['', ''],
    ActiveState: 'active',
    SubState: 'running',
    NeedDaemonReload: false,
    InvocationID: Buffer.from('77f05fd8b07d40408504fa74bf686896', 'hex'),
    InactiveExitTimestamp: 1795412757400000n,
    ExecMainStartTimestamp: 1795412757448123n,
    MainPID: 35,
    Result: 'success',
    Type: 'simple',
    FragmentPath: '/etc/systemd/system/x.service',
    DropInPaths: ['/etc/systemd/system/x.service.d/a.conf'],
  };
  const state = fromProperties(running, 'enabled');
  assert.equal(state.invocationID, '77f05fd8b07d40408504fa74bf686896');
  assert.equal(state.startedAtMs, 1795412757448);
  assert.deepEqual(state.dropInPaths, running.DropInPaths);
  const waiting = fromProperties(
    { ...running, ActiveState: 'activating', SubState: 'auto-restart' },
    'enabled',
  );
  assert.equal(waiting.startedAtMs, 0, 'nothing runs');
  const timer = fromProperties({ ...running, ExecMainStartTimestamp: undefined, Type: undefined }, 'static');
  assert.deepEqual([timer.startedAtMs, timer.serviceType], [1795412757400, '']);
});

test('how the last run ended, by its times', () => {
  const service = { ActiveState: 'inactive', SubState: 'dead', Result: 'success', RemainAfterExit: false };
  const times = (entered: number, left: number, started: number, exited: number) => ({
    InactiveExitTimestampMonotonic: BigInt(started),
    ActiveEnterTimestampMonotonic: BigInt(entered),
    ActiveExitTimestampMonotonic: BigInt(left),
    ExecMainStartTimestampMonotonic: BigInt(started),
    ExecMainExitTimestampMonotonic: BigInt(exited),
  });
  const TERM = { ExecMainCode: 2, ExecMainStatus: 15 };
  const rows: [string, object, boolean, number | undefined][] = [
    ['never ran', times(0, 0, 0, 0), false, undefined],
    ['was stopped', times(2000, 5000, 1000, 6000), false, 5],
    ['ended', times(2000, 6001, 1000, 6000), true, 5],
    ['ended in the very microsecond', times(2000, 6000, 1000, 6000), true, 5],
    ['runs', { ActiveState: 'active', ...times(2000, 500, 1000, 0) }, false, undefined],
    ['waits for its restart', { SubState: 'auto-restart', ...times(2000, 6001, 1000, 6000) }, true, 5],
    ['failed before it was ready, after an earlier run', times(200, 500, 1000, 6000), true, 5],
    ['oneshot, ended', times(0, 0, 1000, 6000), true, 5],
    ['oneshot, stopped', { ...times(0, 0, 1000, 6000), ...TERM, Result: 'signal' }, false, 5],
    ['watchdog', { ...times(2000, 5000, 1000, 6000), Result: 'watchdog' }, true, 5],
    [
      'stayed after its exit, stopped',
      { ...times(2000, 9000, 1000, 1500), RemainAfterExit: true },
      false,
      0.5,
    ],
    [
      'should stay, failed',
      {
        ...times(2000, 6001, 1000, 6000),
        RemainAfterExit: true,
        Result: 'exit-code',
        ExecMainCode: 1,
        ExecMainStatus: 3,
      },
      true,
      5,
    ],
    [
      'ExecStartPre failed, after an earlier run',
      { ...times(200, 500, 0, 0), InactiveExitTimestampMonotonic: 700n },
      false,
      0,
    ],
    ['no service, stopped', times(2000, 9000, 0, 0), false, 7],
  ];
  for (const [name, properties, endedItself, livedMs] of rows) {
    const state = fromProperties({ ...service, ...properties }, 'enabled');
    assert.deepEqual([state.endedItself, state.livedMs], [endedItself, livedMs], name);
  }
  const killed = { ...times(0, 0, 1000, 6000), ...TERM };
  assert.equal(
    fromProperties({ ...service, ...killed, Result: 'timeout' }, '').endedItself,
    true,
    'too slow',
  );
  const state = fromProperties(
    { ...service, NRestarts: 3, InactiveEnterTimestamp: 1795412757400123n, FreezerState: 'frozen' },
    '',
  );
  assert.deepEqual([state.restarts, state.inactiveSinceMs, state.freezer], [3, 1795412757400, 'frozen']);
  const old = fromProperties(service, '');
  assert.deepEqual([old.restarts, old.inactiveSinceMs, old.freezer], [0, 0, '']);
});

test('when systemd starts it next, and when it skipped a start', () => {
  const waits = { ActiveState: 'activating', SubState: 'auto-restart', InactiveEnterTimestamp: 5_000_000n };
  assert.equal(fromProperties({ ...waits, RestartUSec: 60_000_000n }, '').restartsAtMs, 65_000);
  const skipped = (p: object): number => fromProperties({ ...waits, SubState: 'dead', ...p }, '').skippedAtMs;
  const tested = { ConditionTimestamp: 7_000_000n, AssertTimestamp: 7_000_000n };
  assert.equal(skipped({ ConditionResult: false, ConditionTimestamp: 0n }), 0, 'never started');
  assert.equal(skipped({ ConditionResult: true, AssertResult: true, ...tested }), 0);
  assert.equal(skipped({ ConditionResult: false, AssertResult: false, ...tested }), 7_000);
  assert.equal(skipped({ ConditionResult: true, AssertResult: false, ...tested }), 7_000);
});

test('variants are taken off at every depth', () => {
  const variant = (value: unknown) => ({ signature: 'v', value });
  assert.deepEqual(variantValues({ a: variant(1), b: [variant(['x', variant('y')])] }), {
    a: 1,
    b: [['x', 'y']],
  });
});

test('a host without a system bus waits, and says what is missing', async () => {
  const units = createSystemd({ busAddress: 'unix:path=/nonexistent/bus' });
  await assert.rejects(units.show('x.service'), { name: 'Waiting', reason: 'NoSystemBus' });
  await units.close();
  await assert.rejects(units.show('x.service'), /agent stops/);
});
