// A host that has no inotify watch left. That watches lose nothing is npm run bench's business.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { watch as chokidarWatch } from 'chokidar';
import { DirectoryWatches } from '../../../agent/providers/directory-watches.ts';
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
      open(paths, options) {
        const watcher = chokidarWatch(exhausted ? [] : paths, options);
        const error = Object.assign(new Error('System limit for number of file watchers reached'), { code });
        if (exhausted) setImmediate(() => watcher.emit('error', error));
        return watcher;
      },
    });
    const stop = new AbortController();
    let wakes = 0;
    const ended = watches.watch(target, () => (wakes += 1), stop.signal);
    await eventually(() => assert.equal(wakes, 1, 'armed, and woken once'));
    assert.deepEqual(watches.polled, [directory]);
    assert.deepEqual(told, [[directory]]);

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
