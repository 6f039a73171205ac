// The journal on its disk: what is cut off, damaged, removed or refused, and who waits for a flush.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Intent, type InventoryEntry, Journal } from '../../../agent/journal/journal.ts';
import { createSeal } from '../../../agent/secrets/seal.ts';
import { Devices } from '../../support/device.ts';
import { journalIn } from '../../support/journal.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const entry = (value: string): InventoryEntry => ({
  owns: [`file:/${value}`],
  origin: 'created',
  original: { kind: 'Device', snapshot: { existed: false, before: { version: 1, data: value } } },
  policy: 'delete',
});
const intent: Intent = {
  digest: 'd',
  snapshot: { existed: false, before: { version: 1, data: null } },
  phase: 'applying',
  version: '',
  basis: '',
};

function begin(t: TestContext) {
  const directory = temporaryDirectory(t);
  const journal = new Journal(directory, createSeal(directory));
  journal.load();
  return { directory, journal, file: path.join(directory, 'journal.log') };
}

test('what was written is there for the next agent, the latest of each key', (t) => {
  const { directory, journal } = begin(t);
  journal.write({ key: 'File/a', entry: entry('a'), intent });
  journal.write({ key: 'File/b', entry: entry('b') });
  journal.write({ key: 'File/a', entry: entry('a2'), intent: null });
  journal.write({ key: 'File/c', entry: entry('c'), intent });
  journal.write({ key: 'File/c', entry: null });
  const next = journalIn(directory);
  assert.deepEqual(next.keys(), ['File/a', 'File/b']);
  assert.deepEqual(next.entry('File/a'), entry('a2'));
  assert.equal(next.intent('File/a'), undefined);
  assert.equal(next.intent('File/c'), undefined, 'no intent without an entry');
});

test('a record that was cut off anywhere is as if it had never been begun', (t) => {
  const { directory, journal, file } = begin(t);
  journal.write({ key: 'File/a', entry: entry('a') });
  const whole = fs.statSync(file).size;
  // Both keys or none: a claim that is handed over has one owner at any time.
  journal.write({ key: 'File/a', entry: null }, { key: 'File/ä', entry: entry('a') });
  const bytes = fs.readFileSync(file);
  for (let length = whole; length < bytes.length; length++) {
    fs.writeFileSync(file, bytes.subarray(0, length));
    assert.deepEqual(journalIn(directory).keys(), ['File/a'], `cut off after ${length} bytes`);
  }
  fs.writeFileSync(file, bytes);
  assert.deepEqual(journalIn(directory).keys(), ['File/ä']);
});

test('after a cut-off record the next one is not lost', (t) => {
  const { directory, journal, file } = begin(t);
  journal.write({ key: 'File/a', entry: entry('a') });
  fs.appendFileSync(file, '0123abcd [{"key":"File/b","hol');
  const next = journalIn(directory);
  next.write({ key: 'File/c', entry: entry('c') });
  assert.deepEqual(journalIn(directory).keys(), ['File/a', 'File/c']);
});

test('a damaged record costs only itself, and the file is kept for whoever wants to know', (t) => {
  const { directory, journal, file } = begin(t);
  for (const name of ['a', 'b', 'c']) journal.write({ key: `File/${name}`, entry: entry(name) });
  const text = fs.readFileSync(file, 'utf8').replace('File/b', 'File/B');
  fs.writeFileSync(file, text);
  const next = new Journal(directory, createSeal(directory));
  assert.deepEqual(next.load(), [`${file}.broken`]);
  assert.deepEqual(next.keys(), ['File/a', 'File/c']);
  assert.equal(fs.readFileSync(`${file}.broken`, 'utf8'), text);
  next.write({ key: 'File/d', entry: entry('d') });
  assert.deepEqual(journalIn(directory).keys(), ['File/a', 'File/c', 'File/d'], 'and it is mended');
});

test('who removes, shortens or replaces the file under a running agent finds it whole after the next record', (t) => {
  const { directory, journal, file } = begin(t);
  journal.write({ key: 'File/a', entry: entry('a') });
  const meddling: Record<string, () => void> = {
    removed: () => fs.rmSync(file),
    shortened: () => fs.truncateSync(file, 10),
    'with its directory': () => fs.rmSync(directory, { recursive: true }),
    'by a longer one': () => fs.writeFileSync(file, 'x'.repeat(10_000)),
  };
  for (const [name, meddle] of Object.entries(meddling)) {
    meddle();
    journal.write({ key: 'File/b', entry: entry(name) });
    const next = journalIn(directory);
    assert.deepEqual(next.keys(), ['File/a', 'File/b'], name);
    assert.deepEqual(next.entry('File/b'), entry(name), name);
  }
});

test('a log that has grown past what it holds is written anew', (t) => {
  const { directory, journal, file } = begin(t);
  const large = entry('x'.repeat(200_000));
  for (let i = 0; i < 40; i++) journal.write({ key: 'File/a', entry: large });
  assert.ok(fs.statSync(file).size < 3_000_000);
  assert.deepEqual(journalIn(directory).entry('File/a'), large);
});

test('all who wait at the same time share one flush, and nobody settles before a flush that began after him', async (t) => {
  const { journal } = begin(t);
  journal.write({ key: 'File/first', entry: entry('first') });
  await journal.flushed();
  const release: (() => void)[] = [];
  t.mock.method(fs, 'fdatasync', (_fd: number, done: (error: null) => void) =>
    release.push(() => done(null)),
  );
  const settled: string[] = [];
  const wait = (name: string) => {
    journal.write({ key: `File/${name}`, entry: entry(name) });
    return journal.flushed().then(() => settled.push(name));
  };
  const first = wait('a');
  while (release.length < 1) await Promise.resolve();
  const others = ['b', 'c', 'd'].map(wait);
  assert.equal(release.length, 1);
  release[0]!();
  await first;
  assert.deepEqual(settled, ['a'], 'the others wrote after that flush had begun');
  while (release.length < 2) await Promise.resolve();
  release[1]!();
  await Promise.all(others);
  assert.deepEqual(settled, ['a', 'b', 'c', 'd']);
  assert.equal(release.length, 2);
  await journal.flushed();
  assert.equal(release.length, 2, 'nothing to flush, no flush');
});

test('a flush that failed fails those who waited, and the next one writes everything anew', async (t) => {
  const { directory, journal, file } = begin(t);
  journal.write({ key: 'File/a', entry: entry('a') });
  const failing = t.mock.method(fs, 'fdatasync', (_fd: number, done: (error: Error) => void) =>
    done(Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })),
  );
  journal.write({ key: 'File/b', entry: entry('b') });
  await assert.rejects(journal.flushed(), { code: 'EIO' });
  failing.mock.restore();
  const { ino } = fs.statSync(file);
  await journal.flushed();
  assert.notEqual(fs.statSync(file).ino, ino);
  assert.deepEqual(journalIn(directory).keys(), ['File/a', 'File/b']);
});

test('what could not be written has not happened', (t) => {
  const { directory, journal } = begin(t);
  journal.write({ key: 'File/a', entry: entry('a') });
  const full = t.mock.method(fs, 'writeSync', () => {
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  });
  assert.throws(() => journal.write({ key: 'File/a', entry: entry('b') }), { code: 'ENOSPC' });
  assert.deepEqual(journal.entry('File/a'), entry('a'));
  full.mock.restore();
  journal.write({ key: 'File/c', entry: entry('c') });
  assert.deepEqual(journalIn(directory).keys(), ['File/a', 'File/c']);
});

test('an agent starts on a journal of nonsense, says so and works', async (t) => {
  const directory = temporaryDirectory(t);
  fs.mkdirSync(path.join(directory, 'state'));
  const file = path.join(directory, 'state', 'journal.log');
  fs.writeFileSync(file, `${'\0'.repeat(100)}\n{"half":\n`);
  const devices = new Devices();
  const line = new Timeline(t, { kinds: devices.kinds, directory }).start();
  line.assign(resource('Device', 'd', { value: 'one' }));
  await line.expect('Device/d', 'True');
  assert.ok(fs.existsSync(`${file}.broken`));
  assert.deepEqual(journalIn(path.join(directory, 'state')).keys(), ['Device/d']);
});
