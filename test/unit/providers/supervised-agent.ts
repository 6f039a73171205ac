// For supervised.test.ts: an agent that starts a unit and waits to be killed, at a moment of the test's choice.
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { systemClock } from '../../../agent/providers/clock.ts';
import { createSupervised } from '../../../agent/providers/supervised.ts';

const [stateDir, moment] = process.argv.slice(2) as [string, string];
const quiet = { info: () => {}, warn: () => {} };
const units = createSupervised({ stateDir, clock: systemClock, log: quiet });
units.define('web.service', {
  command: ['/bin/sh', '-c', 'exec sleep 1000'],
  env: { MARKER: randomUUID() },
  enabled: true,
});
await units.run('start', 'web.service');
if (moment === 'starting') {
  // As it is between the start of the process and the record of its id.
  const file = path.join(stateDir, 'supervised', 'web.service.pid.json');
  const record = JSON.parse(fs.readFileSync(file, 'utf8'));
  fs.writeFileSync(file, JSON.stringify({ ...record, pid: 0, startTime: '' }));
}
process.stdout.write('started\n');
setInterval(() => {}, 1000);
