// What a change leaves in the journal: no more records than promises, and in any case that it was written.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { Devices } from '../../support/device.ts';
import { journalIn } from '../../support/journal.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const device = (value: string) => resource('Device', 'd', { value });

function begin(t: TestContext) {
  const devices = new Devices();
  const line = new Timeline(t, { kinds: devices.kinds }).start();
  const state = path.join(line.directory, 'state');
  return {
    devices,
    line,
    records: () => fs.readFileSync(path.join(state, 'journal.log'), 'utf8').split('\n').slice(0, -1),
    written: () => journalIn(state).entry('Device/d')?.written?.digest,
    wanted: () => journalIn(state).intent('Device/d')?.digest,
  };
}

test('a change that works at once is two records: the intent, and its confirmation', async (t) => {
  const { line, records } = begin(t);
  line.assign(device('one'));
  await line.expect('Device/d', 'True');
  const before = records().length;
  line.assign(device('two'));
  await line.expect('Device/d', 'True');
  assert.equal(records().length - before, 2);
});

for (const [how, gate] of Object.entries({
  'is not confirmed yet': () => ({ verdict: 'Unknown', reason: 'Starting', evidence: 'not yet' }) as const,
  'can’t be assessed': () => {
    throw new Error('no answer that makes sense');
  },
})) {
  test(`what a change wrote is on record also while it ${how}`, async (t) => {
    const { devices, line, written, wanted } = begin(t);
    line.assign(device('one'));
    await line.expect('Device/d', 'True');
    const first = written();
    devices.gate = (value) => (value === 'two' ? gate() : { verdict: 'Yes' });
    line.assign(device('two'));
    if (how === 'is not confirmed yet') await line.expect('Device/d', 'Unknown', 'Starting');
    else await line.expect('Device/d', 'False', 'Error');
    assert.notEqual(wanted(), undefined);
    assert.notEqual(written(), first);
    assert.equal(written(), wanted());
  });
}
