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

test('how the last run ended: stopped, or by itself', async () => {
  const HANDLES = '/bin/sh -c \'trap "exit 0" TERM; touch /run/%n; while :; do sleep 0.01; done\'';
  const ready = (unit: string) =>
    eventually(() => assert.ok(fs.existsSync(`/run/${unit}`), `${unit} is ready`));
  const ended = (unit: string) =>
    eventually(async () => {
      const state = await units.show(unit);
      assert.equal(state.mainPID, 0);
      assert.ok(['inactive', 'failed'].includes(state.activeState) || state.subState === 'auto-restart');
      return state;
    });
  const kill = (signal: string) => (unit: string) =>
    systemctl('kill', '--kill-whom=main', `--signal=${signal}`, unit);
  const stop = (unit: string) => systemctl('stop', unit);
  const nothing = () => undefined;
  const WANTED = '[Install]\nWantedBy=multi-user.target\n';
  const cases: [string, string, (unit: string) => void, boolean, string][] = [
    ['handles-term', HANDLES, stop, false, 'success'],
    ['dies-of-term', '/bin/sleep 1000', stop, false, 'success'],
    ['fails-on-term', HANDLES.replace('exit 0', 'exit 5'), stop, false, 'exit-code'],
    ['ignores-term', `${HANDLES.replace('exit 0', '')}\nTimeoutStopSec=200ms`, stop, false, 'timeout'],
    ['killed', '/bin/sleep 1000', kill('KILL'), true, 'signal'],
    ['killed-by-term', '/bin/sleep 1000', kill('TERM'), true, 'success'],
    ['exits-0', '/bin/true', nothing, true, 'success'],
    ['exits-3', "/bin/sh -c 'exit 3'", nothing, true, 'exit-code'],
    ['no-program', '/no/such/program', nothing, true, 'exit-code'],
    ['job', '/bin/true\nType=oneshot', nothing, true, 'success'],
    ['job-fails', '/bin/false\nType=oneshot', nothing, true, 'exit-code'],
    ['stays', '/bin/true\nType=oneshot\nRemainAfterExit=yes', stop, false, 'success'],
    ['hangs', '/bin/sleep 1000\nWatchdogSec=50ms', nothing, true, 'watchdog'],
    ['waits', "/bin/sh -c 'exit 1'\nRestart=always\nRestartSec=1h", nothing, true, 'exit-code'],
    [
      'has-a-stop-command',
      '/bin/sleep 1000\nExecStop=/bin/sh -c "kill -TERM $MAINPID; sleep 0.2"',
      stop,
      false,
      'success',
    ],
  ];
  for (const [name, program] of cases) {
    const text = `[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=${program}\n${WANTED}`;
    fs.writeFileSync(`/lib/systemd/system/ends-${name}.service`, text);
    // Something that refers to it, as what is enabled has it: systemd unloads the others as they end.
    systemctl('add-wants', 'multi-user.target', `ends-${name}.service`);
  }
  await units.daemonReload();
  const seen: unknown[] = [];
  for (const [name, program, act] of cases) {
    const unit = `ends-${name}.service`;
    await units.run('start', unit).catch(() => undefined);
    if (program.includes('/run/%n')) await ready(unit);
    act(unit);
    const { endedItself, result, livedMs, inactiveSinceMs } = await ended(unit);
    assert.ok(livedMs !== undefined && livedMs >= 0, name);
    assert.ok(inactiveSinceMs > 0 && inactiveSinceMs <= Date.now(), name);
    seen.push([name, endedItself, result]);
  }
  assert.deepEqual(
    seen,
    cases.map(([name, , , endedItself, result]) => [name, endedItself, result]),
  );
});

for (const [exit, result] of [
  [0, 'start-limit-hit'],
  [3, 'exit-code'], // the failure before it stays the unit's result
] as const) {
  test(`restarts are counted up to the limit (exit ${exit}), and begin at zero with the next start`, async () => {
    const unit = `loops${exit}.service`;
    const limit = '[Unit]\nStartLimitBurst=3\nStartLimitIntervalSec=1h\n';
    const program = `[Service]\nExecStart=/bin/sh -c 'exit ${exit}'\nRestart=always\nRestartSec=10ms\n`;
    await install(unit, `${limit}${program}[Install]\nWantedBy=multi-user.target\n`);
    await units.enable(unit);
    await units.run('start', unit);
    const end = await eventually(async () => {
      const state = await units.show(unit);
      assert.equal(state.activeState, 'failed');
      return state;
    });
    assert.deepEqual([end.result, end.endedItself, end.restarts], [result, true, 3]);
    await units.resetFailed(unit);
    await install(unit, SLEEPER);
    await units.run('start', unit);
    const { restarts, endedItself, livedMs } = await units.show(unit);
    assert.deepEqual([restarts, endedItself, livedMs], [0, false, undefined]);
    await units.run('stop', unit);
  });
}

test('a unit that is frozen', async (t) => {
  await install('cold.service', SLEEPER);
  await units.run('start', 'cold.service');
  assert.equal((await units.show('cold.service')).freezer, 'running');
  try {
    systemctl('freeze', 'cold.service');
  } catch (error) {
    return t.skip(`this kernel or cgroup cannot freeze: ${String(error)}`);
  }
  assert.equal((await units.show('cold.service')).freezer, 'frozen');
  systemctl('thaw', 'cold.service');
  assert.equal((await units.show('cold.service')).freezer, 'running');
  const { mainPID } = await units.show('cold.service');
  process.kill(mainPID, 'SIGSTOP');
  await eventually(async () => assert.equal((await units.show('cold.service')).freezer, 'stopped'));
  process.kill(mainPID, 'SIGCONT');
  await eventually(async () => assert.equal((await units.show('cold.service')).freezer, 'running'));
});

test('a unit that nothing refers to keeps what is known of its last run while it is watched', async () => {
  await install('alone.service', SLEEPER);
  await units.run('start', 'alone.service');
  const watch = await watching('alone.service');
  systemctl('kill', '--signal=TERM', 'alone.service');
  await eventually(async () => {
    const state = await units.show('alone.service');
    assert.deepEqual([state.activeState, state.endedItself], ['inactive', true]);
  });
  watch.stop.abort();
  await watch.ended;
});

test('a unit that is not there yet, while it is watched', async () => {
  const watch = await watching('later.service');
  assert.equal((await units.show('later.service')).loadState, 'not-found');
  fs.writeFileSync('/lib/systemd/system/later.service', SLEEPER);
  await eventually(async () => assert.equal((await units.show('later.service')).loadState, 'loaded'));
  watch.stop.abort();
  await watch.ended;
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
