// Container and its image: pulled by a real engine from a stand-in registry.
import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { systemClock } from '../../agent/providers/clock.ts';
import { createDocker } from '../../agent/providers/docker.ts';
import { DOCKER, require } from '../support/capabilities.ts';
import { startDockerd, type TestEngine } from '../support/dockerd.ts';
import { eventually } from '../support/eventually.ts';
import { imageTree, Registry } from '../support/registry.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { resource, Timeline } from '../support/timeline.ts';

const KEY = 'Container/alloy';
const CONFIG = { Cmd: ['sh', '-c', 'trap "exit 0" TERM; sleep 100000 & wait'] };
const OPTIONS = { timeout: 180_000 };
let engine: TestEngine;

before(async () => {
  if (DOCKER.missing() === undefined) engine = await startDockerd();
});
after(() => engine?.stop());

async function begin(t: TestContext) {
  const registry = await new Registry().start();
  const docker = createDocker(engine.address);
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() * 5 };
  const env: Record<string, string> = {};
  const line = new Timeline(t, { env, ports: { docker, clock }, withinMs: 60_000 });
  const directory = temporaryDirectory(t);
  t.after(async () => {
    await line.stop();
    await Promise.all([docker.close(), registry.stop()]);
    await engine.docker('rm', '-f', 'alloy').catch(() => undefined);
  });
  const repository = `${registry.address}/grafana/alloy`;
  const push = (tag: string, release = tag) => registry.push(tag, imageTree(directory, release), CONFIG);
  const assign = (image: string, more: object = {}) =>
    line.assign(resource('Container', 'alloy', { name: 'alloy', image, network: 'none', ...more }));
  const release = () => engine.docker('exec', 'alloy', 'cat', '/release');
  const pulls = () => registry.asked.filter((asked) => asked.includes('/manifests/')).length;
  return { line: line.start(), env, registry, repository, push, assign, release, pulls };
}

test('an image is pulled with its progress told, while what ran before is kept up', OPTIONS, async (t) => {
  if (!require(t, DOCKER)) return;
  const { line, registry, repository, push, assign, release } = await begin(t);
  push('v1');
  const digest = push('v2');
  assign(`${repository}:v1`);
  await eventually(() => assert.equal(line.condition(KEY, 'Ready')?.status, 'True'), 60_000);
  assert.equal(await release(), 'v1');

  registry.holdsBack = true;
  assign(`${repository}@${digest}`);
  await eventually(() => {
    const ready = line.condition(KEY, 'Ready');
    assert.equal(ready?.reason, 'Pulling', ready?.message ?? 'no condition');
    assert.match(ready?.message ?? '', /pulls \S+@sha256:\w+: 0\.\d of 1\.\d MiB in 1 layers so far/);
  }, 60_000);
  await engine.docker('rm', '-f', 'alloy');
  await eventually(async () => assert.equal(await release(), 'v1'), 60_000);
  registry.release();
  await eventually(async () => assert.equal(await release(), 'v2'), 60_000);
  await eventually(() => assert.equal(line.condition(KEY, 'Ready')?.status, 'True'), 60_000);
});

test(
  'a tag that the registry does not have parks the change; a policy says when it is asked',
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { line, repository, push, assign, release, pulls } = await begin(t);
    push('v1');
    assign(`${repository}:v1`);
    await eventually(() => assert.equal(line.condition(KEY, 'Ready')?.status, 'True'), 60_000);
    const once = pulls();
    assign(`${repository}:v1`, { env: { MODE: 'two' } });
    await eventually(
      async () => assert.equal(await engine.docker('exec', 'alloy', 'sh', '-c', 'echo $MODE'), 'two'),
      60_000,
    );
    assert.equal(pulls(), once, 'missing: it was here');

    assign(`${repository}:v9`);
    await eventually(
      () =>
        assert.equal(
          line.condition(KEY, 'Ready')?.reason,
          'ImageNotFound',
          line.condition(KEY, 'Ready')?.message ?? '',
        ),
      60_000,
    );
    assert.match(line.condition(KEY, 'Ready')!.message, /v9/);
    assert.equal(await release(), 'v1');

    push('v1', 'v1-mended');
    assign(`${repository}:v1`, { pull: 'always', env: { MODE: 'three' } });
    await eventually(async () => assert.equal(await release(), 'v1-mended'), 60_000);
    await eventually(() => assert.equal(line.condition(KEY, 'Ready')?.status, 'True'), 60_000);
  },
);

test(
  'an image that is not for everyone is pulled with a password; another one makes no other container',
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { line, env, registry, repository, push, assign, release } = await begin(t);
    registry.account = 'robot:pass/word+?~ü';
    push('private');
    const stalls = async (words: RegExp) => {
      await eventually(() => {
        const ready = line.condition(KEY, 'Ready');
        assert.equal(ready?.reason, 'ImageNotFound', ready?.message ?? 'no condition');
        assert.match(ready?.message ?? '', words);
      }, 60_000);
    };
    assign(`${repository}:private`);
    await stalls(/if it is not for everyone, name an account: registry: \{ username/);
    env['REGISTRY'] = 'wrong-password';
    const account = { registry: { username: 'robot', password: { secretFrom: { env: 'REGISTRY' } } } };
    assign(`${repository}:private`, account);
    await stalls(/asked as robot: is that account’s password right/);
    env['REGISTRY'] = 'pass/word+?~ü';
    line.agent.reconcile(KEY);
    await eventually(async () => assert.equal(await release(), 'private'), 60_000);
    await line.expect(KEY, 'True');
    const id = await engine.docker('inspect', '-f', '{{.Id}}', 'alloy');
    // Another password is no other container.
    env['REGISTRY'] = 'next-password';
    line.agent.reconcile(KEY);
    await eventually(() => {
      const { runningDigest, desiredDigest } = line.status(KEY);
      assert.equal(runningDigest, desiredDigest);
    }, 60_000);
    assert.equal(await engine.docker('inspect', '-f', '{{.Id}}', 'alloy'), id);
    assert.doesNotMatch(JSON.stringify(line.agent.status()), /-password|pass\/word/);
  },
);

test(
  'images that it had before go once another is confirmed, but for what any container has',
  OPTIONS,
  async (t) => {
    if (!require(t, DOCKER)) return;
    const { line, repository, push, assign, release } = await begin(t);
    for (const tag of ['v1', 'v2', 'v3', 'v4', 'v5']) push(tag);
    t.after(() => engine.docker('rm', '-f', 'other').catch(() => undefined));
    const images = async () =>
      (await engine.docker('images', '--format', '{{.Tag}}', repository)).split('\n').filter(Boolean).sort();
    const change = async (tag: string, more: object = {}) => {
      assign(`${repository}:${tag}`, { removeOldImages: true, stopTimeoutSeconds: 0, ...more });
      await eventually(async () => assert.equal(await release(), tag), 60_000);
      await line.expect(KEY, 'True');
    };
    await change('v1');
    await change('v2');
    await eventually(async () => assert.deepEqual(await images(), ['v2']), 60_000);
    // Another container has v2, stopped as it is. Of a change that fails, what is confirmed stays.
    await engine.docker('create', '--network=none', '--name=other', `${repository}:v2`);
    await change('v3');
    await eventually(async () => {
      assert.equal(await engine.docker('ps', '-aq', '--filter', 'name=homeostat-kept'), '');
      assert.deepEqual(await images(), ['v2', 'v3']);
    }, 60_000);
    assign(`${repository}:v4`, { removeOldImages: true, command: ['sh', '-c', 'exit 3'], restart: 'no' });
    await line.expect(KEY, 'False', 'RolledBack');
    assert.equal(await release(), 'v3');
    line.agent.reconcile(KEY);
    await eventually(async () => assert.deepEqual(await images(), ['v2', 'v3', 'v4']), 60_000);
    await change('v5');
    await eventually(async () => assert.deepEqual(await images(), ['v2', 'v4', 'v5']), 60_000);
    // Without the field they stay.
    await change('v1', { removeOldImages: undefined });
    await eventually(
      async () => assert.equal(await engine.docker('ps', '-aq', '--filter', 'name=homeostat-kept'), ''),
      60_000,
    );
    assert.deepEqual(await images(), ['v1', 'v2', 'v4', 'v5']);
  },
);
