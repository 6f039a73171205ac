// Container with a real engine, broken with docker's own program, as timelines. Two containers that are not ours
// run on beside it in every test, with their process ids.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, type TestContext, test } from 'node:test';
import { createDocker } from '../../agent/providers/docker.ts';
import { DOCKER, require } from '../support/capabilities.ts';
import { startDockerd, type TestEngine } from '../support/dockerd.ts';
import { eventually } from '../support/eventually.ts';
import { resource, Timeline } from '../support/timeline.ts';

const KEY = 'Container/alloy';
const PENNIES = ['penny-backtest', 'penny-web'];
const OPTIONS = { timeout: 180_000 };
let engine: TestEngine;

before(async () => {
  if (DOCKER.missing() !== undefined) return;
  engine = await startDockerd();
  await engine.image('test/alloy:1', [
    'ENTRYPOINT ["/sbin/tini", "--"]',
    'CMD ["sleep", "100000"]',
    'ENV RELEASE=1',
  ]);
  await engine.image('test/alloy:2', [
    'ENTRYPOINT ["/sbin/tini", "--"]',
    'CMD ["sleep", "100000"]',
    'ENV RELEASE=2',
  ]);
  for (const name of PENNIES) {
    await engine.docker('run', '-d', '--network=none', '--restart=always', `--name=${name}`, 'test/alloy:1');
  }
});
after(() => engine?.stop());

const pids = () =>
  engine.docker('inspect', '--format', '{{.Name}} {{.State.Pid}} {{.State.StartedAt}}', ...PENNIES);
const names = async () =>
  (await engine.docker('ps', '--all', '--format', '{{.Names}}'))
    .split('\n')
    .filter((name) => !PENNIES.includes(name));
const show = async (format: string, name = 'alloy') => engine.docker('inspect', '--format', format, name);
const state = () =>
  show('{{.State.Status}} {{.Name}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.Memory}}');

const spec = (more: object = {}) => ({
  name: 'alloy',
  image: 'test/alloy:1',
  network: 'none',
  memory: '64m',
  ...more,
});

async function begin(t: TestContext) {
  const pennies = { ids: await pids() };
  const docker = createDocker(engine.address);
  const line = new Timeline(t, { ports: { docker }, withinMs: 60_000 });
  t.after(async () => {
    await line.stop();
    await docker.close();
    const left = await names();
    if (left.length > 0 && left[0] !== '') await engine.docker('rm', '-f', ...left);
    assert.equal(await pids(), pennies.ids, 'containers that are not ours were touched');
  });
  const assign = (more: object = {}, document: object = {}) =>
    line.assign(resource('Container', 'alloy', spec(more), document));
  return { line: line.start(), assign, pennies, docker };
}

test(
  'it comes up from nothing, every tampering is healed, and removal leaves nothing',
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { line, assign } = await begin(t);
    assign({ mounts: [{ type: 'volume', source: 'alloy-data', target: '/data' }], labels: { team: 'ops' } });
    await line.expect(KEY, 'True');
    const right = 'running /alloy always 67108864';
    assert.equal(await state(), right);
    assert.equal(
      await show('{{index .Config.Labels "dev.homeostat.resource"}} {{.Config.Labels.team}}'),
      `${KEY} ops`,
    );

    const tampering: readonly (readonly string[])[] = [
      ['rm', '-f', 'alloy'],
      ['stop', 'alloy'],
      ['kill', 'alloy'],
      ['pause', 'alloy'],
      ['rename', 'alloy', 'something-else'],
      ['update', '--restart=no', 'alloy'],
      ['update', '--memory=128m', '--memory-swap=-1', 'alloy'],
    ];
    for (const command of tampering) {
      const before = line.status(KEY).healedTotal;
      await engine.docker(...command);
      await eventually(async () => {
        assert.ok(line.status(KEY).healedTotal > before, `docker ${command.join(' ')}`);
        assert.equal(await state(), right);
      }, 60_000);
    }
    assert.deepEqual(await names(), ['alloy']);
    await line.expect(KEY, 'True');

    line.assign();
    await line.expectGone(KEY);
    assert.deepEqual(await names(), []);
    assert.match(await engine.docker('volume', 'ls', '--quiet'), /alloy-data/, 'data stays');
    await engine.docker('volume', 'rm', 'alloy-data');
  },
);

test('a directory that it has mounted goes, and another one takes its place', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const { line, assign } = await begin(t);
  const source = line.path('/srv/conf');
  const write = (text: string) => {
    fs.mkdirSync(source, { recursive: true });
    fs.writeFileSync(`${source}/a`, text);
  };
  write('first');
  assign({ mounts: [{ type: 'bind', source: '/srv/conf', target: '/conf', readOnly: true }] });
  await line.expect(KEY, 'True');
  const first = await show('{{.State.StartedAt}}');
  write('edited');
  line.agent.reconcile();
  await line.agent.idle();
  assert.equal(await show('{{.State.StartedAt}}'), first, 'what is in it is none of its start');
  fs.rmSync(source, { recursive: true });
  line.agent.reconcile();
  await line.expect(KEY, 'False', 'MountMissing');
  write('second');
  line.agent.reconcile();
  await line.expect(KEY, 'True');
  assert.equal(await engine.docker('exec', 'alloy', 'cat', '/conf/a'), 'second');
});

test(
  'a change replaces it; one that does not stay up is undone, and what ran before runs again',
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { line, assign } = await begin(t);
    assign();
    await line.expect(KEY, 'True');
    const first = await show('{{.Id}}');
    assign({ image: 'test/alloy:2' });
    await eventually(async () => assert.equal(line.condition(KEY, 'Ready')?.status, 'True'), 60_000);
    await eventually(async () => assert.notEqual(await show('{{.Id}}'), first), 60_000);
    await eventually(async () => {
      const { runningDigest, desiredDigest } = line.status(KEY);
      assert.equal(runningDigest, desiredDigest);
      assert.deepEqual(await names(), ['alloy'], 'the old one goes when the new one is confirmed');
    }, 60_000);
    const second = await show('{{.Id}}');

    assign({ image: 'test/alloy:2', command: ['sh', '-c', 'echo cannot read config.alloy; exit 3'] });
    await eventually(async () => {
      const ready = line.condition(KEY, 'Ready');
      assert.equal(ready?.reason, 'RolledBack', ready?.message ?? 'no condition');
      assert.match(ready?.message ?? '', /(?:exit code 3|started it again)[\s\S]*cannot read config\.alloy/);
    }, 60_000);
    assert.equal(await show('{{.Id}}'), second);
    assert.equal(await state(), 'running /alloy always 67108864');
    assert.deepEqual(await names(), ['alloy']);

    // What the engine refuses outright never stops the old one.
    const started = await show('{{.State.StartedAt}}');
    assign({ image: 'test/alloy:2', capAdd: ['NO_SUCH_CAPABILITY'] });
    await eventually(
      () => assert.match(line.condition(KEY, 'Ready')?.message ?? '', /NO_SUCH_CAPABILITY/i),
      60_000,
    );
    assert.equal(await show('{{.State.StartedAt}}'), started);
    await engine.docker('rm', '-f', 'alloy');
    await eventually(
      async () => assert.equal(await show('{{.Config.Image}} {{.State.Status}}'), 'test/alloy:2 running'),
      60_000,
    );
    assert.equal(
      line.condition(KEY, 'Ready')?.status,
      'False',
      'the confirmed state stands in, and is no success',
    );
  },
);

test('a healthcheck is waited for, and one that fails undoes the change', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const { line, assign } = await begin(t);
  const check = { command: ['cat', '/tmp/well'], intervalSeconds: 0.2, timeoutSeconds: 5, retries: 3 };
  const command = (text: string) => ['sh', '-c', `${text}; exec sleep 100000`];
  assign({ command: command('touch /tmp/well'), healthcheck: check });
  await eventually(() => assert.equal(line.condition(KEY, 'Ready')?.status, 'True'), 60_000);
  assert.equal(await show('{{.State.Health.Status}}'), 'healthy');
  const good = await show('{{.Id}}');
  assign({ command: command('true'), healthcheck: check });
  await eventually(() => {
    const ready = line.condition(KEY, 'Ready');
    assert.equal(ready?.reason, 'RolledBack', ready?.message ?? 'no condition');
    assert.match(
      ready?.message ?? '',
      /Unhealthy: alloy is unhealthy: its healthcheck ends with exit code 1: .*\/tmp\/well/,
    );
  }, 60_000);
  assert.equal(await show('{{.Id}} {{.State.Running}}'), `${good} true`);
});

test(
  'one that the engine has to start again is not ready, also for an agent that is new',
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { line, assign, docker } = await begin(t);
    assign();
    await line.expect(KEY, 'True');
    const loops = (of: Timeline) =>
      eventually(() => {
        const ready = of.condition(KEY, 'Ready');
        assert.equal(ready?.status, 'False');
        assert.match(ready.message, /alloy ended, and the engine has started it again once/);
        assert.equal(ready.reason, 'CrashLoop');
      }, 60_000);
    // Not waited for: what runs beside a process that ends is killed with it.
    await engine.docker('exec', '--detach', 'alloy', 'sh', '-c', 'kill -TERM 1');
    await loops(line);
    await line.stop();
    const next = new Timeline(t, { ports: { docker }, directory: line.directory, withinMs: 60_000 }).start();
    next.assign(resource('Container', 'alloy', spec()));
    await loops(next);
    assert.equal(await show('{{.RestartCount}}'), '1');
    // By hand, which the engine does not count.
    await engine.docker('restart', '--time=1', 'alloy');
    await next.expect(KEY, 'True');
    await next.stop();
  },
);

test(
  'a stranger’s container is left alone, or adopted when told, and comes back at removal',
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { line, assign } = await begin(t);
    await engine.docker(
      'run',
      '-d',
      '--network=none',
      '--restart=unless-stopped',
      '--name=alloy',
      'test/alloy:1',
    );
    const theirs = '{{.Id}} {{.State.Status}} {{.HostConfig.RestartPolicy.Name}}';
    const before = await show(`${theirs} {{.State.Pid}}`);
    assign();
    await line.expect(KEY, 'False', 'NotOurs');
    assert.match(line.condition(KEY, 'Ready')!.message, /adopt: true/);
    assert.equal(await show(`${theirs} {{.State.Pid}}`), before);

    assign({ adopt: true });
    await eventually(() => assert.equal(line.condition(KEY, 'Ready')?.status, 'True'), 60_000);
    assert.equal(await state(), 'running /alloy always 67108864');
    const id = before.split(' ')[0] ?? '';
    assert.equal(await show(theirs, id), `${id} exited no`, 'it is kept, and the engine does not start it');
    line.assign();
    await line.expectGone(KEY);
    assert.equal(await show(theirs), before.split(' ').slice(0, 3).join(' '));
    assert.deepEqual(await names(), ['alloy']);
  },
);

test('what was kept is made again when somebody has removed it', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const { line, assign } = await begin(t);
  await engine.docker(
    'run',
    '-d',
    '--network=none',
    '--memory=32m',
    '-e',
    'COLOR=red',
    '--name=alloy',
    'test/alloy:2',
  );
  assign({ adopt: true });
  await line.expect(KEY, 'True');
  // As a timer on many hosts does it; it spares what runs.
  await engine.docker('container', 'prune', '--force');
  assert.deepEqual(await names(), ['alloy']);
  line.assign();
  await line.expectGone(KEY);
  assert.equal(await state(), 'running /alloy no 33554432');
  assert.equal(await engine.docker('exec', 'alloy', 'sh', '-c', 'echo $COLOR $RELEASE'), 'red 2');
  assert.deepEqual(await names(), ['alloy']);
});

test('an image that can’t be had parks the change; what runs is kept up meanwhile', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const { line, assign } = await begin(t);
  assign();
  await line.expect(KEY, 'True');
  assign({ image: 'test/alloy:99', pull: 'never' });
  await line.expect(KEY, 'False', 'ImageNotFound');
  await engine.docker('rm', '-f', 'alloy');
  await eventually(
    async () => assert.equal(await show('{{.Config.Image}} {{.State.Status}}'), 'test/alloy:1 running'),
    60_000,
  );

  // Nobody listens there, which stands for a registry that can't be reached.
  assign({ image: '127.0.0.1:9/alloy:1' });
  await line.expect(KEY, 'False', 'PullFailed');
  assert.match(line.condition(KEY, 'Ready')!.message, /127\.0\.0\.1:9/);
  await engine.docker('rm', '-f', 'alloy');
  await eventually(
    async () => assert.equal(await show('{{.Config.Image}} {{.State.Status}}'), 'test/alloy:1 running'),
    60_000,
  );

  // A tag that is moved replaces nothing, and what is healed is what was confirmed.
  assign();
  await line.expect(KEY, 'True');
  const image = await show('{{.Image}}');
  await engine.docker('tag', 'test/alloy:1', 'test/alloy:kept');
  await engine.docker('tag', 'test/alloy:2', 'test/alloy:1');
  try {
    await engine.docker('rm', '-f', 'alloy');
    await eventually(
      async () => assert.equal(await show('{{.Image}} {{.State.Status}}'), `${image} running`),
      60_000,
    );
  } finally {
    await engine.docker('tag', 'test/alloy:kept', 'test/alloy:1');
  }
});

test('a secret reaches the container and nothing else; a changed one replaces it', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const { line, assign } = await begin(t);
  const file = `${line.directory}/token`;
  fs.writeFileSync(file, 'first-secret-value\n');
  assign({ env: { TOKEN: { secretFrom: { file } }, MODE: 'x' } });
  await line.expect(KEY, 'True');
  const env = () => engine.docker('exec', 'alloy', 'sh', '-c', 'echo $TOKEN $MODE');
  assert.equal(await env(), 'first-secret-value x');
  const first = await show('{{.Id}}');
  fs.writeFileSync(file, 'second-secret-value\n');
  line.agent.reconcile(KEY);
  await eventually(async () => {
    assert.notEqual(await show('{{.Id}}'), first);
    assert.equal(await env(), 'second-secret-value x');
    assert.equal(line.condition(KEY, 'Ready')?.status, 'True');
  }, 60_000);
  assert.doesNotMatch(await show('{{json .Config.Labels}}'), /secret-value/);
  assert.doesNotMatch(JSON.stringify(line.agent.status()), /secret-value/);
  assert.doesNotMatch(JSON.stringify(await line.agent.plan()), /secret-value/);
  for (const entry of fs.readdirSync(`${line.directory}/state`, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    assert.doesNotMatch(
      fs.readFileSync(`${entry.parentPath}/${entry.name}`, 'utf8'),
      /secret-value/,
      entry.name,
    );
  }
});

test('it is started anew when a file that it reads was changed, and once only', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const { line } = await begin(t);
  const both = (content: string) =>
    line.assign(
      resource('File', 'settings', { path: '/etc/settings', content }),
      resource('Container', 'alloy', spec({ restartOn: ['File/settings'] })),
    );
  both('one');
  await line.expect(KEY, 'True');
  const first = await show('{{.Id}} {{.State.StartedAt}}');
  both('two');
  await eventually(async () => assert.notEqual(await show('{{.Id}} {{.State.StartedAt}}'), first), 60_000);
  const second = await show('{{.Id}} {{.State.StartedAt}}');
  assert.equal(second.split(' ')[0], first.split(' ')[0], 'the same container');
  line.agent.reconcile(KEY);
  await line.agent.idle();
  assert.equal(await show('{{.Id}} {{.State.StartedAt}}'), second);
});

test('an engine that is away is waited for, and one that is back is watched again', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const { line, assign, pennies } = await begin(t);
  assign();
  await line.expect(KEY, 'True');
  await engine.restart();
  pennies.ids = await eventually(async () => {
    assert.notEqual(await pids(), pennies.ids, 'the engine’s own end stops what runs on it');
    return pids();
  }, 60_000);
  await eventually(async () => assert.equal(await state(), 'running /alloy always 67108864'), 60_000);
  // By event, not by the resync in ten minutes.
  await eventually(async () => {
    await engine.docker('rm', '-f', 'alloy').catch(() => undefined);
    await eventually(async () => assert.match(await state(), /^running/), 10_000);
  }, 60_000);
  await line.expect(KEY, 'True');
});
