// A host that has no inotify watch left, and what an event costs. That watches lose nothing is npm run bench's
// business.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import { DirectoryWatches } from '../../../agent/providers/directory-watches.ts';
import { DirectoryWatcher, watchDirectory } from '../../../agent/providers/watch-directory.ts';
import { FakeClock, settle } from '../../support/clock.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

for (const code of ['ENOSPC', 'EMFILE']) {
  test(`without a watch (${code}) directories are polled, and that is told, until one is to be had again`, async (t) => {
    const directory = temporaryDirectory(t);
    const target = path.join(directory, 'f');
    fs.writeFileSync(target, 'one');
    const clock = new FakeClock();
    let exhausted = true;
    const told: (readonly string[])[] = [];
    const watches = new DirectoryWatches({
      clock,
      onPolling: (directories) => told.push(directories),
      open(place) {
        const watcher = exhausted ? new DirectoryWatcher() : watchDirectory(place);
        const error = Object.assign(new Error('System limit for number of file watchers reached'), { code });
        if (exhausted) setImmediate(() => watcher.emit('error', error));
        return watcher;
      },
    });
    const stop = new AbortController();
    let wakes = 0;
    const ended = watches.watch(target, () => (wakes += 1), stop.signal);
    await eventually(() => assert.equal(wakes, 1, 'armed, and woken once'));
    assert.equal(watches.polled.at(-1), directory);
    assert.deepEqual(told.at(-1), watches.polled);

    await clock.advance(2_000);
    assert.equal(wakes, 1, 'nothing happened');
    for (const change of [
      () => fs.writeFileSync(target, 'two'),
      () => fs.chmodSync(target, 0o600),
      () => fs.unlinkSync(target),
      () => fs.writeFileSync(target, 'again'),
    ]) {
      change();
      const before: number = wakes;
      await clock.advance(2_000);
      assert.equal(wakes, before + 1, String(change));
    }
    const elsewhere = `${directory}.elsewhere`;
    t.after(() => fs.rmSync(elsewhere, { recursive: true, force: true }));
    for (const change of [
      () => {
        fs.renameSync(directory, elsewhere);
        fs.symlinkSync(elsewhere, directory);
      },
      () => fs.writeFileSync(path.join(elsewhere, 'f'), 'through a link'),
      () => {
        fs.unlinkSync(directory);
        fs.renameSync(elsewhere, directory);
      },
    ]) {
      const before: number = wakes;
      change();
      await clock.advance(2_000);
      await eventually(() => assert.ok(wakes > before, String(change)));
      await settle();
    }
    exhausted = false;
    await clock.advance(30_000);
    await eventually(() => assert.deepEqual(watches.polled, []));
    assert.deepEqual(told.at(-1), []);
    await settle();
    const before = wakes;
    fs.writeFileSync(target, 'three');
    await eventually(() => assert.ok(wakes > before, 'the watch itself tells'));
    await clock.advance(4_000);
    assert.deepEqual(clock.pending(), [], 'nothing is polled any more');
    stop.abort();
    await ended;
    await watches.close();
  });
}

test('an event does not have a directory listed', async (t) => {
  const directory = temporaryDirectory(t);
  const target = path.join(directory, 'f');
  fs.writeFileSync(target, 'one');
  const listed = t.mock.method(fs.promises, 'readdir');
  syncBuiltinESMExports();
  t.after(() => {
    listed.mock.restore();
    syncBuiltinESMExports();
  });
  const watches = new DirectoryWatches();
  const stop = new AbortController();
  let wakes = 0;
  const ended = watches.watch(target, () => (wakes += 1), stop.signal);
  t.after(async () => {
    stop.abort();
    await ended;
    await watches.close();
  });
  await eventually(() => assert.equal(wakes, 1));
  fs.writeFileSync(target, 'two');
  await eventually(() => assert.ok(wakes > 1));
  await settle();
  assert.equal(listed.mock.callCount(), 0);
});

test('a name with wildcards stands for every entry that fits, and wakes for no other', async (t) => {
  const directory = temporaryDirectory(t);
  const watches = new DirectoryWatches();
  t.after(() => watches.close());
  const stop = new AbortController();
  let [fitting, all] = [0, 0];
  const ended = [
    watches.watch(path.join(directory, '*.yml'), () => (fitting += 1), stop.signal),
    watches.watch(path.join(directory, '*'), () => (all += 1), stop.signal),
  ];
  await eventually(() => assert.deepEqual([fitting, all], [1, 1], 'armed'));
  for (const name of ['other.txt', '.a.yml.swp']) {
    const before = all;
    fs.writeFileSync(path.join(directory, name), 'x');
    await eventually(() => assert.ok(all > before));
  }
  assert.equal(fitting, 1);
  for (const change of [
    () => fs.writeFileSync(path.join(directory, 'a.yml'), 'x'),
    () => fs.renameSync(path.join(directory, 'a.yml'), path.join(directory, 'b.yml')),
    () => fs.rmSync(path.join(directory, 'b.yml')),
  ]) {
    const before = fitting;
    change();
    await eventually(() => assert.ok(fitting > before, String(change)));
  }
  stop.abort();
  await Promise.all(ended);
});
