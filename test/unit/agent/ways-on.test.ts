// From every failure there is a way on, and what is reported meanwhile is not green.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import { Stalled } from '../../../api/errors.ts';
import { findCondition } from '../../../api/status.ts';
import { FakeClock } from '../../support/clock.ts';
import { Devices } from '../../support/device.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const device = (value: string, more: object = {}, policy: object = {}) =>
  resource('Device', 'd', { value, ...more }, policy);
const KEY = 'Device/d';

test('what waits for a resource goes on when a commit that could not be begun is reverted', async (t) => {
  const devices = new Devices();
  const line = new Timeline(t, { kinds: devices.kinds }).start();
  line.assign(device('good'));
  await line.expect(KEY, 'True');
  line.assign(device('invalid'));
  await line.expect(KEY, 'False', 'Invalid');
  const other = resource('Device', 'other', { value: 'new' }, { dependsOn: [{ ref: KEY, until: 'Ready' }] });
  line.assign(device('invalid'), other);
  await line.expect('Device/other', 'False', 'Dependency');
  line.assign(device('good'), other);
  await line.expect(KEY, 'True');
  await line.expect('Device/other', 'True');
});

/** As a damaged disk, or an agent of another release, leaves it. */
function rewriteJournal(directory: string, change: (record: string) => string): void {
  const file = path.join(directory, 'state/journal.log');
  const lines = fs.readFileSync(file, 'utf8').split('\n').slice(0, -1);
  const changed = lines.map((line) => change(line.slice(9)));
  const withSums = changed.map((json) => `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`);
  fs.writeFileSync(file, withSums.join(''));
}

test('a snapshot of a newer version: nothing is written over it, and git has a way on', async (t) => {
  const directory = temporaryDirectory(t);
  const devices = new Devices();
  const pending = { verdict: 'Unknown', reason: 'NotYet', evidence: 'nothing seen' } as const;
  devices.gate = () => pending;
  const first = new Timeline(t, { kinds: devices.kinds, directory }).start();
  first.assign(device('one'));
  await first.expect(KEY, 'Unknown', 'NotYet');
  await first.stop();
  rewriteJournal(directory, (json) => json.replaceAll('"before":{"version":1', '"before":{"version":9'));
  const next = new Timeline(t, { kinds: devices.kinds, directory }).start();
  devices.gate = () => ({ verdict: 'Yes' });
  devices.log.length = 0;
  next.assign(device('one'));
  await next.expect(KEY, 'False', 'SnapshotUnreadable');
  assert.match(next.condition(KEY, 'Ready')!.message, /newer homeostat.*prune: orphan/);
  next.assign(device('two'));
  await next.expect(KEY, 'False', 'SnapshotUnreadable');
  assert.equal(devices.values.get(KEY), 'one');
  assert.deepEqual(
    devices.log.filter((entry) => !entry.startsWith('prepare')),
    [],
  );

  next.assign(device('two', {}, { prune: 'orphan' }));
  await next.expect(KEY, 'False', 'SnapshotUnreadable');
  next.assign();
  await next.expectGone(KEY);
  assert.equal(devices.values.get(KEY), 'one');
  next.assign(device('two'));
  await next.expect(KEY, 'True');
  assert.equal(devices.values.get(KEY), 'two');
});

test('a snapshot that can’t be read stops a rollback, which says so and promises nothing else', async (t) => {
  const directory = temporaryDirectory(t);
  const devices = new Devices();
  let broken = true;
  devices.undoing = () => {
    if (broken) throw new Error('no way');
  };
  devices.gate = (v) => (v === 'bad' ? { verdict: 'No', reason: 'R', evidence: 'E' } : { verdict: 'Yes' });
  const first = new Timeline(t, { kinds: devices.kinds, directory }).start();
  first.assign(device('good'));
  await first.expect(KEY, 'True');
  first.assign(device('bad'));
  await first.expect(KEY, 'False', 'UndoFailing');
  await first.stop();
  broken = false;
  rewriteJournal(directory, (json) => json.replaceAll('"before":{"version":1', '"before":{"version":9'));
  const next = new Timeline(t, { kinds: devices.kinds, directory }).start();
  next.assign(device('bad'));
  await next.expect(KEY, 'False', 'UndoFailing');
  const { message } = next.condition(KEY, 'Ready')!;
  assert.match(message, /can't be read/);
  // A revert needs no snapshot.
  next.assign(device('good'));
  await next.expect(KEY, 'True');
  assert.equal(devices.values.get(KEY), 'good');
});

test('a refused state that is still in force is not green because the host only observes now', async (t) => {
  const devices = new Devices();
  let isWell = false;
  devices.undoing = () => {
    throw new Error('no way');
  };
  devices.gate = (v) =>
    v === 'bad' && !isWell
      ? { verdict: 'No', reason: 'NoFlow', evidence: 'nothing arrives' }
      : { verdict: 'Yes' };
  const line = new Timeline(t, { kinds: devices.kinds }).start();
  line.assign(device('good'));
  await line.expect(KEY, 'True');
  line.assign(device('bad'));
  await line.expect(KEY, 'False', 'UndoFailing');
  isWell = true;
  line.mode = 'observe';
  line.assign(device('bad'));
  await eventually(() => assert.notEqual(line.condition(KEY, 'Ready')!.reason, 'UndoFailing'));
  await line.agent.idle();
  assert.notEqual(line.condition(KEY, 'Ready')!.status, 'True', line.condition(KEY, 'Ready')!.message);
});

test('what git asks for now is not green because what it asked for before was', async (t) => {
  const devices = new Devices();
  const line = new Timeline(t, { kinds: devices.kinds }).start();
  line.assign(device('one'));
  await line.expect(KEY, 'True');
  line.assign(device('two'));
  const { conditions } = line.status(KEY);
  assert.deepEqual(
    conditions.map(({ type, status, reason }) => [type, status, reason]),
    [
      ['Applied', 'Unknown', 'Reconciling'],
      ['Ready', 'Unknown', 'Reconciling'],
    ],
  );
  await line.expect(KEY, 'True');
  // The same resource in another revision is as well as it was.
  line.assign(device('two', {}, { source: 'test.yaml:7' }));
  assert.equal(line.condition(KEY, 'Ready')!.status, 'True');
  await line.agent.idle();
  line.assign();
  assert.equal(line.condition(KEY, 'Ready')!.reason, 'Reconciling');
  await line.expectGone(KEY);
});

test('a journal that was damaged is reported until somebody has seen to it', async (t) => {
  const directory = temporaryDirectory(t);
  const devices = new Devices();
  const begin = () => new Timeline(t, { kinds: devices.kinds, directory }).start().assign(device('one'));
  const first = begin();
  await first.expect(KEY, 'True');
  await first.stop();
  const whole = (line: Timeline) => findCondition(line.agent.status().conditions, 'JournalWhole')?.status;
  assert.equal(whole(first), undefined);
  // A record of a newer release.
  rewriteJournal(directory, (json) => json.replace('"key":', '"lease":1,"key":'));
  for (let start = 0; start < 2; start += 1) {
    const next = begin();
    await next.expect(KEY, 'True');
    assert.equal(whole(next), 'False');
    await next.stop();
  }
  const last = begin();
  fs.renameSync(path.join(directory, 'state/journal.log.broken'), path.join(directory, 'seen'));
  assert.equal(whole(last), undefined);
});

test('what is new waits for what its dependency is to be by the same manifest', async (t) => {
  const devices = new Devices();
  const line = new Timeline(t, { kinds: devices.kinds }).start();
  const after = (value: string) =>
    resource('Device', 'after', { value }, { dependsOn: [{ ref: KEY, until: 'Ready' }] });
  line.assign(device('one'), after('one'));
  await line.expect('Device/after', 'True');
  devices.gate = (v) =>
    v === 'two' ? { verdict: 'Unknown', reason: 'NotYet', evidence: 'E' } : { verdict: 'Yes' };
  line.assign(device('two'), after('two'));
  await line.expect(KEY, 'Unknown', 'NotYet');
  await line.agent.idle();
  assert.equal(devices.values.get('Device/after'), 'one');
  assert.equal(line.condition('Device/after', 'Ready')!.reason, 'Dependency');
  devices.gate = () => ({ verdict: 'Yes' });
  await line.expect('Device/after', 'True');
  // A dependency that stays as it is keeps nobody waiting.
  line.assign(device('two'), after('three'));
  await line.expect('Device/after', 'True');
  assert.equal(devices.values.get('Device/after'), 'three');
});

test('a refused state whose program can’t say its version stays refused, and the last one is kept up', async (t) => {
  const devices = new Devices();
  devices.gate = (v) => (v === 'bad' ? { verdict: 'No', reason: 'R', evidence: 'E' } : { verdict: 'Yes' });
  const line = new Timeline(t, { kinds: devices.kinds }).start();
  line.assign(device('good'));
  await line.expect(KEY, 'True');
  line.assign(device('bad'));
  await line.expect(KEY, 'False', 'RolledBack');
  await line.agent.idle();
  Object.defineProperty(devices, 'version', {
    get() {
      throw new Error('the engine does not answer');
    },
  });
  devices.tamper(KEY, 'edited');
  await eventually(() => assert.equal(devices.values.get(KEY), 'good'));
  await line.agent.idle();
  assert.equal(line.condition(KEY, 'Ready')!.reason, 'RolledBack');
  assert.equal(devices.log.filter((entry) => entry === 'apply bad').length, 1);
});

test('a resource that is suspended in the middle of its trial is not confirmed by what nobody saw', async (t) => {
  const devices = new Devices();
  devices.gate = (v) =>
    v === 'two' ? { verdict: 'Unknown', reason: 'NotYet', evidence: 'E' } : { verdict: 'Yes' };
  const line = new Timeline(t, { kinds: devices.kinds }).start();
  line.assign(device('one'));
  await line.expect(KEY, 'True');
  line.assign(device('two'));
  await line.expect(KEY, 'Unknown', 'NotYet');
  line.agent.suspend(KEY, 60_000, 'a test');
  await line.expect(KEY, 'Unknown', 'Suspended');
  // Git goes back meanwhile.
  line.assign(device('one'));
  await line.agent.idle();
  assert.equal(line.condition(KEY, 'Ready')!.reason, 'Suspended');
  assert.equal(devices.values.get(KEY), 'two');
  line.agent.resume(KEY);
  await line.expect(KEY, 'True');
  assert.equal(devices.values.get(KEY), 'one');
});

for (const how of ['the host is decommissioned', 'its document leaves'] as const) {
  test(`${how} in the middle of a trial, and while the undo fails: it goes when it can`, async (t) => {
    const devices = new Devices();
    let broken = true;
    devices.undoing = () => {
      if (broken) throw new Error('no way');
    };
    devices.gate = (v) => (v === 'bad' ? { verdict: 'No', reason: 'R', evidence: 'E' } : { verdict: 'Yes' });
    const line = new Timeline(t, { kinds: devices.kinds }).start();
    line.assign(device('one'));
    await line.expect(KEY, 'True');
    line.assign(device('bad'));
    await line.expect(KEY, 'False', 'UndoFailing');
    if (how === 'its document leaves') line.assign();
    else {
      line.host = { decommission: true };
      line.assign(device('bad'));
    }
    await line.expect(KEY, 'False', 'Error');
    broken = false;
    await line.expectGone(KEY);
    assert.equal(devices.values.get(KEY), undefined);
  });
}

test('what is refused on the host each time it is put into force is tried more and more seldom', async (t) => {
  const devices = new Devices();
  const clock = new FakeClock();
  const line = new Timeline(t, { kinds: devices.kinds, ports: { clock } }).start();
  devices.hook = (step) => {
    if (step !== 'apply') return;
    // As an engine does: what was made and removed again is an event.
    devices.wakes.get(KEY)?.();
    throw new Stalled('NotAllowed', 'it leads to what is not granted');
  };
  line.assign(device('one'));
  await line.expect(KEY, 'False', 'NotAllowed');
  const applies = (): number => devices.log.filter((entry) => entry === 'apply one').length;
  for (let i = 0; i < 20; i++) {
    devices.wakes.get(KEY)?.();
    await line.agent.idle();
  }
  assert.equal(applies(), 1);
  for (let second = 0; second < 120; second++) {
    await clock.advance(1_000);
    await line.agent.idle();
  }
  assert.ok(applies() >= 2 && applies() <= 8, `${applies()} times in two minutes`);
  assert.equal(line.status(KEY).conditions.find(({ type }) => type === 'Ready')!.reason, 'NotAllowed');
});
