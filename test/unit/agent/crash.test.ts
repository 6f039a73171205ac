// What a kill leaves behind, put on the disk by hand: npm run fault finds such places, here each has its test.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { createFiles } from '../../../agent/providers/files.ts';
import type { AnyKind } from '../../../kinds/kind.ts';
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
    fs.writeFileSync(first.path('/etc/.f.homeostat~'), 'half');
    const second = new Timeline(t, { directory }).start().assign(...(removed ? [] : [file('f')]));
    if (removed) await second.expectGone('File/f');
    else await second.expect('File/f', 'True');
    assert.deepEqual(
      fs.readdirSync(second.root, { recursive: true }).sort(),
      removed ? [] : ['etc', 'etc/f'],
    );
  }
});

/** What an agent does that is killed while a program looks at candidates for these. */
function killedWhileLooking(t: TestContext, directory: string, paths: readonly string[]) {
  const [root, candidates] = [path.join(directory, 'root'), path.join(directory, 'state/candidates')];
  for (const made of [root, path.dirname(candidates)]) fs.mkdirSync(made, { recursive: true });
  const killed = createFiles({ root, candidates });
  t.after(() => killed.close());
  for (const file of paths)
    void killed.withCandidate(file, Buffer.from('candidate'), () => new Promise<never>(() => {}));
  return { killed, candidates, at: (p: string) => path.join(root, p) };
}
const names = (directory: string) => fs.readdirSync(directory, { recursive: true }).sort();

test('a candidate of a killed agent is gone after the next start, though nothing asks for what it was for', async (t) => {
  const directory = temporaryDirectory(t);
  fs.mkdirSync(path.join(directory, 'root/etc/theirs'), { recursive: true });
  const { killed, candidates, at } = killedWhileLooking(t, directory, [
    '/etc/theirs/f',
    '/etc/ours/below/g',
    '/etc/h',
  ]);
  await killed.withCandidate('/etc/seen/k', Buffer.from('seen'), async (candidate) => {
    assert.equal(fs.readFileSync(at(candidate), 'utf8'), 'seen');
  });
  fs.writeFileSync(at('etc/..h.homeostat-validate.homeostat~'), 'half');
  assert.equal(names(at('etc')).length, 7);

  const second = new Timeline(t, { directory })
    .start()
    .assign(resource('File', 'other', { path: '/var/other', content: 'one\n' }));
  await second.expect('File/other', 'True');
  assert.deepEqual(names(at('etc')), ['theirs']);
  assert.equal(fs.existsSync(candidates), false);
});

test('what came to stand where a candidate’s directory was made is nobody’s to remove', async (t) => {
  const theirs: Record<string, (place: string) => void> = {
    link: (place) => fs.symlinkSync('elsewhere', place),
    file: (place) => fs.writeFileSync(place, 'precious'),
    full: (place) => fs.mkdirSync(path.join(place, 'conf/more'), { recursive: true }),
  };
  for (const [what, put] of Object.entries(theirs)) {
    const directory = temporaryDirectory(t);
    const { candidates, at } = killedWhileLooking(t, directory, ['/etc/alloy/conf/f']);
    fs.rmSync(at('etc/alloy'), { recursive: true });
    put(at('etc/alloy'));
    const second = createFiles({ root: path.join(directory, 'root'), candidates });
    t.after(() => second.close());
    second.removeCandidates!();
    assert.ok(fs.lstatSync(at('etc/alloy'), { throwIfNoEntry: false }), what);
    assert.equal(fs.existsSync(candidates), false, what);
  }
});

test('a note of candidates that can’t be read is kept beside, and stops neither the start nor the next note', async (t) => {
  const directory = temporaryDirectory(t);
  const { killed, candidates, at } = killedWhileLooking(t, directory, []);
  fs.writeFileSync(candidates, '[{"path":"/etc/x');
  killed.removeCandidates!();
  assert.equal(fs.readFileSync(`${candidates}.broken`, 'utf8'), '[{"path":"/etc/x');
  void killed.withCandidate('/etc/y', Buffer.from('candidate'), () => new Promise<never>(() => {}));
  const next = createFiles({ root: path.join(directory, 'root'), candidates });
  t.after(() => next.close());
  next.removeCandidates!();
  assert.equal(fs.existsSync(at('etc')), false);
});

test('a directory that two candidates stand below goes with the last of them', async (t) => {
  const { killed, candidates, at } = killedWhileLooking(t, temporaryDirectory(t), []);
  const ends: (() => void)[] = [];
  const looks = ['/opt/n/a', '/opt/n/b'].map((file) =>
    killed.withCandidate(file, Buffer.from(''), () => new Promise<void>((resolve) => ends.push(resolve))),
  );
  for (const [i, end] of ends.entries()) {
    end();
    await looks[i];
  }
  assert.equal(fs.existsSync(at('opt')), false);
  assert.equal(fs.existsSync(candidates), false);
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

test('what a change that was cut off may have left is passed on to the passes after it, until one is confirmed', async (t) => {
  const directory = temporaryDirectory(t);
  const devices = new Devices();
  const held: (readonly string[])[] = [];
  const kind = {
    ...devices.kind,
    owns: (spec: Record<string, unknown>) => [`device:${spec['value']}`],
    observe: (...[d, ...rest]: Parameters<AnyKind['observe']>) => {
      held.push(d.held);
      return devices.kind.observe(d, ...rest);
    },
  };
  const begin = () => new Timeline(t, { kinds: new Map([['Device', kind]]), directory }).start();
  const first = begin().assign(device('one'));
  await first.expect('Device/d', 'True');
  let cutOff = false;
  devices.hook = (step, value) => {
    if (step !== 'apply' || value !== 'two') return;
    cutOff = true;
    throw new Error('cut off');
  };
  first.assign(device('two'));
  await eventually(() => assert.ok(cutOff));
  await first.stop();
  held.length = 0;
  const second = begin().assign(device('one'));
  await second.expect('Device/d', 'True');
  assert.deepEqual([...held[0]!].sort(), ['device:one', 'device:two']);
  devices.tamper('Device/d', 'other');
  await eventually(() => assert.equal(devices.values.get('Device/d'), 'one'));
  assert.deepEqual(held.at(-1), ['device:one']);
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
