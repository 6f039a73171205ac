// A full disk, a read-only file system, a file nobody may change: a condition with the errno in words, the old file
// whole, and back to normal by itself.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { ROOT, require } from '../support/capabilities.ts';
import { eventually } from '../support/eventually.ts';
import { resource, Timeline } from '../support/timeline.ts';

const file = (content: string) => resource('File', 'f', { path: '/data/f', content });

function mountTmpfs(line: Timeline, size: string): string {
  const place = line.path('/data');
  fs.mkdirSync(place, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', place]);
  line.afterStop.push(() => execFileSync('umount', ['-l', place]));
  return place;
}

test('a full disk', async (t) => {
  if (!require(t, ROOT)) return;
  const line = new Timeline(t).start();
  const place = mountTmpfs(line, '64k');
  line.assign(file('small\n'));
  await line.expect('File/f', 'True');
  fs.writeFileSync(`${place}/filler`, Buffer.alloc(48 * 1024));
  const large = 'x'.repeat(40 * 1024);
  line.assign(file(large));
  const status = await line.expect('File/f', 'False', 'ENOSPC');
  assert.match(JSON.stringify(status.conditions), /no space is left on the device \(ENOSPC\)/);
  assert.equal(line.read('/data/f'), 'small\n');
  assert.deepEqual(fs.readdirSync(place).sort(), ['f', 'filler'], 'nothing half-written is left');
  fs.rmSync(`${place}/filler`);
  await line.expectContent('/data/f', large);
  await line.expect('File/f', 'True');
});

test('a read-only file system', async (t) => {
  if (!require(t, ROOT)) return;
  const line = new Timeline(t).start();
  const place = mountTmpfs(line, '1m');
  line.assign(file('one\n'));
  await line.expect('File/f', 'True');
  execFileSync('mount', ['-o', 'remount,ro', place]);
  line.assign(file('two\n'));
  await line.expect('File/f', 'False', 'EROFS');
  assert.match(line.condition('File/f', 'Ready')!.message, /the file system is read-only \(EROFS\)/);
  assert.equal(line.read('/data/f'), 'one\n');
  execFileSync('mount', ['-o', 'remount,rw', place]);
  await line.expectContent('/data/f', 'two\n');
});

test('a state directory on a full disk: drift is healed on, what is new waits, with the reason', async (t) => {
  if (!require(t, ROOT)) return;
  const line = new Timeline(t);
  const state = `${line.directory}/state`;
  fs.mkdirSync(state);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', state]);
  line.afterStop.push(() => execFileSync('umount', ['-l', state]));
  // Its way back is larger than what is left of a block.
  const one = 'one\n'.repeat(3000);
  line.start().assign(file(one));
  await line.expect('File/f', 'True');
  fillUp(`${state}/filler`);
  fs.writeFileSync(line.path('/data/f'), 'tampered');
  await line.expectContent('/data/f', one);
  line.assign(file('two\n'));
  await line.expect('File/f', 'False', 'ENOSPC');
  assert.ok(line.read('/data/f') === one, 'nothing is written that could not be undone after a crash');
  fs.rmSync(`${state}/filler`);
  await line.expectContent('/data/f', 'two\n');
});

/** Writes until there is no room left. */
function fillUp(place: string): void {
  const fd = fs.openSync(place, 'w');
  try {
    for (;;) fs.writeSync(fd, Buffer.alloc(1024));
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
  } finally {
    fs.closeSync(fd);
  }
}

test('a file that nobody may change', async (t) => {
  if (!require(t, ROOT)) return;
  const line = new Timeline(t).start().assign(file('one\n'));
  await line.expect('File/f', 'True');
  const f = line.path('/data/f');
  try {
    execFileSync('chattr', ['+i', f], { stdio: 'pipe' });
  } catch {
    return t.skip('this file system has no immutable files; a TMPDIR on ext4 or xfs has');
  }
  line.afterStop.push(() => fs.existsSync(f) && execFileSync('chattr', ['-i', f]));
  line.assign(file('two\n'));
  await line.expect('File/f', 'False', 'EPERM');
  assert.equal(line.read('/data/f'), 'one\n');
  execFileSync('chattr', ['-i', f]);
  await eventually(() => assert.equal(line.read('/data/f'), 'two\n'));
});
