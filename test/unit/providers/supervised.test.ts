// The supervised manager, with real processes.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../../agent/providers/clock.ts';
import { processesWithEnvironment, startTimeOf } from '../../../agent/providers/process-identity.ts';
import { createSupervised } from '../../../agent/providers/supervised.ts';
import { JobFailed } from '../../../kinds/ports.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

const quiet = { info: () => {}, warn: () => {} };
const UNIT = 'web.service';
const SLEEPER = ['/bin/sh', '-c', 'exec sleep 1000'];

function manager(t: TestContext, stateDir: string, more: object = {}) {
  const units = createSupervised({ stateDir, clock: systemClock, log: quiet, stopTimeoutMs: 300, ...more });
  t.after(() => units.close());
  return units;
}

function define(units: ReturnType<typeof createSupervised>, command: readonly string[], env = {}): void {
  units.define(UNIT, { command, env, enabled: true });
}

test('a unit is started, told, and stopped with its whole group', async (t) => {
  const units = manager(t, temporaryDirectory(t));
  assert.equal((await units.show(UNIT)).loadState, 'not-found');
  define(units, ['/bin/sh', '-c', 'sleep 1000 & echo $! >&2; wait']);
  await units.run('start', UNIT);
  const state = await units.show(UNIT);
  assert.deepEqual(
    [state.activeState, state.subState, state.unitFileState],
    ['active', 'running', 'enabled'],
  );
  assert.match(state.invocationID, /^[0-9a-f]{32}$/);
  const group = await eventually(() => {
    const pids = processesWithEnvironment(`HOMEOSTAT_INVOCATION=${state.invocationID}`);
    assert.equal(pids.length, 2);
    return pids;
  });
  await units.run('stop', UNIT);
  const stopped = await units.show(UNIT);
  assert.deepEqual([stopped.activeState, stopped.endedItself, stopped.restarts], ['inactive', false, 0]);
  assert.equal(stopped.livedMs, stopped.inactiveSinceMs - state.startedAtMs);
  await eventually(() => assert.deepEqual(group.map(startTimeOf), [undefined, undefined]));
});

test('one that ignores SIGTERM is killed', async (t) => {
  const directory = temporaryDirectory(t);
  const units = manager(t, directory);
  define(units, ['/bin/sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 0.05; done']);
  await units.run('start', UNIT);
  const log = path.join(directory, 'supervised', `${UNIT}.log`);
  await eventually(() => assert.match(fs.readFileSync(log, 'utf8'), /ready/));
  const { mainPID } = await units.show(UNIT);
  await units.run('stop', UNIT);
  assert.equal(startTimeOf(mainPID), undefined);
});

test('one that is killed is restarted, with a new invocation, and its watchers are woken', async (t) => {
  const units = manager(t, temporaryDirectory(t));
  define(units, SLEEPER);
  await units.run('start', UNIT);
  const before = await units.show(UNIT);
  const seen: string[] = [];
  const stop = new AbortController();
  const watching = units.watch(
    UNIT,
    () => void units.show(UNIT).then(({ subState }) => seen.push(subState)),
    stop.signal,
  );
  process.kill(before.mainPID, 'SIGKILL');
  const after = await eventually(async () => {
    const now = await units.show(UNIT);
    assert.equal(now.activeState, 'active');
    assert.notEqual(now.invocationID, before.invocationID);
    return now;
  });
  assert.notEqual(after.mainPID, before.mainPID);
  assert.deepEqual([after.restarts, after.endedItself, after.livedMs], [1, false, undefined]);
  assert.ok(after.inactiveSinceMs >= before.startedAtMs);
  assert.ok(seen.includes('auto-restart'), seen.join());
  stop.abort();
  await watching;
});

test('a program that is not there fails, in words', async (t) => {
  const units = manager(t, temporaryDirectory(t));
  define(units, ['/nonexistent/program']);
  await assert.rejects(units.run('start', UNIT), (error) => {
    assert.ok(error instanceof JobFailed);
    assert.match(error.message, /nonexistent\/program could not be started/);
    return true;
  });
  const failed = await units.show(UNIT);
  assert.deepEqual([failed.activeState, failed.endedItself, failed.livedMs], ['failed', true, 0]);
});

test('the next manager takes over what a stopped agent left running', async (t) => {
  const directory = temporaryDirectory(t);
  const first = manager(t, directory, { onClose: 'leave' });
  define(first, SLEEPER);
  await first.run('start', UNIT);
  const before = await first.show(UNIT);
  await first.close();
  const second = manager(t, directory);
  const after = await second.show(UNIT);
  assert.deepEqual(
    [after.activeState, after.mainPID, after.invocationID],
    ['active', before.mainPID, before.invocationID],
  );
  // It is nobody's child now, and its end is seen all the same.
  process.kill(after.mainPID, 'SIGKILL');
  await eventually(async () => {
    const now = await second.show(UNIT);
    assert.equal(now.activeState, 'active');
    assert.notEqual(now.mainPID, before.mainPID);
  });
});

test('an agent that is killed leaves one process, never two, whenever it is killed', async (t) => {
  const directory = temporaryDirectory(t);
  const program = path.join(import.meta.dirname, 'supervised-agent.ts');
  for (const moment of ['running', 'starting']) {
    const agent = spawn(process.execPath, [program, directory, moment], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(agent.stdout, 'data');
    agent.kill('SIGKILL');
    await once(agent, 'exit');
    const units = manager(t, directory);
    await units.run('start', UNIT);
    const { invocationID, mainPID } = await units.show(UNIT);
    const record = JSON.parse(units.definition(UNIT)!) as { env: Record<string, string> };
    assert.equal(processesWithEnvironment(`MARKER=${record.env['MARKER']}`).length, 1, moment);
    assert.ok(startTimeOf(mainPID) !== undefined);
    assert.match(invocationID, /^[0-9a-f]{32}$/);
    await units.undefine(UNIT);
    await eventually(() =>
      assert.equal(processesWithEnvironment(`MARKER=${record.env['MARKER']}`).length, 0),
    );
    await units.close();
  }
});

test('what it is defined as is sealed; one that can’t be read is defined anew, and its process is kept', async (t) => {
  const directory = temporaryDirectory(t);
  const first = manager(t, directory, { onClose: 'leave' });
  define(first, SLEEPER, { TOKEN: 'open sesame' });
  await first.run('start', UNIT);
  const { mainPID } = await first.show(UNIT);
  await first.close();
  const file = path.join(directory, 'supervised', `${UNIT}.unit.json`);
  assert.doesNotMatch(fs.readFileSync(file, 'utf8'), /sesame/);
  fs.rmSync(path.join(directory, 'seal.key'));
  const second = manager(t, directory);
  assert.equal(second.definition(UNIT), undefined);
  assert.equal((await second.show(UNIT)).mainPID, mainPID);
  define(second, SLEEPER, { TOKEN: 'open sesame' });
  assert.match(second.definition(UNIT)!, /sesame/);
});

test('a process id that now means another process is not taken for ours', async (t) => {
  const directory = temporaryDirectory(t);
  const first = manager(t, directory);
  define(first, SLEEPER);
  await first.run('start', UNIT);
  const file = path.join(directory, 'supervised', `${UNIT}.pid.json`);
  const record = JSON.parse(fs.readFileSync(file, 'utf8'));
  await first.close();
  // As after a reboot: the number is there, and is somebody else, namely us.
  fs.writeFileSync(file, JSON.stringify({ ...record, pid: process.pid }));
  const second = manager(t, directory);
  assert.equal((await second.show(UNIT)).activeState, 'inactive');
});

test('a masked unit is not started, and undefine leaves nothing', async (t) => {
  const directory = temporaryDirectory(t);
  const units = manager(t, directory);
  define(units, SLEEPER);
  await units.mask(UNIT);
  await assert.rejects(units.run('start', UNIT), /masked/);
  await units.unmask(UNIT);
  await units.run('start', UNIT);
  await units.undefine(UNIT);
  assert.equal((await units.show(UNIT)).loadState, 'not-found');
  assert.deepEqual(fs.readdirSync(path.join(directory, 'supervised')), []);
});
