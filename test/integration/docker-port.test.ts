// The port to a Docker engine, with a real engine.
import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { createDocker } from '../../agent/providers/docker.ts';
import { DOCKER, require } from '../support/capabilities.ts';
import { startDockerd, type TestEngine } from '../support/dockerd.ts';
import { eventually } from '../support/eventually.ts';

const CALL = { timeoutMs: 30_000 };
let engine: TestEngine | undefined;

before(async () => {
  if (DOCKER.missing() === undefined) engine = await startDockerd();
  await engine?.image('test/box:1');
});
after(() => engine?.stop());

function port(t: TestContext) {
  const docker = createDocker(engine!.address);
  t.after(() => docker.close());
  return docker;
}

test('a container is created, started, looked at, and its output read', async (t) => {
  if (!require(t, DOCKER)) return;
  const docker = port(t);
  const { engine: version, api } = await docker.version();
  assert.match(version, /^\d+\.\d+/);
  assert.match(api, /^1\.\d+$/);
  const created = await docker.request('POST', '/containers/create', {
    ...CALL,
    query: { name: 'speaker' },
    body: {
      Image: 'test/box:1',
      Cmd: ['sh', '-c', 'echo one; echo two >&2; echo übrig'],
      HostConfig: { NetworkMode: 'none' },
    },
  });
  assert.equal(created.status, 201, created.body);
  assert.equal((await docker.request('POST', '/containers/speaker/start', CALL)).status, 204);
  const waited = await docker.request('POST', '/containers/speaker/wait', CALL);
  assert.equal(JSON.parse(waited.body).StatusCode, 0);
  const lines = (await docker.logs('speaker', 10)).trim().split('\n');
  assert.deepEqual(lines.toSorted(), ['one', 'two', 'übrig']);
  const filters = { name: ['^/speaker$'] };
  const { body } = await docker.request('GET', '/containers/json', {
    ...CALL,
    query: { all: true, filters },
  });
  assert.equal(JSON.parse(body).length, 1);
  assert.equal((await docker.request('GET', '/containers/nobody/json', CALL)).status, 404);
  await engine!.docker('rm', '-f', 'speaker');
});

test('a watch arms, wakes for its own container only, and dies with the engine', async (t) => {
  if (!require(t, DOCKER)) return;
  const docker = port(t);
  const ending = new AbortController();
  let wakes = 0;
  const watch = docker.watch(
    { type: ['container'], container: ['watched'] },
    () => {
      wakes += 1;
    },
    ending.signal,
  );
  await eventually(() => assert.ok(wakes >= 1));
  const armed = wakes;
  await engine!.docker('run', '-d', '--network=none', '--name=other', 'test/box:1');
  await engine!.docker('run', '-d', '--network=none', '--name=watched', 'test/box:1');
  await eventually(() => assert.ok(wakes >= armed + 2, `${wakes}`)); // create and start
  const before = wakes;
  await engine!.docker('rm', '-f', 'other');
  await engine!.docker('kill', 'watched');
  await eventually(() => assert.ok(wakes >= before + 2, `${wakes}`)); // kill and die
  assert.ok(wakes <= before + 3, 'what happens to another container is no reason to wake');
  const died = assert.rejects(watch);
  await engine!.restart();
  await died;
  assert.equal(JSON.parse((await docker.request('GET', '/info', CALL)).body).Containers, 1);
  await engine!.docker('rm', '-f', 'watched');
});

test('an aborted watch ends without an error; a pull that can’t be had is told in the engine’s words', async (t) => {
  if (!require(t, DOCKER)) return;
  const docker = port(t);
  const ending = new AbortController();
  const watch = docker.watch({ type: ['image'] }, () => ending.abort(), ending.signal);
  await watch;
  const signal = AbortSignal.timeout(30_000);
  // Nobody listens there, which stands for a registry that can't be reached.
  const pull = await docker.pull('127.0.0.1:9/no/image:1', { waitMs: 20_000, signal });
  assert.equal(pull.state, 'failed');
  assert.match(pull.state === 'failed' ? pull.why : '', /127\.0\.0\.1:9/);
});
