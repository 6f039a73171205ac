// The pass, under everything that can go wrong with it. The kind is a test's own; queue, journal and disk are real.
import assert from 'node:assert/strict';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { Stalled, Waiting } from '../../../api/errors.ts';
import { Devices } from '../../support/device.ts';
import { eventually } from '../../support/eventually.ts';
import { intentsIn, journalIn } from '../../support/journal.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const device = (value: string, more: Parameters<typeof resource>[3] = {}, name = 'd') =>
  resource('Device', name, { value }, more);

function begin(t: TestContext, devices = new Devices(), directory?: string) {
  const line = new Timeline(t, { kinds: devices.kinds, ...(directory === undefined ? {} : { directory }) });
  return { devices, line: line.start() };
}

const intents = (line: Timeline): string[] => intentsIn(path.join(line.directory, 'state'));

test('a new state is prepared, journalled, applied and confirmed; the intent is closed', async (t) => {
  const { devices, line } = begin(t);
  let during: string[] = [];
  devices.hook = (step) => {
    if (step === 'apply') during = intents(line);
  };
  line.assign(device('one'));
  const status = await line.expect('Device/d', 'True');
  assert.deepEqual(during, ['Device/d'], 'the intent is on disk before the first write');
  assert.deepEqual(intents(line), []);
  assert.equal(status.runningDigest, status.desiredDigest);
  assert.deepEqual(devices.log, ['prepare one', 'apply one']);
});

test('drift is healed without a new journal entry, and counted', async (t) => {
  const { devices, line } = begin(t);
  line.assign(device('one'));
  await line.expect('Device/d', 'True');
  let during: string[] = ['not looked at'];
  devices.hook = (step) => {
    if (step === 'apply') during = intents(line);
  };
  devices.tamper('Device/d', 'other');
  await eventually(() => assert.equal(line.status('Device/d').healedTotal, 1));
  assert.equal(devices.values.get('Device/d'), 'one');
  assert.deepEqual(during, []);
  assert.match(await line.agent.exposition(), /homeostat_drift_healed_total\{kind="Device"\} 1/);
});

test('each new state of what is ready is reported once, by its reason and as an event', async (t) => {
  const { devices, line } = begin(t);
  const told = () =>
    line.agent
      .status()
      .events.filter(({ key }) => key === 'Device/d')
      .map(({ reason }) => reason);
  line.assign(device('one'));
  await line.expect('Device/d', 'True', 'Applied');
  devices.tamper('Device/d', 'other');
  await eventually(() => assert.deepEqual(told(), ['Applied', 'Healed']));
  for (const value of ['two', 'three']) {
    line.assign(device(value));
    await eventually(() => assert.equal(devices.values.get('Device/d'), value));
    await line.agent.idle();
  }
  line.agent.reconcile();
  await line.agent.idle();
  assert.deepEqual(told(), ['Applied', 'Healed', 'Applied', 'Applied']);
  assert.equal(line.condition('Device/d', 'Ready')?.reason, 'Applied');
});

test('a change that fails its gate is undone, quarantined and reported as rolled back, and not tried again', async (t) => {
  const { devices, line } = begin(t);
  line.assign(device('good'));
  await line.expect('Device/d', 'True');
  devices.gate = (value) =>
    value === 'bad' ? { verdict: 'No', reason: 'NoFlow', evidence: 'nothing arrives' } : { verdict: 'Yes' };
  line.assign(device('bad'));
  await line.expect('Device/d', 'False', 'RolledBack');
  assert.equal(devices.values.get('Device/d'), 'good');
  assert.match(line.condition('Device/d', 'Ready')!.message, /NoFlow: nothing arrives/);
  assert.deepEqual(intents(line), []);
  const applies = devices.log.filter((l) => l === 'apply bad').length;
  line.agent.reconcile();
  devices.tamper('Device/d', 'tampered');
  await eventually(() =>
    assert.equal(devices.values.get('Device/d'), 'good', 'the last confirmed state is kept up'),
  );
  assert.equal(devices.log.filter((l) => l === 'apply bad').length, applies);
  assert.equal(line.condition('Device/d', 'Ready')!.reason, 'RolledBack', 'healing it is no success');
  assert.match(await line.agent.exposition(), /homeostat_quarantined 1/);
});

test('the quarantine survives a restart, and ends with a new digest or a new version of the program', async (t) => {
  const directory = temporaryDirectory(t);
  const devices = new Devices();
  const gate = devices.gate;
  const first = begin(t, devices, directory).line.assign(device('good'));
  await first.expect('Device/d', 'True');
  devices.gate = (v) => (v === 'bad' ? { verdict: 'No', reason: 'R', evidence: 'E' } : { verdict: 'Yes' });
  first.assign(device('bad'));
  await first.expect('Device/d', 'False', 'RolledBack');
  await first.stop();

  const second = begin(t, devices, directory).line.assign(device('bad'));
  await second.expect('Device/d', 'False', 'RolledBack');
  assert.equal(devices.log.filter((l) => l === 'apply bad').length, 1);
  devices.version = '2';
  devices.gate = gate;
  second.agent.reconcile();
  await second.expect('Device/d', 'True');
  assert.equal(devices.values.get('Device/d'), 'bad');
});

test('a refusal by the host in the middle of applying is undone in the same way', async (t) => {
  const { devices, line } = begin(t);
  line.assign(device('good'));
  await line.expect('Device/d', 'True');
  line.assign(device('refused'));
  await line.expect('Device/d', 'False', 'RolledBack');
  assert.equal(devices.values.get('Device/d'), 'good');
});

test('a first state that fails is undone to what was there before homeostat', async (t) => {
  const { devices, line } = begin(t);
  devices.values.set('Device/d', 'original');
  line.assign(device('refused'));
  await line.expect('Device/d', 'False', 'RolledBack');
  assert.equal(devices.values.get('Device/d'), 'original');
});

test('what is invalid is never begun; the last confirmed state is kept up meanwhile', async (t) => {
  const { devices, line } = begin(t);
  line.assign(device('good'));
  await line.expect('Device/d', 'True');
  line.assign(device('invalid'));
  await line.expect('Device/d', 'False', 'Invalid');
  devices.tamper('Device/d', 'tampered');
  await eventually(() => assert.equal(devices.values.get('Device/d'), 'good'));
  assert.equal(
    devices.log.filter((l) => l === 'prepare invalid').length,
    1,
    'a mere event does not try it again',
  );
  line.assign(device('good'));
  await line.expect('Device/d', 'True');
});

test('what can’t be had yet is waited for; the last confirmed state is kept up meanwhile', async (t) => {
  const { devices, line } = begin(t);
  line.assign(device('good'));
  await line.expect('Device/d', 'True');
  devices.hook = (step, value) => {
    if (step === 'prepare' && value === 'later') throw new Waiting('Pulling', 'half of it is here', 60_000);
  };
  line.assign(device('later'));
  await line.expect('Device/d', 'False', 'Pulling');
  devices.tamper('Device/d', 'tampered');
  await eventually(() => assert.equal(devices.values.get('Device/d'), 'good'));
  assert.equal(line.condition('Device/d', 'Ready')?.reason, 'Pulling', 'healing it is no success');
  devices.hook = () => {};
  line.agent.reconcile();
  await line.expect('Device/d', 'True');
  assert.equal(devices.values.get('Device/d'), 'later');
});

test('a change that waits half-way is gone on with, not rolled back', async (t) => {
  const { devices, line } = begin(t);
  line.assign(device('good'));
  await line.expect('Device/d', 'True');
  devices.hook = (step, value) => {
    if (step !== 'apply' || value !== 'later') return;
    devices.values.set('Device/d', 'half of later');
    throw new Waiting('EngineAway', 'not now', 60_000);
  };
  line.assign(device('later'));
  await line.expect('Device/d', 'False', 'EngineAway');
  assert.equal(devices.values.get('Device/d'), 'half of later');
  assert.ok(
    !devices.log.includes('apply good') ||
      devices.log.lastIndexOf('apply good') < devices.log.indexOf('apply later'),
  );
  devices.hook = () => {};
  line.agent.reconcile();
  await line.expect('Device/d', 'True');
  assert.equal(devices.values.get('Device/d'), 'later');
});

test('an undo leads to the last confirmed state, also when that had drifted before the change', async (t) => {
  const { devices, line } = begin(t);
  line.assign(device('good'));
  await line.expect('Device/d', 'True');
  devices.values.set('Device/d', 'drifted, and nobody was told');
  line.assign(device('refused'));
  await line.expect('Device/d', 'False', 'RolledBack');
  assert.equal(devices.values.get('Device/d'), 'good');
  assert.deepEqual(intents(line), []);
});

test('what does not work after a mere heal is not Ready: nothing is undone, nothing quarantined', async (t) => {
  const { devices, line } = begin(t);
  line.assign(device('one'));
  await line.expect('Device/d', 'True');
  devices.gate = () => ({ verdict: 'No', reason: 'Unhealthy', evidence: 'it coughs' });
  devices.tamper('Device/d', 'other');
  await line.expect('Device/d', 'False', 'Unhealthy');
  assert.equal(devices.values.get('Device/d'), 'one');
  assert.ok(!devices.log.some((l) => l.startsWith('undo')));
  assert.match(await line.agent.exposition(), /homeostat_quarantined 0/);
});

test('a gate that does not know yet keeps the intent open, is asked again, and applies nothing twice', async (t) => {
  const { devices, line } = begin(t);
  devices.gate = () => ({ verdict: 'Unknown', reason: 'NotRunning', evidence: 'it is off' });
  line.assign(device('one'));
  await line.expect('Device/d', 'Unknown', 'NotRunning');
  assert.equal(line.condition('Device/d', 'Applied')!.status, 'True');
  assert.deepEqual(intents(line), ['Device/d']);
  devices.gate = () => ({ verdict: 'Yes' });
  devices.wakes.get('Device/d')!();
  await line.expect('Device/d', 'True');
  assert.deepEqual(intents(line), []);
  assert.deepEqual(devices.log, ['prepare one', 'apply one']);
});

test('after a crash between apply and gate the state is activated again and confirmed, though nothing differs', async (t) => {
  const directory = temporaryDirectory(t);
  const devices = new Devices();
  devices.gate = () => ({ verdict: 'Unknown', reason: 'Later', evidence: '' });
  const first = begin(t, devices, directory).line.assign(device('one'));
  await first.expect('Device/d', 'Unknown');
  await first.stop(); // the intent stays open, as after a kill
  devices.log.length = 0;
  devices.gate = () => ({ verdict: 'No', reason: 'NeverWorked', evidence: 'E' });
  const second = begin(t, devices, directory).line.assign(device('one'));
  await second.expect('Device/d', 'False', 'RolledBack');
  assert.deepEqual(devices.log, ['activate one', 'undo to null']);
  assert.equal(devices.values.has('Device/d'), false, 'it was created by us, also after the crash');
});

test('an undo that is cut off is finished by the next run', async (t) => {
  const directory = temporaryDirectory(t);
  const devices = new Devices();
  const first = begin(t, devices, directory).line.assign(device('good'));
  await first.expect('Device/d', 'True');
  devices.hook = (step) => {
    if (step === 'undo') throw new Error('cut off');
  };
  first.assign(device('refused'));
  await first.expect('Device/d', 'False', 'UndoFailing');
  await first.stop();
  devices.hook = () => {};
  const second = begin(t, devices, directory).line.assign(device('refused'));
  await second.expect('Device/d', 'False', 'RolledBack');
  assert.equal(devices.values.get('Device/d'), 'good');
});

test('errors back off and are reported with a message; one resource’s error is not another’s', async (t) => {
  const { devices, line } = begin(t);
  devices.hook = (step, value) => {
    if (step === 'apply' && value === 'full') {
      throw Object.assign(new Error('write'), { code: 'ENOSPC', path: '/etc/x' });
    }
  };
  line.assign(device('full'), device('fine', {}, 'other'));
  await line.expect('Device/other', 'True');
  await line.expect('Device/d', 'False', 'ENOSPC');
  assert.match(
    line.condition('Device/d', 'Ready')!.message,
    /\/etc\/x: no space is left on the device \(ENOSPC\)/,
  );
  devices.hook = () => {};
  await line.expect('Device/d', 'True');
});

test('a kind that throws what is not an error stays in its own key', async (t) => {
  const { devices, line } = begin(t);
  devices.hook = (step, value) => {
    if (step === 'observe' && value === 'panic') throw undefined;
  };
  line.assign(device('panic'), device('fine', {}, 'other'));
  await line.expect('Device/other', 'True');
  await line.expect('Device/d', 'False', 'Error');
});

test('what is new waits for its dependencies; a heal never does', async (t) => {
  const { devices, line } = begin(t);
  devices.gate = (v) =>
    v === 'base' ? { verdict: 'Unknown', reason: 'Off', evidence: '' } : { verdict: 'Yes' };
  line.assign(
    device('top', { dependsOn: [{ ref: 'Device/base', until: 'Ready' }] }, 'top'),
    device('side', { dependsOn: [{ ref: 'Device/base', until: 'Applied' }] }, 'side'),
    device('base', {}, 'base'),
  );
  await line.expect('Device/side', 'True');
  await line.expect('Device/top', 'False', 'Dependency');
  devices.gate = () => ({ verdict: 'Yes' });
  devices.wakes.get('Device/base')!();
  await line.expect('Device/top', 'True');
  devices.gate = (v) => (v === 'base' ? { verdict: 'No', reason: 'Sick', evidence: '' } : { verdict: 'Yes' });
  devices.tamper('Device/base', 'x');
  await line.expect('Device/base', 'False', 'Sick');
  devices.tamper('Device/top', 'x');
  await eventually(() => assert.equal(devices.values.get('Device/top'), 'top'));
});

test('what was Ready is not, from when git asks for another state until a pass has seen that', async (t) => {
  const { devices, line } = begin(t);
  line.assign(device('one'));
  await line.expect('Device/d', 'True');
  const seen: unknown[] = [];
  const look = () => seen.push(line.condition('Device/d', 'Ready')?.reason);
  devices.hook = (step) => void (step === 'apply' && look());
  line.assign(device('two'));
  look();
  await eventually(() =>
    assert.equal(line.status('Device/d').runningDigest, line.status('Device/d').desiredDigest),
  );
  await line.expect('Device/d', 'True', 'Applied');
  devices.tamper('Device/d', 'other');
  await eventually(() => assert.equal(line.status('Device/d').healedTotal, 1));
  line.assign();
  look();
  await line.expectGone('Device/d');
  assert.deepEqual(
    seen,
    ['Reconciling', 'Reconciling', 'Reconciling', 'Reconciling'],
    'as assigned, while applied, while healed, while removed',
  );
});

test('a dependency that was Ready in an older state is waited for', async (t) => {
  const held = Promise.withResolvers<void>();
  t.after(() => held.resolve());
  const { devices, line } = begin(t);
  const both = (value: string) => [
    device(`base ${value}`, {}, 'base'),
    device(`top ${value}`, { dependsOn: [{ ref: 'Device/base', until: 'Ready' }] }, 'top'),
  ];
  line.assign(...both('one'));
  await line.expect('Device/top', 'True');
  devices.hook = (step, value) => (step === 'apply' && value === 'base two' ? held.promise : undefined);
  line.assign(...both('two'));
  await line.expect('Device/top', 'False', 'Dependency');
  assert.equal(devices.values.get('Device/top'), 'top one');
  held.resolve();
  await line.expect('Device/top', 'True');
  assert.equal(devices.values.get('Device/top'), 'top two');
});

test('the same claim drifting again and again is healed, then slowed down, and says so', async (t) => {
  const { devices, line } = begin(t);
  line.assign(device('one'));
  await line.expect('Device/d', 'True');
  for (let i = 0; i < 3; i++) {
    devices.tamper('Device/d', `fight ${i}`);
    await eventually(() => assert.equal(devices.values.get('Device/d'), 'one'));
  }
  devices.tamper('Device/d', 'fight on');
  await line.expect('Device/d', 'False', 'Contended');
  assert.equal(line.condition('Device/d', 'Contended')?.status, 'True');
  assert.match(await line.agent.exposition(), /homeostat_contended 1/);
  await eventually(() => assert.equal(devices.values.get('Device/d'), 'one'));
});

test('many removals at once are parked until git names their digest', async (t) => {
  const { devices, line } = begin(t);
  const all = ['a', 'b', 'c', 'e', 'f'].map((n) => device('x', {}, n));
  line.assign(...all);
  for (const r of all) await line.expect(`Device/${r.name}`, 'True');
  line.assign();
  await line.expect('Device/a', 'False', 'RemovalParked');
  assert.equal(devices.values.size, 5);
  const digest = /\["([0-9a-f]{12})"\]/.exec(line.condition('Device/a', 'Ready')!.message)![1]!;
  line.host = { confirmRemovals: [digest] };
  line.assign();
  await eventually(() => assert.equal(devices.values.size, 0));
});

test('a profile leaves at once (prune: freely), also after a restart, and takes no others with it', async (t) => {
  const directory = temporaryDirectory(t);
  const first = begin(t, new Devices(), directory);
  const profile = ['a', 'b', 'c', 'e', 'f'].map((n) => ({ ...device('x', {}, n), prune: 'freely' as const }));
  const others = ['g', 'h', 'i', 'j'].map((n) => device('x', {}, n));
  first.line.assign(...profile, ...others);
  for (const r of [...profile, ...others]) await first.line.expect(`Device/${r.name}`, 'True');
  await first.line.stop();
  const { devices, line } = begin(t, first.devices, directory);
  line.assign(...others);
  const names = others.map((r) => `Device/${r.name}`);
  await eventually(() => assert.deepEqual([...devices.values.keys()].sort(), names));
  line.assign();
  await line.expect('Device/g', 'False', 'RemovalParked');
  assert.equal(devices.values.size, 4);
});

test('decommission: true empties the host, however many there are', async (t) => {
  const { devices, line } = begin(t);
  const all = ['a', 'b', 'c', 'e', 'f'].map((n) => device('x', {}, n));
  line.assign(...all);
  for (const r of all) await line.expect(`Device/${r.name}`, 'True');
  line.host = { decommission: true };
  line.assign(...all);
  await eventually(() => assert.equal(devices.values.size, 0));
});

test('suspend holds a resource still, for its time; resume heals it', async (t) => {
  const { devices, line } = begin(t);
  line.assign(device('one'));
  await line.expect('Device/d', 'True');
  line.agent.suspend('Device/d', 60_000, 'looking into it');
  await line.expect('Device/d', 'Unknown', 'Suspended');
  devices.tamper('Device/d', 'by hand');
  line.agent.reconcile();
  assert.match(line.condition('Device/d', 'Suspended')!.message, /looking into it/);
  line.agent.resume('Device/d');
  await line.expect('Device/d', 'True');
  assert.equal(devices.values.get('Device/d'), 'one');
  line.agent.suspend(undefined, 30, 'briefly');
  devices.tamper('Device/d', 'by hand');
  await eventually(() => assert.equal(devices.values.get('Device/d'), 'one'));
  assert.throws(
    () => line.agent.suspend('Device/nope', 1, ''),
    /there is no Device\/nope on this host; there is Device\/d/,
  );
});

test('an unknown kind or field stalls that resource only', async (t) => {
  const { line } = begin(t);
  line.assign(
    resource('Teleporter', 't', {}),
    resource('Device', 'odd', { value: 'x', colour: 'red' }),
    device('fine'),
  );
  await line.expect('Device/d', 'True');
  await line.expect('Teleporter/t', 'False', 'Unsupported');
  await line.expect('Device/odd', 'False', 'Unsupported');
});

test('the three revisions are kept apart', async (t) => {
  const { devices, line } = begin(t);
  line.assign(device('good'));
  await eventually(() =>
    assert.deepEqual(line.agent.status().sequence, { desired: 1, attempted: 1, running: 1 }),
  );
  devices.gate = (v) => (v === 'bad' ? { verdict: 'No', reason: 'R', evidence: 'E' } : { verdict: 'Yes' });
  line.assign(device('bad'));
  await line.expect('Device/d', 'False', 'RolledBack');
  assert.deepEqual(line.agent.status().sequence, { desired: 2, attempted: 2, running: 1 });
  assert.deepEqual(line.agent.status().commit, { desired: 'commit-2', running: 'commit-1' });
});

test('what leaves the manifest while it is being prepared is never written', async (t) => {
  const { devices, line } = begin(t);
  const { promise, resolve } = Promise.withResolvers<void>();
  devices.hook = (step) => {
    if (step !== 'prepare') return;
    line.assign();
    resolve();
  };
  line.assign(device('one'));
  await promise;
  await line.agent.idle();
  assert.equal(devices.values.get('Device/d'), undefined);
  assert.deepEqual(journalIn(path.join(line.directory, 'state')).keys(), []);
});

test('a revision does not run while a resource of it is being worked on, whatever it was before', async (t) => {
  const held = Promise.withResolvers<void>();
  t.after(() => held.resolve());
  const { devices, line } = begin(t);
  const both = (value: string) => [device(value, {}, 'b'), device('same', {}, 'a')];
  line.assign(...both('one'));
  await eventually(() => assert.equal(line.agent.status().sequence.running, 1));
  // By then the other has long had its pass: this one waited for the disk.
  let running = 0;
  devices.hook = (step, value) => {
    if (step === 'apply' && value === 'two') running = line.agent.status().sequence.running;
  };
  line.assign(...both('two'));
  await eventually(() => assert.equal(line.agent.status().sequence.running, 2));
  assert.equal(running, 1);
});

test('an agent in a crash loop touches nothing, removes nothing, and reports what differs', async (t) => {
  const devices = new Devices();
  let crashLooping = false;
  const line = new Timeline(t, { kinds: devices.kinds, applyNothing: () => crashLooping }).start();
  line.assign(device('one'), device('x', {}, 'other'));
  await line.expect('Device/other', 'True');
  crashLooping = true;
  devices.tamper('Device/d', 'by hand');
  await line.expect('Device/d', 'False', 'Drifted');
  line.assign(device('two'));
  await line.expect('Device/other', 'False', 'WouldRemove');
  assert.match(line.condition('Device/d', 'Ready')!.message, /only observes/);
  assert.equal(devices.values.get('Device/d'), 'by hand');
  crashLooping = false;
  line.agent.reconcile();
  await line.expect('Device/d', 'True');
  assert.equal(devices.values.get('Device/d'), 'two');
});

test('what something on the host stands in the way of is tried again at an event, no faster than its backoff', async (t) => {
  const { devices, line } = begin(t);
  let inTheWay = true;
  devices.hook = (step) => {
    if (step === 'prepare' && inTheWay) throw new Stalled('NotOurs', 'there is another one of that name');
  };
  const tries = () => devices.log.filter((entry) => entry.startsWith('prepare')).length;
  line.assign(device('one'));
  await line.expect('Device/d', 'False', 'NotOurs');
  const before = tries();
  for (let i = 0; i < 50; i++) {
    devices.wakes.get('Device/d')!();
    await line.agent.idle();
  }
  assert.ok(tries() - before <= 2, `${tries() - before} tries for 50 events within a moment`);
  inTheWay = false;
  devices.wakes.get('Device/d')!();
  // The event came too early to be acted upon, and is not lost.
  await line.expect('Device/d', 'True');
});

test('a removal that was confirmed once is not confirmed for the next accident', async (t) => {
  const { devices, line } = begin(t);
  const all = ['a', 'b', 'c', 'e', 'f'].map((n) => device('x', {}, n));
  const ready = async (): Promise<void> => {
    line.assign(...all);
    for (const r of all) await line.expect(`Device/${r.name}`, 'True');
  };
  await ready();
  line.assign();
  await line.expect('Device/a', 'False', 'RemovalParked');
  const digest = /\["([0-9a-f]{12})"\]/.exec(line.condition('Device/a', 'Ready')!.message)![1]!;
  line.host = { confirmRemovals: [digest] };
  line.assign();
  await eventually(() => assert.equal(devices.values.size, 0));
  await line.agent.idle();
  await ready();
  line.assign();
  await line.expect('Device/a', 'False', 'RemovalParked');
  assert.equal(devices.values.size, 5);
});

test('what works and then does not is not Ready, by no look, retry or restart, until it works', async (t) => {
  const directory = temporaryDirectory(t);
  const devices = new Devices();
  const first = begin(t, devices, directory).line.assign(device('one'));
  await first.expect('Device/d', 'True');
  const running = first.agent.status().sequence.running;
  devices.gate = () => ({ verdict: 'No', reason: 'Unhealthy', evidence: '2 of 3 answer' });
  devices.wakes.get('Device/d')!();
  await first.expect('Device/d', 'False', 'Unhealthy');
  const looked = async (line: Timeline): Promise<void> => {
    for (let i = 0; i < 5; i++) {
      line.agent.reconcile();
      devices.tamper('Device/d', `other ${i}`);
      await line.agent.idle();
      assert.equal(line.condition('Device/d', 'Ready')!.status, 'False');
    }
  };
  await looked(first);
  assert.equal(first.agent.status().sequence.running, running);
  await first.stop();
  const second = begin(t, devices, directory).line.assign(device('one'));
  await second.expect('Device/d', 'False', 'Unhealthy');
  await looked(second);
  assert.equal(second.agent.status().sequence.running, 0);
  devices.gate = () => ({ verdict: 'Yes' });
  devices.wakes.get('Device/d')!();
  await second.expect('Device/d', 'True');
  assert.equal(second.agent.status().sequence.running, 1);
});
