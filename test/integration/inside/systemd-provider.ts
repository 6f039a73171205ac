// The systemd provider against systemd. Runs inside a booted host (../systemd.test.ts).
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { after, test } from 'node:test';
import { createSystemd } from '../../../agent/providers/systemd.ts';
import { JobFailed } from '../../../kinds/ports.ts';
import { eventually } from '../../support/eventually.ts';

const units = createSystemd();
after(() => units.close());

const systemctl = (...args: string[]): string =>
  execFileSync('systemctl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** A unit of a package's, so to speak. */
async function install(unit: string, text: string): Promise<void> {
  fs.writeFileSync(`/lib/systemd/system/${unit}`, text);
  await units.daemonReload();
}
const SLEEPER = '[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n';

test('states of a unit that is not there, is there, runs, and ran', async () => {
  assert.equal((await units.show('none.service')).loadState, 'not-found');
  await install('a.service', SLEEPER);
  const idle = await units.show('a.service');
  assert.deepEqual(
    [idle.loadState, idle.activeState, idle.unitFileState, idle.invocationID, idle.startedAtMs],
    ['loaded', 'inactive', 'disabled', '', 0],
  );
  const began = Date.now();
  await units.run('start', 'a.service');
  const first = await units.show('a.service');
  assert.deepEqual([first.activeState, first.subState, first.serviceType], ['active', 'running', 'simple']);
  assert.ok(first.startedAtMs >= began - 1 && first.startedAtMs <= Date.now());
  assert.match(first.invocationID, /^[0-9a-f]{32}$/);
  assert.equal(first.fragmentPath, '/lib/systemd/system/a.service');
  await units.run('restart', 'a.service');
  const second = await units.show('a.service');
  assert.notEqual(second.invocationID, first.invocationID);
  assert.notEqual(second.mainPID, first.mainPID);
  await units.run('stop', 'a.service');
  assert.equal((await units.show('a.service')).activeState, 'inactive');
});

test('enabling, masking and their links; both kinds of mask are taken off', async () => {
  await install('b.service', SLEEPER);
  await units.run('start', 'b.service');
  await units.enable('b.service');
  assert.equal((await units.show('b.service')).unitFileState, 'enabled');
  fs.unlinkSync('/etc/systemd/system/multi-user.target.wants/b.service');
  assert.equal((await units.show('b.service')).unitFileState, 'disabled', 'a link that was removed by hand');
  for (const how of [[], ['--runtime']]) {
    systemctl('mask', ...how, 'b.service');
    const masked = await units.show('b.service');
    assert.equal(masked.loadState, 'masked');
    assert.match(masked.unitFileState, /^masked/);
    await units.unmask('b.service');
    await units.daemonReload();
    assert.equal((await units.show('b.service')).loadState, 'loaded');
  }
  await install('static.service', '[Service]\nExecStart=/bin/sleep 1000\n');
  await assert.rejects(units.enable('static.service'), { name: 'Stalled', reason: 'CannotBeEnabled' });
});

test('a changed file and drop-in need a reload', async () => {
  await install('c.service', SLEEPER);
  assert.equal((await units.show('c.service')).needDaemonReload, false);
  fs.mkdirSync('/etc/systemd/system/c.service.d', { recursive: true });
  await units.daemonReload(); // systemd 252 does not see drop-ins in a directory that is new
  await units.run('start', 'c.service');
  fs.writeFileSync('/etc/systemd/system/c.service.d/x.conf', '[Service]\nNice=5\n');
  assert.equal((await units.show('c.service')).needDaemonReload, true);
  await units.daemonReload();
  const loaded = await units.show('c.service');
  assert.equal(loaded.needDaemonReload, false);
  assert.deepEqual(loaded.dropInPaths, ['/etc/systemd/system/c.service.d/x.conf']);
});

test('a job that fails says how, and what can’t be loaded says why', async () => {
  await install('d.service', '[Service]\nType=oneshot\nExecStart=/bin/false\n');
  await assert.rejects(units.run('start', 'd.service'), (error) => {
    assert.ok(error instanceof JobFailed);
    assert.equal(error.result, 'failed');
    assert.match(error.message, /journalctl -u d\.service/);
    return true;
  });
  assert.deepEqual(await units.show('d.service').then(({ activeState, result }) => [activeState, result]), [
    'failed',
    'exit-code',
  ]);
  await units.resetFailed('d.service');
  assert.equal((await units.show('d.service')).activeState, 'inactive');
  await install('bad.service', '[Service]\nNonsense\n');
  const bad = await units.show('bad.service');
  assert.equal(bad.loadState, 'bad-setting');
  assert.match(bad.loadError, /bad/);
});

test('ten jobs at once each get their own result', async () => {
  const names = Array.from({ length: 10 }, (_, i) => `many${i}.service`);
  for (const [i, name] of names.entries()) {
    fs.writeFileSync(
      `/lib/systemd/system/${name}`,
      `[Service]\nType=oneshot\nExecStart=/bin/${i % 2 ? 'false' : 'true'}\n`,
    );
  }
  await units.daemonReload();
  const results = await Promise.allSettled(names.map((name) => units.run('start', name)));
  assert.deepEqual(
    results.map(({ status }) => status),
    names.map((_, i) => (i % 2 ? 'rejected' : 'fulfilled')),
  );
});

async function watching(unit: string) {
  const stop = new AbortController();
  let wakes = 0;
  const ended = units.watch(unit, () => wakes++, stop.signal);
  await eventually(() => assert.ok(wakes > 0, 'armed'));
  return { stop, ended, count: () => wakes };
}

test('a watch wakes at stops, kills, masks and edits, by whoever, and not for other units', async () => {
  await install('e.service', SLEEPER);
  await install('f.service', SLEEPER);
  await units.run('start', 'e.service');
  const e = await watching('e.service');
  const f = await watching('f.service');
  // Reloads wake all, so other units' events come first.
  const quiet = f.count();
  for (const act of [
    () => systemctl('stop', 'e.service'),
    () => systemctl('start', 'e.service'),
    () => systemctl('kill', '--signal=KILL', 'e.service'),
  ]) {
    const before = e.count();
    act();
    await eventually(() => assert.ok(e.count() > before));
  }
  assert.equal(f.count(), quiet);
  for (const act of [() => systemctl('mask', 'e.service'), () => systemctl('unmask', 'e.service')]) {
    const before = e.count();
    act();
    await eventually(() => assert.ok(e.count() > before));
  }
  for (const watch of [e, f]) {
    watch.stop.abort();
    await watch.ended;
  }
});

test('a watch that nobody holds any more and one that begins anew on the same unit', async () => {
  await install('g.service', SLEEPER);
  const first = await watching('g.service');
  const second = await watching('g.service');
  first.stop.abort();
  await first.ended;
  let before = second.count();
  systemctl('start', 'g.service');
  await eventually(() => assert.ok(second.count() > before));
  second.stop.abort();
  await second.ended;
  const third = await watching('g.service');
  before = third.count();
  systemctl('stop', 'g.service');
  await eventually(() => assert.ok(third.count() > before));
  third.stop.abort();
  await third.ended;
});

test('a restart of systemd or of the bus ends watches at once; calls then work again', async () => {
  await install('h.service', SLEEPER);
  for (const restart of [
    () => systemctl('daemon-reexec'),
    () => systemctl('restart', 'dbus.service'),
    () => systemctl('kill', '--signal=KILL', 'dbus.service'),
  ]) {
    const watch = await watching('h.service');
    restart();
    await assert.rejects(watch.ended, Error);
    await eventually(async () => assert.equal((await units.show('h.service')).loadState, 'loaded'));
    const again = await eventually(() => watching('h.service'));
    const before = again.count();
    systemctl('start', 'h.service');
    await eventually(() => assert.ok(again.count() > before));
    again.stop.abort();
    await again.ended;
    await units.run('stop', 'h.service');
  }
});
