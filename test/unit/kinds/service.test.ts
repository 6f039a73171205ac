// Service, with a real agent and real unit files, under a systemd that runs nothing.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { file } from '../../../kinds/file/index.ts';
import type { FileState, UnitState } from '../../../kinds/ports.ts';
import { assess } from '../../../kinds/service/assess.ts';
import { definitionChanges } from '../../../kinds/service/definition.ts';
import { service } from '../../../kinds/service/index.ts';
import { isDone, type Memory, type Service, staleness } from '../../../kinds/service/memory.ts';
import type { ServiceSpec } from '../../../kinds/service/schema.ts';
import { isRunning, restUntilMs } from '../../../kinds/service/state.ts';
import type { Before } from '../../../kinds/service/undo.ts';
import { foreignFiles, ownPaths, programsOf, unitDigest } from '../../../kinds/service/unit-files.ts';
import { fastClock } from '../../support/clock.ts';
import { desiredOf } from '../../support/desired.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeSystemd } from '../../support/fake-systemd.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { resource, Timeline } from '../../support/timeline.ts';

const KEY = 'Service/web';
const UNIT = 'web.service';
const text = (program: string) =>
  `[Service]\nExecStart=${program}\n\n[Install]\nWantedBy=multi-user.target\n`;
const web = (spec: object) => resource('Service', 'web', { unit: UNIT, ...spec });

function setting(t: TestContext, directory = temporaryDirectory(t)) {
  const root = path.join(directory, 'root');
  fs.mkdirSync(root, { recursive: true });
  const clock = fastClock(100);
  const systemd = new FakeSystemd(root, clock);
  const start = () =>
    new Timeline(t, {
      directory,
      kinds: new Map([service, file].map((kind) => [kind.kind, kind])),
      ports: { units: systemd, clock },
      passTimeoutMs: 18_000_000,
    }).start();
  return { systemd, clock, start, line: start(), unitFile: path.join(root, 'etc/systemd/system', UNIT) };
}

test('a unit is written, loaded, enabled and started', async (t) => {
  const { line, systemd } = setting(t);
  line.assign(web({ unitFile: { content: text('/bin/one') }, enabled: true }));
  await line.expect(KEY, 'True', 'Applied');
  assert.deepEqual(systemd.log, [`enable ${UNIT}`, 'daemon-reload', `start ${UNIT}`]);
  assert.equal(systemd.runningText(UNIT), text('/bin/one'));
});

test('a stopped unit is started with nothing before it', async (t) => {
  const { line, systemd } = setting(t);
  line.assign(web({ unitFile: { content: text('/bin/one') } }));
  await line.expect(KEY, 'True');
  systemd.log.length = 0;
  systemd.happens(UNIT, { activeState: 'inactive', subState: 'dead', result: 'success' });
  await eventually(() => assert.equal(line.status(KEY).healedTotal, 1));
  assert.deepEqual(systemd.log, [`start ${UNIT}`]);
});

test('one that ended by itself is started again after a minute, and counts as CrashLoop until then', async (t) => {
  const { line, systemd } = setting(t);
  line.assign(web({ unitFile: { content: text('/bin/one') } }));
  await line.expect(KEY, 'True');
  systemd.log.length = 0;
  systemd.happens(UNIT, { activeState: 'failed', subState: 'failed', result: 'exit-code' });
  await line.expect(KEY, 'False', 'CrashLoop');
  assert.match(line.condition(KEY, 'Ready')!.message, /ended by itself .* \(exit-code\).*journalctl -u web/);
  await line.expect(KEY, 'True');
  assert.deepEqual(systemd.log, [`reset-failed ${UNIT}`, `start ${UNIT}`]);
  assert.ok(systemd.pauses.at(-1)! >= 60_000, `${systemd.pauses.at(-1)}`);
});

for (const limited of [{ result: 'start-limit-hit' }, { result: 'exit-code', restarts: 5 }]) {
  test(`one that systemd gave up (${limited.result}) rests for five minutes, also over a restart of the agent`, async (t) => {
    const { line, start, systemd } = setting(t);
    const wanted = web({ unitFile: { content: text('/bin/one') } });
    line.assign(wanted);
    await line.expect(KEY, 'True');
    systemd.log.length = 0;
    systemd.happens(UNIT, { activeState: 'failed', subState: 'failed', ...limited });
    await line.expect(KEY, 'False', 'CrashLoop');
    await line.stop();
    const next = start().assign(wanted);
    await next.expect(KEY, 'False', 'CrashLoop');
    await next.expect(KEY, 'True');
    assert.deepEqual(systemd.log, [`reset-failed ${UNIT}`, `start ${UNIT}`]);
    assert.ok(systemd.pauses.at(-1)! >= 300_000, `${systemd.pauses.at(-1)}`);
  });
}

test('an automatic restart is systemd’s; a new commit does not wait for it', async (t) => {
  const { line, systemd } = setting(t);
  line.assign(web({ unitFile: { content: text('/bin/one') } }));
  await line.expect(KEY, 'True');
  systemd.log.length = 0;
  const waits = { activeState: 'activating', subState: 'auto-restart', result: 'signal' } as const;
  systemd.happens(UNIT, { ...waits, restartsAtMs: Date.now() + 3_600_000 });
  await line.expect(KEY, 'False', 'Restarting');
  line.agent.reconcile();
  assert.deepEqual(systemd.log, []);
  line.assign(web({ unitFile: { content: text('/bin/two') } }));
  await line.expect(KEY, 'True');
  assert.deepEqual(systemd.log, ['daemon-reload', `reset-failed ${UNIT}`, `restart ${UNIT}`]);
});

test('a start that is skipped for a condition is not tried at every event', async (t) => {
  const { line, systemd } = setting(t);
  const content = text('/bin/one').replace('[Service]', '[Unit]\nConditionPathExists=/etc/ready\n[Service]');
  fs.writeFileSync(line.path('/etc/ready'), '');
  line.assign(web({ unitFile: { content } }));
  await line.expect(KEY, 'True');
  fs.unlinkSync(line.path('/etc/ready'));
  await systemd.run('stop', UNIT);
  await line.expect(KEY, 'False', 'StartSkipped');
  fs.writeFileSync(line.path('/etc/ready'), '');
  await line.expect(KEY, 'True');
});

test('an edited unit file comes back, and the process that never saw the edit is left alone', async (t) => {
  const { line, systemd, unitFile } = setting(t);
  line.assign(web({ unitFile: { content: text('/bin/one') } }));
  await line.expect(KEY, 'True');
  systemd.log.length = 0;
  fs.writeFileSync(unitFile, text('/bin/evil'));
  await eventually(() => assert.equal(line.status(KEY).healedTotal, 1));
  assert.equal(fs.readFileSync(unitFile, 'utf8'), text('/bin/one'));
  assert.deepEqual(systemd.log, ['daemon-reload']);
});

test('a new unit file restarts the unit; one that fails, or ends before it settled, is rolled back', async (t) => {
  const { line, systemd, unitFile } = setting(t);
  line.assign(web({ unitFile: { content: text('/bin/one') } }));
  await line.expect(KEY, 'True');
  line.assign(web({ unitFile: { content: text('/bin/two') } }));
  await eventually(() => assert.equal(systemd.runningText(UNIT), text('/bin/two')));
  await line.expect(KEY, 'True');
  for (const [outcome, reason] of [
    ['fails', 'StartFailed'],
    [0, 'CrashLoop'],
    [3_000, 'CrashLoop'],
  ] as const) {
    systemd.outcome = (unit) => (unit.includes('/bin/three') ? outcome : 'stays');
    line.assign(web({ unitFile: { content: `${text('/bin/three')}# ${outcome}\n` } }));
    await line.expect(KEY, 'False', 'RolledBack');
    assert.match(line.condition(KEY, 'Ready')!.message, new RegExp(reason));
    assert.equal(fs.readFileSync(unitFile, 'utf8'), text('/bin/two'));
    await eventually(() => assert.equal(systemd.runningText(UNIT), text('/bin/two')));
    line.assign(web({ unitFile: { content: text('/bin/two') } }));
    await line.expect(KEY, 'True');
  }
});

test('a confirmed unit that fails at its start is tried again, and is neither undone nor parked', async (t) => {
  const { line, systemd } = setting(t);
  line.assign(web({ unitFile: { content: text('/bin/one') } }));
  await line.expect(KEY, 'True');
  let starts = 0;
  systemd.outcome = () => (++starts < 3 ? 'fails' : 'stays');
  await systemd.run('stop', UNIT);
  await line.expect(KEY, 'False', 'CrashLoop');
  await line.expect(KEY, 'True');
  assert.equal(starts, 3);
  assert.equal(systemd.runningText(UNIT), text('/bin/one'));
});

test('what is neither to run nor to be enabled need not be there, and is stopped when it comes', async (t) => {
  const { line, systemd } = setting(t);
  line.assign(web({ state: 'stopped', enabled: false }));
  await line.expect(KEY, 'True');
  fs.mkdirSync(line.path('/lib/systemd/system'), { recursive: true });
  fs.writeFileSync(line.path(`/lib/systemd/system/${UNIT}`), text('/bin/packaged'));
  await systemd.daemonReload();
  await systemd.enable(UNIT);
  await systemd.run('start', UNIT);
  await eventually(async () => {
    const { activeState, unitFileState } = await systemd.show(UNIT);
    assert.deepEqual([activeState, unitFileState], ['inactive', 'disabled']);
  });
  await line.expect(KEY, 'True');
});

test('what did not run before either is not blamed on the change', async (t) => {
  const { line, systemd, unitFile } = setting(t);
  fs.writeFileSync(line.path(`/lib/systemd/system/${UNIT}`), text('/bin/packaged'));
  systemd.outcome = (unit) => (unit.includes('GOOD') ? 'stays' : 1_000);
  systemd.happens(UNIT, { activeState: 'failed', subState: 'failed', result: 'exit-code' });
  const dropIn = (value: string) =>
    web({ dropIns: { 'env.conf': { content: `[Service]\nEnvironment=${value}\n` } } });
  line.assign(dropIn('A=1'));
  await line.expect(KEY, 'Unknown', 'CrashLoop');
  assert.match(line.condition(KEY, 'Ready')!.message, /did not run before this change either/);
  assert.ok(fs.existsSync(`${unitFile}.d/env.conf`));
  line.assign(dropIn('GOOD=1'));
  await line.expect(KEY, 'True');
});

test('what an earlier document put there goes with it, and is not foreign', async (t) => {
  const { line, systemd, unitFile } = setting(t);
  const dropIn = (content: string) => ({ content: `[Service]\n${content}\n` });
  const unit = { unitFile: { content: text('/bin/one') } };
  line.assign(web(unit));
  await line.expect(KEY, 'True');
  line.assign(
    web({ ...unit, dropIns: { '10-memory.conf': dropIn('MemoryMax=1'), '20-a.conf': dropIn('Nice=1') } }),
  );
  await line.expect(KEY, 'True');
  systemd.log.length = 0;
  line.assign(web({ ...unit, dropIns: { '05-a.conf': dropIn('Nice=1') } }));
  await eventually(() => assert.deepEqual(fs.readdirSync(`${unitFile}.d`), ['05-a.conf']));
  await line.expect(KEY, 'True');
  assert.deepEqual(systemd.log, ['daemon-reload', `restart ${UNIT}`]);
  assert.doesNotMatch(systemd.runningText(UNIT), /MemoryMax/);
  assert.equal(line.condition(KEY, 'ForeignUnitFiles'), undefined);
  line.assign();
  await line.expectGone(KEY);
  assert.equal(fs.existsSync(`${unitFile}.d`), false, 'what a later document added is taken back, too');
  assert.equal(fs.existsSync(unitFile), false);
});

test('a unit file that the document has no longer gives way to the package’s, where there is one', async (t) => {
  const { line, systemd, unitFile } = setting(t);
  line.assign(web({ unitFile: { content: text('/bin/one') } }));
  await line.expect(KEY, 'True');
  line.assign(web({}));
  await line.expect(KEY, 'False', 'UnitNotFound');
  assert.equal(systemd.runningText(UNIT), text('/bin/one'));
  fs.writeFileSync(line.path(`/lib/systemd/system/${UNIT}`), text('/bin/packaged'));
  line.assign(web({ state: 'running' }));
  await eventually(() => assert.equal(systemd.runningText(UNIT), text('/bin/packaged')));
  assert.equal(fs.existsSync(unitFile), false);
});

test('a unit of others that can’t be enabled runs all the same, and says what it lacks', async (t) => {
  const { line, systemd, unitFile } = setting(t);
  const vendor = (install: string) => {
    fs.writeFileSync(line.path(`/lib/systemd/system/${UNIT}`), `[Service]\nExecStart=/bin/one\n${install}`);
    return systemd.daemonReload();
  };
  await vendor('');
  systemd.log.length = 0;
  line.assign(web({ enabled: true }));
  await line.expect(KEY, 'False', 'CannotBeEnabled');
  assert.match(line.condition(KEY, 'Ready')!.message, /static: it has no \[Install\]/);
  assert.deepEqual(systemd.log, [`start ${UNIT}`]);
  await vendor('[Install]\nAlso=web.socket\n');
  line.assign(web({ enabled: true, state: 'running' }));
  await eventually(() => assert.match(line.condition(KEY, 'Ready')!.message, /Service for web\.socket/));
  systemd.log.length = 0;
  line.agent.reconcile();
  await line.agent.idle();
  assert.deepEqual(systemd.log, [], 'neither enabled nor started again');
  // What git gives is mended in git, before anything is written.
  line.assign(web({ enabled: true, unitFile: { content: '[Service]\nExecStart=/bin/one\n' } }));
  await eventually(() =>
    assert.match(line.condition(KEY, 'Ready')!.message, /its unitFile has no \[Install\]/),
  );
  assert.equal(fs.existsSync(unitFile), false);
  await vendor('');
  line.assign(
    web({ enabled: true, dropIns: { 'i.conf': { content: '[Install]\nWantedBy=multi-user.target\n' } } }),
  );
  await line.expect(KEY, 'True');
});

test('a job that is left to its timer is neither started nor stopped, nor when it is rolled back', async (t) => {
  const { line, systemd, unitFile } = setting(t);
  const job = (program: string) =>
    web({ state: 'unmanaged', unitFile: { content: `[Service]\nType=oneshot\nExecStart=${program}\n` } });
  line.assign(job('/bin/one'));
  await line.expect(KEY, 'True');
  line.assign(job('/bin/two'));
  await eventually(() => assert.match(fs.readFileSync(unitFile, 'utf8'), /two/));
  await line.expect(KEY, 'True');
  await systemd.run('start', UNIT);
  systemd.log.length = 0;
  line.assign(job('/bin/three'));
  await eventually(() => assert.match(fs.readFileSync(unitFile, 'utf8'), /three/));
  await line.expect(KEY, 'True');
  line.assign();
  await line.expectGone(KEY);
  assert.equal(fs.existsSync(unitFile), false);
  assert.deepEqual(
    systemd.log.filter((call) => /^(?:start|stop|restart) /.test(call)),
    [],
  );
});

test('one that a package made static is not Ready, and is healed in all else', async (t) => {
  const { line, systemd, unitFile } = setting(t);
  const vendor = line.path(`/lib/systemd/system/${UNIT}`);
  const dropIn = '[Service]\nNice=1\n';
  fs.writeFileSync(vendor, text('/bin/packaged'));
  line.assign(web({ enabled: true, dropIns: { 'a.conf': { content: dropIn } } }));
  await line.expect(KEY, 'True');
  fs.writeFileSync(vendor, '[Service]\nExecStart=/bin/packaged\n');
  await systemd.disable(UNIT);
  await systemd.daemonReload();
  await line.expect(KEY, 'False', 'CannotBeEnabled');
  systemd.log.length = 0;
  fs.writeFileSync(`${unitFile}.d/a.conf`, '[Service]\nNice=2\n');
  await eventually(() => assert.equal(fs.readFileSync(`${unitFile}.d/a.conf`, 'utf8'), dropIn));
  await eventually(() => assert.deepEqual(systemd.log, ['daemon-reload']));
  await line.expect(KEY, 'False', 'CannotBeEnabled');
});

test('restartOn: a changed input restarts the unit, also when the agent died in between', async (t) => {
  const setup = setting(t);
  const { systemd } = setup;
  const config = (content: string) => resource('File', 'config', { path: '/etc/web.conf', content });
  const withInput = web({ unitFile: { content: text('/bin/one') }, restartOn: ['File/config'] });
  setup.line.assign(config('a'), withInput);
  await setup.line.expect('File/config', 'True');
  await setup.line.expect(KEY, 'True');
  const restarts = () => systemd.log.filter((entry) => entry === `restart ${UNIT}`).length;
  const before = restarts();
  setup.line.assign(config('b'), withInput);
  await eventually(() => assert.equal(restarts(), before + 1));
  await setup.line.expect(KEY, 'True');

  // The next agent finds the file written and the process old.
  await setup.line.stop();
  setup.systemd.log.length = 0;
  const next = setup.start();
  next.assign(config('c'), { ...withInput, suspend: true });
  await eventually(() => assert.equal(next.read('/etc/web.conf'), 'c'));
  await next.stop();
  const last = setup.start().assign(config('c'), withInput);
  await last.expect(KEY, 'True');
  await eventually(() => assert.equal(restarts(), 1));
});

test('a mask is taken off; an adopted unit is put back when its document goes', async (t) => {
  const { line, systemd, unitFile } = setting(t);
  const vendor = line.path(`/lib/systemd/system/${UNIT}`);
  fs.writeFileSync(vendor, text('/bin/packaged'));
  line.assign(web({ enabled: true }));
  await line.expect(KEY, 'True');
  assert.equal(systemd.runningText(UNIT), text('/bin/packaged'));
  fs.symlinkSync('/dev/null', unitFile);
  await systemd.daemonReload();
  await eventually(() => assert.ok(!fs.existsSync(unitFile)));
  await eventually(async () => assert.equal((await systemd.show(UNIT)).loadState, 'loaded'));
  await line.expect(KEY, 'True');
  line.assign();
  await line.expectGone(KEY);
  const { activeState, unitFileState } = await systemd.show(UNIT);
  assert.deepEqual([activeState, unitFileState], ['inactive', 'disabled']);
});

test('an adopted unit whose package went meanwhile is let go: nothing is left to be put back', async (t) => {
  const { line, systemd } = setting(t);
  const vendor = line.path(`/lib/systemd/system/${UNIT}`);
  fs.writeFileSync(vendor, text('/bin/packaged'));
  await systemd.enable(UNIT);
  await systemd.run('start', UNIT);
  line.assign(web({ dropIns: { '10-x.conf': { content: '[Service]\nNice=1\n' } } }));
  await line.expect(KEY, 'True');
  await systemd.run('stop', UNIT);
  await systemd.disable(UNIT);
  fs.unlinkSync(vendor);
  await systemd.daemonReload();
  line.assign();
  await line.expectGone(KEY);
  assert.equal((await systemd.show(UNIT)).loadState, 'not-found');
  assert.equal(fs.existsSync(line.path(`/etc/systemd/system/${UNIT}.d`)), false);
});

test('what others put above the unit is told, and removed only when exclusive', async (t) => {
  const { line, systemd, unitFile } = setting(t);
  fs.writeFileSync(line.path(`/lib/systemd/system/${UNIT}`), text('/bin/packaged'));
  fs.mkdirSync(`${unitFile}.d`);
  fs.writeFileSync(`${unitFile}.d/override.conf`, '[Service]\nNice=19\n');
  line.assign(web({}));
  await line.expect(KEY, 'True');
  assert.match(line.condition(KEY, 'ForeignUnitFiles')!.message, /override\.conf/);
  line.assign();
  await line.expectGone(KEY);
  assert.ok(fs.existsSync(`${unitFile}.d/override.conf`), 'not ours');

  await systemd.run('start', UNIT);
  line.assign(web({ exclusive: true }));
  await line.expect(KEY, 'True');
  await eventually(() => assert.ok(!fs.existsSync(`${unitFile}.d/override.conf`)));
  assert.equal(systemd.runningText(UNIT).includes('Nice'), true, 'no restart of what nobody wrote');
  line.assign();
  await line.expectGone(KEY);
  assert.ok(fs.existsSync(`${unitFile}.d/override.conf`), 'put back');
});

test('a unit that is not installed yet is waited for', async (t) => {
  const { line, systemd } = setting(t);
  line.assign(web({ enabled: true }));
  await line.expect(KEY, 'False', 'UnitNotFound');
  fs.writeFileSync(line.path(`/lib/systemd/system/${UNIT}`), text('/bin/packaged'));
  await systemd.daemonReload();
  await line.expect(KEY, 'True');
});

const RUNNING: UnitState = {
  loadState: 'loaded',
  loadError: '',
  activeState: 'active',
  subState: 'running',
  unitFileState: 'enabled',
  needDaemonReload: false,
  invocationID: 'aa',
  startedAtMs: 1000,
  mainPID: 1,
  result: 'success',
  serviceType: 'simple',
  fragmentPath: '',
  dropInPaths: [],
  restarts: 0,
  inactiveSinceMs: 0,
  livedMs: undefined,
  endedItself: false,
  restartsAtMs: 0,
  skippedAtMs: 0,
  freezer: 'running',
};

function desired(more: Partial<Service>): Service {
  const spec: Service['spec'] = { unit: UNIT, unitFile: { content: 'x' }, restartOn: ['File/a'] };
  return desiredOf(KEY, spec, { digest: '', ...more });
}

const NEVER_RAN: Partial<UnitState> = { activeState: 'inactive', invocationID: '', startedAtMs: 0 };
/** From 1000 to 2000. */
const ENDED: Partial<UnitState> = {
  activeState: 'failed',
  startedAtMs: 0,
  inactiveSinceMs: 2000,
  livedMs: 1000,
};

test('staleness is decided by what is known, and else by times', () => {
  const digest = unitDigest(desired({}));
  const memory = (more: Partial<Memory> = {}): Memory => ({
    invocationID: 'aa',
    inputs: { 'File/a': 'one' },
    unitDigest: digest,
    ...more,
  });
  const input = (digest: string, appliedAtMs: number) => ({ 'File/a': { digest, appliedAtMs } });
  const written = (mtimeMs: number): FileState => ({
    type: 'file',
    content: Buffer.from('x'),
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtimeMs,
  });
  const cases: [string, boolean, Partial<Service>, Partial<UnitState>, FileState[]][] = [
    ['nothing was ever applied', false, {}, {}, []],
    ['an input that was found right', false, { inputs: input('one', 0) }, {}, []],
    ['an input that was written before the start', false, { inputs: input('one', 999) }, {}, []],
    ['an input that was written after the start', true, { inputs: input('one', 1001) }, {}, []],
    ['the known invocation has the input', false, { memory: memory(), inputs: input('one', 2000) }, {}, []],
    ['the known invocation has another', true, { memory: memory(), inputs: input('two', 0) }, {}, []],
    [
      'an unknown invocation, started after the write',
      false,
      { memory: memory(), inputs: input('two', 900) },
      { invocationID: 'bb' },
      [],
    ],
    [
      'an unknown invocation, started before the write',
      true,
      { memory: memory(), inputs: input('two', 1100) },
      { invocationID: 'bb' },
      [],
    ],
    [
      'a new restartOn of the known invocation goes by time',
      true,
      { memory: memory({ inputs: {} }), inputs: input('one', 1500) },
      {},
      [],
    ],
    ['the unit changed since', true, { memory: memory({ unitDigest: 'other' }) }, {}, []],
    ['the same unit, written again', false, { memory: memory() }, {}, [written(5000)]],
    ['a unit file newer than an unknown invocation', true, {}, {}, [written(5000)]],
    ['a unit file older than an unknown invocation', false, {}, {}, [written(500)]],
    ['it never ran', false, { inputs: input('one', 1500) }, NEVER_RAN, []],
    ['it ended, and its input was written after its start', true, { inputs: input('one', 1500) }, ENDED, []],
    ['it ended, and its input was written before its start', false, { inputs: input('one', 900) }, ENDED, []],
  ];
  for (const [name, stale, d, unit, files] of cases) {
    assert.equal(staleness(desired(d), { ...RUNNING, ...unit }, files) !== undefined, stale, name);
  }
});

test('one that was restarted counts once it stayed, and ends a trial in which it did not', () => {
  const look = (ageMs: number, trial?: number, more: Partial<UnitState> = {}) => {
    const unit = { ...RUNNING, restarts: 3, startedAtMs: 10_000, ...more };
    const observed = { unit, ...NOTHING_ELSE };
    const before: Before = { manager: 'systemd', unit: UNIT, files: [], ...WAS };
    const verdict = assess(
      desired({}),
      { ...observed, nowMs: 10_000 + ageMs },
      trial === undefined ? undefined : { before, elapsedMs: trial },
    );
    return verdict.verdict === 'Yes' ? 'Yes' : `${verdict.verdict} ${verdict.reason}`;
  };
  assert.equal(look(1_000), 'Unknown Restarting');
  assert.equal(look(5_000), 'Yes');
  assert.equal(look(1_000, 500), 'Unknown Restarting', 'it was restarted before the trial');
  assert.equal(look(1_000, 2_000), 'No CrashLoop');
  assert.equal(look(1_000, undefined, { restarts: 0 }), 'Yes', 'its age is the gate’s to judge');
});

const NOTHING_ELSE = {
  files: [],
  leftovers: [],
  foreign: [],
  also: [],
  definition: undefined,
  changedAtMs: 0,
} as const;

test('one whose main process was stopped by a signal does not run, whatever its manager says', () => {
  const unit = { ...RUNNING, freezer: 'stopped', mainPID: 42 };
  const verdict = assess(desired({}), { unit, ...NOTHING_ELSE, nowMs: 100_000 });
  assert.equal(verdict.verdict, 'No');
  assert.match('evidence' in verdict ? verdict.evidence : '', /kill -CONT 42/);
});

test('one that rests is started at once when its unit file or its program was changed since it ended', () => {
  const unit: UnitState = {
    ...RUNNING,
    activeState: 'failed',
    endedItself: true,
    livedMs: 3_000,
    inactiveSinceMs: 50_000,
  };
  const rests = (changedAtMs: number) =>
    restUntilMs(desired({ heal: true }), { unit, nowMs: 60_000, changedAtMs });
  assert.equal(rests(0), 110_000);
  assert.equal(rests(50_000), 110_000, 'what it was started with');
  assert.equal(rests(50_001), undefined);
});

const WAS = { found: true, masked: false, enabled: true, running: true };

test('what counts as running', () => {
  const facts = (unit: Partial<UnitState>, memory?: Memory) => ({
    running: isRunning({ ...RUNNING, ...unit }),
    done: isDone({ ...RUNNING, ...unit }, memory),
  });
  assert.equal(facts({}).running, true);
  assert.equal(facts({ activeState: 'reloading' }).running, true);
  assert.equal(facts({ activeState: 'activating', subState: 'auto-restart' }).running, false);
  assert.equal(facts({ activeState: 'activating', subState: 'start' }).running, false);
  const oneshot = { serviceType: 'oneshot', activeState: 'inactive', subState: 'dead' } as const;
  assert.equal(facts(oneshot).done, true);
  assert.equal(facts({ ...oneshot, invocationID: '' }).done, false, 'it never ran');
  const memory = { invocationID: 'aa', inputs: {}, unitDigest: '' };
  assert.equal(facts({ ...oneshot, invocationID: '' }, memory).done, true, 'systemd forgot it, we did not');
  assert.equal(facts({ ...oneshot, result: 'exit-code' }).done, false);
});

test('the programs of a unit file, without prefixes and quotes', () => {
  const unit =
    '[Service]\nExecStartPre=-/bin/a x\nExecStart=!!/usr/bin/b --flag\n ExecStop = "/opt/my app/c" y\n#Exec=/no\n';
  assert.deepEqual(programsOf(unit), ['/bin/a', '/usr/bin/b', '/opt/my app/c']);
});

test('only files that change a unit from above are foreign', () => {
  const files = {
    read: (p: string) => ({ type: p.startsWith('/lib') || p.startsWith('/etc') ? 'file' : 'absent' }),
  };
  const of = (spec: ServiceSpec, unit: Partial<UnitState>) =>
    foreignFiles(spec, { ...RUNNING, ...unit }, files as never, ownPaths(spec));
  const dropIns = [
    `/lib/systemd/system/${UNIT}.d/vendor.conf`,
    `/etc/systemd/system/${UNIT}.d/ours.conf`,
    `/etc/systemd/system/${UNIT}.d/override.conf`,
    `/etc/systemd/system/service.d/all.conf`,
  ];
  const fragmentPath = `/etc/systemd/system/${UNIT}`;
  const ours = { unit: UNIT, dropIns: { 'ours.conf': {} } };
  assert.deepEqual(of(ours, { dropInPaths: dropIns }), [dropIns[2]]);
  assert.deepEqual(of(ours, { fragmentPath }), [fragmentPath], 'a copy above the package’s');
  assert.deepEqual(of({ ...ours, unitFile: {} }, { fragmentPath }), []);
});

test('mistakes of a spec are told together', () => {
  const check = (spec: object) =>
    (service.check?.({ unit: UNIT, ...spec }) ?? []).map(({ path }) => path.join('.'));
  assert.deepEqual(check({}), []);
  assert.deepEqual(check({ command: ['/x'], unitFile: {} }), ['command', 'unitFile']);
  assert.deepEqual(check({ masked: true, enabled: true }), ['masked', 'enabled']);
  assert.deepEqual(check({ manager: 'supervised', unitFile: {} }), ['unitFile', 'manager']);
  assert.deepEqual(check({ manager: 'supervised', command: ['x'] }), ['command.0']);
});

test('of a supervised unit’s environment the differing variables are named, and no value is shown', () => {
  const env = { A: 'new', B: 'b' };
  const d = desired({ spec: { unit: 'x.service', manager: 'supervised', command: ['/bin/x'], env } });
  const text = (command: string, env: object) => JSON.stringify({ command: [command], env, enabled: true });
  assert.deepEqual(definitionChanges(d, text('/bin/x', { A: 'new', B: 'b' })), []);
  assert.deepEqual(definitionChanges(d, text('/bin/x', { A: 'old', B: 'b', C: 'c' })), [
    { what: 'environment (A, C)', from: 'other values', to: 'as wanted' },
  ]);
  assert.deepEqual(definitionChanges(d, text('/bin/y', { A: 'new', B: 'b' })), [
    { what: 'command', from: '/bin/y', to: '/bin/x' },
  ]);
});

test('what writes a unit asks for it in words', () => {
  const permissions = (spec: object) =>
    service.permissions({ unit: UNIT, ...spec }).map(({ type, value }) => `${type} ${value}`);
  assert.deepEqual(permissions({}), [`unit ${UNIT}`]);
  assert.deepEqual(permissions({ unitFile: { content: text('/bin/one') } }), [
    `unit ${UNIT}`,
    `root-equivalent unit-file:${UNIT}`,
  ]);
  assert.deepEqual(permissions({ manager: 'supervised', command: ['/bin/one'] }), [
    `unit ${UNIT}`,
    `root-equivalent command:${UNIT}`,
  ]);
});
