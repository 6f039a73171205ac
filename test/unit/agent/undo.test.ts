// A rollback that fails is a state with ways out, and no word of it is green.
import assert from 'node:assert/strict';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { Stalled } from '../../../api/errors.ts';
import { Devices } from '../../support/device.ts';
import { eventually } from '../../support/eventually.ts';
import { journalIn } from '../../support/journal.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const device = (value: string, more: object = {}) => resource('Device', 'd', { value, ...more });

/** What an undo may do instead of undoing. */
const FAILURES: Record<string, () => void | Promise<void>> = {
  'throws an Error': () => {
    throw new Error('no way');
  },
  'throws Stalled': () => {
    throw new Stalled('Unsolvable', 'apt finds no way');
  },
  hangs: () => new Promise(() => {}),
};

async function failing(t: TestContext, fail: () => void | Promise<void>, directory?: string) {
  const devices = new Devices();
  let broken = true;
  devices.undoing = () => (broken ? fail() : undefined);
  devices.gate = (v) =>
    v === 'bad' ? { verdict: 'No', reason: 'NoFlow', evidence: 'nothing arrives' } : { verdict: 'Yes' };
  const line = new Timeline(t, {
    kinds: devices.kinds,
    passTimeoutMs: 300,
    ...(directory === undefined ? {} : { directory }),
  }).start();
  line.assign(device('good'));
  await line.expect('Device/d', 'True');
  line.assign(device('bad'));
  await line.expect('Device/d', 'False', 'UndoFailing');
  const applied = () => devices.log.filter((entry) => entry === 'apply bad').length;
  assert.equal(applied(), 1);
  return { devices, line, applied, mend: () => (broken = false) };
}

for (const [how, fail] of Object.entries(FAILURES)) {
  test(`an undo that ${how} is reported with its reason, tried again, and never green`, async (t) => {
    const { line, applied, mend, devices } = await failing(t, fail);
    assert.match(line.condition('Device/d', 'Ready')!.message, /NoFlow: nothing arrives/);
    const undos = () => devices.log.filter((entry) => entry.startsWith('undo')).length;
    const before = undos();
    await eventually(() => assert.ok(undos() > before));
    assert.equal(line.condition('Device/d', 'Ready')!.status, 'False');
    mend();
    await line.expect('Device/d', 'False', 'RolledBack');
    assert.equal(devices.values.get('Device/d'), 'good');
    assert.equal(applied(), 1, 'the refused state is in quarantine');
  });

  test(`an undo that ${how} does not stop a later commit`, async (t) => {
    const { line, devices } = await failing(t, fail);
    line.assign(device('better'));
    await line.expect('Device/d', 'True');
    assert.equal(devices.values.get('Device/d'), 'better');
  });

  test(`an undo that ${how} does not stop a revert`, async (t) => {
    const { line, devices } = await failing(t, fail);
    line.assign(device('good'));
    await line.expect('Device/d', 'True');
    assert.equal(devices.values.get('Device/d'), 'good');
  });

  test(`after an undo that ${how} and a restart the refused state is not tried again`, async (t) => {
    const directory = temporaryDirectory(t);
    const { line, devices } = await failing(t, fail, directory);
    await line.stop();
    assert.equal(journalIn(path.join(directory, 'state')).entry('Device/d')?.quarantined?.reason, 'NoFlow');
    devices.undoing = () => undefined;
    const second = new Timeline(t, { kinds: devices.kinds, directory }).start().assign(device('bad'));
    await second.expect('Device/d', 'False', 'RolledBack');
    assert.equal(devices.values.get('Device/d'), 'good');
    assert.equal(devices.log.filter((entry) => entry === 'apply bad').length, 1);
  });
}

test('a superseded undo keeps the original snapshot: what fails next goes back to before the first', async (t) => {
  const { line, devices, mend } = await failing(t, FAILURES['throws an Error']!);
  devices.gate = (v) =>
    v.startsWith('bad') ? { verdict: 'No', reason: 'R', evidence: 'E' } : { verdict: 'Yes' };
  mend();
  line.assign(device('bad too'));
  await line.expect('Device/d', 'False', 'RolledBack');
  await eventually(() => assert.equal(devices.values.get('Device/d'), 'good'));
});

test('a refused state is tried again when what it depends on or restarts on was mended, and not before', async (t) => {
  for (const how of ['restartOn', 'dependsOn'] as const) {
    const devices = new Devices();
    const line = new Timeline(t, { kinds: devices.kinds }).start();
    const config = (value: string) => resource('Device', 'config', { value });
    const service = resource(
      'Device',
      'd',
      { value: 'service', ...(how === 'restartOn' ? { restartOn: ['Device/config'] } : {}) },
      how === 'dependsOn' ? { dependsOn: [{ ref: 'Device/config', until: 'Applied' }] } : {},
    );
    // It runs only with a config that it can read.
    devices.gate = (v) =>
      v === 'service' && devices.values.get('Device/config') !== 'good'
        ? { verdict: 'No', reason: 'DiesAtOnce', evidence: 'scrape_timeout above scrape_interval' }
        : { verdict: 'Yes' };
    line.assign(config('bad'), service);
    await line.expect('Device/config', 'True');
    await line.expect('Device/d', 'False', 'RolledBack');
    await line.agent.idle();
    // The two may have been begun at once, and then it was tried again when the config was there.
    const applied = () => devices.log.filter((entry) => entry === 'apply service').length;
    const before = applied();
    line.agent.reconcile('Device/d');
    await line.agent.idle();
    assert.equal(applied(), before, how);
    line.assign(config('good'), service);
    await line.expect('Device/d', 'True');
  }
});

test('what restarts on a rolled-back state restarts on the one that is back', async (t) => {
  const devices = new Devices();
  const line = new Timeline(t, { kinds: devices.kinds }).start();
  const env = (value: string) => resource('Device', 'env', { value });
  const user = resource('Device', 'user', { value: 'x', restartOn: ['Device/env'] });
  line.assign(env('good'), user);
  await line.expect('Device/user', 'True');
  const written = () => journalIn(path.join(line.directory, 'state')).entry('Device/env')!.written!.digest;
  const first = written();
  line.assign(env('refused'), user);
  await line.expect('Device/env', 'False', 'RolledBack');
  assert.equal(written(), first);
});

test('observe mode and drift: warn undo nothing, and report what is', async (t) => {
  const { line, devices } = await failing(t, FAILURES['throws an Error']!);
  const undos = () => devices.log.filter((entry) => entry.startsWith('undo')).length;
  line.mode = 'observe';
  line.assign(device('bad'));
  await line.expect('Device/d', 'False', 'NoFlow');
  const before = undos();
  line.agent.reconcile();
  await line.agent.idle();
  assert.equal(undos(), before);
});
