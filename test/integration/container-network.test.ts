// Container on an engine that is alone in a network namespace: networks, published ports, and what is done to them by
// hand.
import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { systemClock } from '../../agent/providers/clock.ts';
import { createDocker } from '../../agent/providers/docker.ts';
import { DOCKER, require } from '../support/capabilities.ts';
import { startDockerd, type TestEngine } from '../support/dockerd.ts';
import { eventually } from '../support/eventually.ts';
import { resource, Timeline } from '../support/timeline.ts';

const KEY = 'Container/web';
let engine: TestEngine;

before(async () => {
  if (DOCKER.missing() !== undefined) return;
  engine = await startDockerd({ ownNetwork: true });
  await engine.image('test/web:1', ['ENTRYPOINT ["/sbin/tini", "--"]'], { '/www/index.html': 'it serves' });
  await engine.docker('network', 'create', '--subnet=198.18.7.0/24', 'mine');
  await engine.docker('network', 'create', '--subnet=198.18.8.0/24', 'theirs');
});
after(() => engine?.stop());

function begin(t: TestContext): Timeline {
  const docker = createDocker(engine.address);
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() * 5 };
  const line = new Timeline(t, { ports: { docker, clock }, withinMs: 60_000 }).start();
  t.after(async () => {
    await line.stop();
    await docker.close();
    await engine.docker('rm', '-f', 'web').catch(() => undefined);
  });
  return line;
}

test('it is in several networks, under its aliases there, and put back into them; an undo keeps them', {
  timeout: 180_000,
}, async (t) => {
  if (!require(t, DOCKER)) return;
  const line = begin(t);
  const spec = (more: object = {}) =>
    resource('Container', 'web', {
      name: 'web',
      image: 'test/web:1',
      pull: 'never',
      command: ['sleep', '100000'],
      networks: [{ name: 'mine', aliases: ['db', 'cache'] }, { name: 'theirs' }],
      ...more,
    });
  const show = async () => {
    const text = await engine.docker('inspect', '-f', '{{json .NetworkSettings.Networks}}', 'web');
    const networks = JSON.parse(text) as Record<string, { Aliases: string[] | null; IPAddress: string }>;
    return Object.entries(networks)
      .map(([name, { Aliases, IPAddress }]) => {
        assert.match(IPAddress, /^198\.18\./, name);
        const meant = ['cache', 'db'].filter((alias) => Aliases?.includes(alias));
        return [name, ...meant].join(' ');
      })
      .sort();
  };
  const right = ['mine cache db', 'theirs'];
  // Somebody else's container of this name, in the same networks, is replaced and comes back in them.
  await engine.docker(
    'run',
    '-d',
    '--network=mine',
    '--network-alias=db',
    '--name=web',
    'test/web:1',
    'sleep',
    '9',
  );
  await engine.docker('network', 'connect', 'theirs', 'web');
  line.assign(spec({ adopt: true }));
  await line.expect(KEY, 'True');
  assert.deepEqual(await show(), right);
  const id = await engine.docker('inspect', '-f', '{{.Id}}', 'web');

  await engine.docker('network', 'disconnect', 'theirs', 'web');
  await eventually(async () => assert.deepEqual(await show(), right), 60_000);
  await engine.docker('network', 'disconnect', 'mine', 'web');
  // It may be healed before that.
  await engine.docker('network', 'connect', '--alias=db', 'mine', 'web').catch(() => undefined);
  await eventually(async () => assert.deepEqual(await show(), right), 60_000);
  assert.equal(await engine.docker('inspect', '-f', '{{.Id}}', 'web'), id, 'the same container');

  // What was kept of theirs is removed by hand: it is made again, in its networks.
  const theirs = await engine.docker('ps', '-aq', '--filter', 'name=homeostat-kept');
  await engine.docker('rm', '-f', theirs);
  line.assign();
  await line.expectGone(KEY);
  assert.deepEqual(await show(), ['mine db', 'theirs']);
});

test('a port is published where it is said, and the network is kept as it is said', {
  timeout: 180_000,
}, async (t) => {
  if (!require(t, DOCKER)) return;
  const line = begin(t);
  const spec = (ports: string[]) => ({
    name: 'web',
    image: 'test/web:1',
    pull: 'never',
    command: ['httpd', '-f', '-h', '/www', '-p', '80'],
    network: 'mine',
    ports,
  });
  // busybox's wget, linked statically, can't look up names, and ends at the attempt.
  const fetch = async (address: string) => {
    const command = `printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc ${address.replace(':', ' ')}`;
    const answer = await engine.docker('run', '--rm', '--network=host', 'test/web:1', 'sh', '-c', command);
    return answer.split('\n').at(-1);
  };
  const networks = async () =>
    Object.keys(
      JSON.parse(await engine.docker('inspect', '-f', '{{json .NetworkSettings.Networks}}', 'web')),
    );

  line.assign(resource('Container', 'web', spec(['127.0.0.1:8080:80'])));
  await eventually(
    () =>
      assert.equal(line.condition(KEY, 'Ready')?.status, 'True', line.condition(KEY, 'Ready')?.message ?? ''),
    60_000,
  );
  await eventually(async () => assert.equal(await fetch('127.0.0.1:8080'), 'it serves'), 60_000);
  const id = await engine.docker('inspect', '-f', '{{.Id}}', 'web');

  await engine.docker('network', 'disconnect', 'mine', 'web');
  await eventually(async () => assert.deepEqual(await networks(), ['mine']), 60_000);
  await engine.docker('network', 'connect', 'theirs', 'web');
  line.agent.reconcile(KEY); // an event of a network that the spec does not name wakes nobody
  await eventually(async () => assert.deepEqual(await networks(), ['mine']), 60_000);
  assert.equal(await engine.docker('inspect', '-f', '{{.Id}}', 'web'), id, 'the same container');

  // A port that is taken is known only when the container starts: the old one comes back, and serves.
  await engine.docker(
    'run',
    '-d',
    '--network=host',
    '--name=other',
    'test/web:1',
    'httpd',
    '-f',
    '-p',
    '127.0.0.1:9090',
  );
  line.assign(resource('Container', 'web', spec(['127.0.0.1:9090:80'])));
  await eventually(() => {
    const ready = line.condition(KEY, 'Ready');
    assert.equal(ready?.reason, 'RolledBack', ready?.message ?? 'no condition');
    assert.match(ready?.message ?? '', /StartFailed: .*9090/);
  }, 60_000);
  assert.equal(await engine.docker('inspect', '-f', '{{.Id}}', 'web'), id);
  await eventually(async () => assert.equal(await fetch('127.0.0.1:8080'), 'it serves'), 60_000);
  line.assign();
  await line.expectGone(KEY);
});
