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
  fs.mkdirSync(path.join(directory, 'state'));
  for (const name of ['bundle.json.new', 'journal.log.new']) {
    fs.writeFileSync(path.join(directory, 'state', name), '0123abcd [{"key":"File/f","va');
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
