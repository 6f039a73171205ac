// What an engine's picture of a container says about it, without an engine: test/contract has real ones.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container } from '../../../kinds/docker-engine.ts';
import { backoffMs, logOf, verdictOf } from '../../../kinds/docker-verdict.ts';
import type { Docker } from '../../../kinds/ports.ts';

const START = Date.parse('2026-01-01T00:00:00Z');
const at = (seconds: number) => new Date(START + seconds * 1000).toISOString();

interface Picture {
  readonly status?: string;
  readonly exitCode?: number;
  readonly outOfMemory?: boolean;
  readonly restarts?: number;
  /** In seconds after START. */
  readonly started?: number;
  readonly finished?: number;
  readonly health?: 'none' | 'starting' | 'healthy' | 'unhealthy';
  readonly probe?: number;
  readonly policy?: string;
  readonly retries?: number;
}

function picture(p: Picture = {}): Container {
  const status = p.status ?? 'running';
  return {
    Id: 'id',
    Name: '/web',
    Image: 'sha256:1',
    RestartCount: p.restarts ?? 0,
    State: {
      Status: status,
      Running: ['running', 'restarting', 'paused'].includes(status),
      Paused: status === 'paused',
      Restarting: status === 'restarting',
      OOMKilled: p.outOfMemory ?? false,
      Pid: 1,
      ExitCode: p.exitCode ?? 0,
      Error: '',
      StartedAt: at(p.started ?? 0),
      FinishedAt: p.finished === undefined ? '0001-01-01T00:00:00Z' : at(p.finished),
      ...(p.health === undefined
        ? {}
        : { Health: { Status: p.health, Log: [{ ExitCode: p.probe ?? 1, Output: 'refused\n' }] } }),
    },
    Config: { Image: 'web:1', Env: null, Labels: null },
    HostConfig: {
      NetworkMode: 'none',
      RestartPolicy: { Name: p.policy ?? 'always', MaximumRetryCount: p.retries ?? 0 },
    },
    NetworkSettings: { Networks: null },
    Mounts: [],
  };
}

const verdict = (now: number, p: Picture, trial?: { restarts: number }) =>
  verdictOf({ name: 'web', container: picture(p), nowMs: START + now * 1000, log: 'its words' }, trial);
/** `No CrashLoop` */
const short = (...args: Parameters<typeof verdict>) => {
  const { verdict: is, ...rest } = verdict(...args);
  return 'reason' in rest ? `${is} ${rest.reason}` : is;
};
const again = (...args: Parameters<typeof verdict>) => {
  const found = verdict(...args);
  return 'againMs' in found ? found.againMs : undefined;
};

test('one that runs is Yes, with its run, which another start ends', () => {
  assert.deepEqual(verdict(12, {}), { verdict: 'Yes', run: { id: `id ${at(0)}`, ageMs: 12_000 } });
  const restarted = verdict(12, { started: 5 });
  assert.deepEqual(restarted, { verdict: 'Yes', run: { id: `id ${at(5)}`, ageMs: 7_000 } });
  const clockWentBack = verdict(-30, {});
  assert.ok('run' in clockWentBack && clockWentBack.run?.ageMs === 0);
});

test('one that the engine starts again and again is No, in every moment of it, without any memory', () => {
  assert.equal(short(10, { status: 'restarting', restarts: 3, exitCode: 3 }), 'No CrashLoop');
  assert.equal(short(10, { restarts: 4, started: 9, finished: 8 }), 'No CrashLoop');
  assert.equal(again(10, { restarts: 4, started: 9, finished: 8 }), 59_000);
  assert.equal(short(69, { restarts: 4, started: 9, finished: 8 }), 'Yes', 'it has run for a minute');
  const found = verdict(10, { status: 'restarting', restarts: 3, exitCode: 3 });
  assert.match('evidence' in found ? found.evidence : '', /exit code 3.*3 times; it wrote:\nits words$/s);
});

test('a change is blamed for what happened since, and not for what was before', () => {
  assert.equal(short(500, { restarts: 1 }, { restarts: 0 }), 'No CrashLoop', 'however long it ran since');
  assert.equal(short(500, { restarts: 7 }, { restarts: 7 }), 'Yes');
  assert.equal(short(5, { restarts: 7 }, { restarts: 7 }), 'Unknown CrashLoop');
  assert.equal(short(5, { restarts: 8 }, { restarts: 7 }), 'No CrashLoop');
  assert.equal(
    short(5, { status: 'exited', policy: 'no', exitCode: 2, finished: 1 }, { restarts: 0 }),
    'No Exited',
  );
});

test('a healthcheck has the last word', () => {
  assert.equal(short(90, { health: 'starting' }), 'Unknown HealthStarting');
  assert.equal(short(90, { health: 'starting' }, { restarts: 0 }), 'Unknown HealthStarting');
  assert.equal(short(90, { health: 'healthy' }), 'Yes');
  assert.equal(short(90, { health: 'none' }), 'Yes');
  const ill = verdict(90, { health: 'unhealthy' });
  assert.match('evidence' in ill ? ill.evidence : '', /unhealthy: .*exit code 1: refused/);
  assert.equal(short(90, { health: 'unhealthy', probe: 0 }), 'Unknown HealthStarting', 'just after a pause');
});

test('one that nobody else starts is left for a minute after a run that was short', () => {
  const wait = (now: number, p: Picture) =>
    backoffMs(picture({ status: 'exited', policy: 'no', exitCode: 3, ...p }), START + now * 1000);
  assert.equal(wait(11, { finished: 10 }), 59_000);
  assert.equal(wait(71, { finished: 10 }), 0);
  assert.equal(wait(61, { finished: 60 }), 0, 'it had run for a minute');
  assert.equal(wait(11, { finished: 10, exitCode: 0 }), 59_000);
  assert.equal(wait(-500, { finished: 10 }), 60_000, 'a clock that went back does not make it wait longer');
  for (const exitCode of [130, 137, 143])
    assert.equal(wait(11, { finished: 10, exitCode }), 0, 'stopped by hand');
  assert.equal(wait(11, { finished: 10, exitCode: 137, outOfMemory: true }), 59_000);
  assert.equal(wait(11, { finished: 10, policy: 'always' }), 0, 'the engine starts it unless it was stopped');
  assert.equal(wait(11, { finished: 10, policy: 'unless-stopped' }), 0);
  assert.equal(wait(11, { finished: 10, policy: 'on-failure' }), 0);
  assert.equal(wait(11, { finished: 10, policy: 'on-failure', exitCode: 0 }), 59_000);
  assert.equal(wait(11, { finished: 10, policy: 'on-failure', retries: 3 }), 59_000, 'the engine gave up');
  assert.equal(wait(11, { status: 'running', finished: 10 }), 0);
  const found = verdict(11, { status: 'exited', policy: 'no', exitCode: 3, finished: 10 });
  assert.ok('againMs' in found && found.reason === 'CrashLoop' && found.againMs === 59_000);
});

test('what it wrote is read where it is not well: beginning and end, and no secret', async () => {
  let reads = 0;
  const text = `first ${'x'.repeat(5000)} hush last`;
  const logs = async () => {
    reads += 1;
    return text;
  };
  const docker = { logs } as Partial<Docker> as Docker;
  const read = (p: Picture) =>
    logOf(
      { name: 'web', container: picture(p), nowMs: START },
      docker,
      ['hush', ''],
      new AbortController().signal,
    );
  assert.equal(await read({}), '');
  assert.equal(await read({ health: 'starting' }), '');
  assert.equal(reads, 0);
  const log = await read({ status: 'restarting' });
  assert.match(log, /^first x+\n\[…\]\nx+ \[secret\] last$/);
  assert.ok(log.length < 2048);
});
