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
