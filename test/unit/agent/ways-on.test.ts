// From every failure there is a way on, and what is reported meanwhile is not green.
import { test } from 'node:test';
import { Devices } from '../../support/device.ts';
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
