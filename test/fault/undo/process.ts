// An agent that dies by SIGKILL in the middle of its undo, for the undo suite. Arguments: state directory, and the file
// that holds the devices' values.
import { Devices } from '../../support/device.ts';
import { detachedContext } from '../../support/fixture-host.ts';
import { resource, Timeline } from '../../support/timeline.ts';
import { keptIn, refusesBad } from './devices.ts';

const [directory, file] = process.argv.slice(2) as [string, string];
const devices = new Devices(keptIn(file));
refusesBad(devices);
devices.undoing = () => {
  process.kill(process.pid, 'SIGKILL');
  return new Promise(() => {});
};
const line = new Timeline(detachedContext().t, { kinds: devices.kinds, directory }).start();
line.assign(resource('Device', 'config', { value: 'off' }), device('good'));
await line.expect('Device/d', 'True');
line.assign(resource('Device', 'config', { value: 'off' }), device('bad'));

function device(value: string) {
  return resource('Device', 'd', { value, restartOn: ['Device/config'] });
}
