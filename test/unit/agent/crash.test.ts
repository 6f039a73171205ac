// What a kill leaves behind, put on the disk by hand: npm run fault finds such places, here each has its test.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { Devices } from '../../support/device.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const device = (value: string) => resource('Device', 'd', { value });
const file = (name: string, content = 'one\n') => resource('File', name, { path: '/etc/f', content });

function devicesOn(t: TestContext, directory: string, devices: Devices): Timeline {
  return new Timeline(t, { kinds: devices.kinds, directory }).start();
}

function written(directory: string, name: string): string {
  return fs.readFileSync(path.join(directory, 'state', name), 'utf8');
}

function put(directory: string, name: string, text: string): void {
  fs.writeFileSync(path.join(directory, 'state', name), text);
}

test('an intent that was confirmed and not deleted any more lends nobody its way back', async (t) => {
  const directory = temporaryDirectory(t);
  const devices = new Devices();
  const first = devicesOn(t, directory, devices).assign(device('one'));
  await first.expect('Device/d', 'True');
  let intent = '';
  devices.hook = (step) => {
    if (step === 'apply') intent = written(directory, 'journal/Device.d.json');
  };
  first.assign(device('two'));
  await eventually(() => assert.equal(first.agent.status().sequence.running, 2));
  await first.stop();
  put(directory, 'journal/Device.d.json', intent);

  const second = devicesOn(t, directory, devices).assign(device('refused'));
  await second.expect('Device/d', 'False', 'RolledBack');
  assert.equal(devices.values.get('Device/d'), 'two', 'back to what was confirmed last');
});

test('an intent without a record is what a removal left, and stands in nobody’s way', async (t) => {
  const directory = temporaryDirectory(t);
  const devices = new Devices();
  devices.gate = () => ({ verdict: 'Unknown', reason: 'Later', evidence: '' });
  const first = devicesOn(t, directory, devices).assign(device('one'));
  await first.expect('Device/d', 'Unknown');
  const intent = written(directory, 'journal/Device.d.json');
  first.assign();
  await first.expectGone('Device/d');
  await first.stop();
  put(directory, 'journal/Device.d.json', intent);

  devices.gate = () => ({ verdict: 'Yes' });
  const second = devicesOn(t, directory, devices).assign(device('one'));
  await second.expect('Device/d', 'True');
});

test('a claim whose hand-over was cut off is not pruned by the old key', async (t) => {
  const directory = temporaryDirectory(t);
  const first = new Timeline(t, { directory }).start().assign(file('old'));
  await first.expect('File/old', 'True');
  const record = written(directory, 'inventory/File.old.json');
  first.assign(file('new'));
  await first.expect('File/new', 'True');
  await first.stop();
  put(directory, 'inventory/File.old.json', record);

  const { ino } = fs.statSync(first.path('/etc/f'));
  const second = new Timeline(t, { directory }).start().assign(file('new'));
  await second.expect('File/new', 'True');
  await second.expectGone('File/old');
  assert.equal(fs.statSync(second.path('/etc/f')).ino, ino, 'the file was never removed');
  assert.ok(!fs.existsSync(path.join(directory, 'state/inventory/File.old.json')));
});

test('what a killed agent left half-written beside a file is gone after the next pass, or with the file', async (t) => {
  for (const removed of [false, true]) {
    const directory = temporaryDirectory(t);
    const first = new Timeline(t, { directory }).start().assign(file('f'));
    await first.expect('File/f', 'True');
    await first.stop();
    for (const name of ['.f.homeostat~', '.f.homeostat-validate', '..f.homeostat-validate.homeostat~']) {
      fs.writeFileSync(first.path(`/etc/${name}`), 'half');
    }
    const second = new Timeline(t, { directory }).start().assign(...(removed ? [] : [file('f')]));
    if (removed) await second.expectGone('File/f');
    else await second.expect('File/f', 'True');
    assert.deepEqual(fs.readdirSync(second.path('/etc')), removed ? [] : ['f']);
  }
});

test('half-written state files are gone after the next start', async (t) => {
  const directory = temporaryDirectory(t);
  const names = ['bundle.json.new', 'journal/File.f.json.new', 'inventory/File.f.json.new'];
  for (const name of names) {
    fs.mkdirSync(path.dirname(path.join(directory, 'state', name)), { recursive: true });
    put(directory, name, '{"key":"File/f","va');
  }
  const line = new Timeline(t, { directory }).start().assign(file('f'));
  await line.expect('File/f', 'True');
  const left = fs.readdirSync(path.join(directory, 'state'), { recursive: true, encoding: 'utf8' });
  assert.deepEqual(
    left.filter((name) => name.endsWith('.new') || name.endsWith('.broken')),
    [],
  );
});

test('what git asks for again while it is being removed is made anew', async (t) => {
  const devices = new Devices();
  const line = devicesOn(t, temporaryDirectory(t), devices).assign(device('one'));
  await line.expect('Device/d', 'True');
  devices.hook = (step) => {
    if (step === 'undo') line.assign(device('two'));
  };
  line.assign();
  await eventually(() => assert.equal(line.agent.status().sequence.running, 3));
  await line.expect('Device/d', 'True');
  assert.equal(devices.values.get('Device/d'), 'two');
});

test('an empty manifest with nothing to remove counts as running', async (t) => {
  const line = new Timeline(t).start().assign();
  await eventually(() =>
    assert.deepEqual(line.agent.status().sequence, { desired: 1, attempted: 1, running: 1 }),
  );
});
