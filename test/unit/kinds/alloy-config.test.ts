// AlloyConfig, with a real agent and real files, against a fake Alloy.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../../agent/providers/clock.ts';
import { parseComponents, parseMetrics } from '../../../kinds/alloy-config/alloy-api.ts';
import { alloyConfig } from '../../../kinds/alloy-config/index.ts';
import { diagnostics } from '../../../kinds/alloy-config/validate.ts';
import { lineWith } from '../../support/alloy-line.ts';
import { RECORDINGS, require, SHARED_DATA } from '../../support/capabilities.ts';
import { eventually } from '../../support/eventually.ts';
import { type AlloyUnit, FakeAlloy } from '../../support/fake-alloy.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { resource, type Timeline } from '../../support/timeline.ts';

const KEY = 'AlloyConfig/alloy';

interface Setting {
  readonly line: Timeline;
  readonly alloy: FakeAlloy;
  readonly units: AlloyUnit;
  readonly config: string;
  assign(content: string, more?: object): void;
}

/** An agent whose gate does not take its time, beside an Alloy that runs `before`. */
function setting(t: TestContext, before?: string): Setting {
  const directory = temporaryDirectory(t);
  const config = path.join(directory, 'config.alloy');
  if (before !== undefined) fs.writeFileSync(config, before);
  const alloy = new FakeAlloy(config);
  if (before === undefined) alloy.running = false;
  else alloy.start();
  const { line, units } = lineWith(t, alloy);
  return {
    line,
    alloy,
    units,
    config,
    assign: (content, more = {}) =>
      void line.assign(resource('AlloyConfig', 'alloy', { path: config, content, ...more })),
  };
}

test('a config is validated, written, reloaded and confirmed', async (t) => {
  const { line, alloy, config, assign } = setting(t, '// before\n');
  assign('// ours\n');
  await line.expect(KEY, 'True', 'Applied');
  assert.equal(fs.readFileSync(config, 'utf8'), '// ours\n');
  assert.equal(alloy.loaded, '// ours\n');
  assert.deepEqual(fs.readdirSync(path.dirname(config)), ['config.alloy'], 'nothing is left beside it');
});

test('what validate refuses never reaches the file, and its message comes under the config’s own name', async (t) => {
  const { line, alloy, config, assign } = setting(t, '// before\n');
  assign('// ours\n');
  await line.expect(KEY, 'True');
  assign('invalid\n');
  await line.expect(KEY, 'False', 'Invalid');
  const message = line.condition(KEY, 'Ready')!.message;
  assert.ok(message.startsWith(`${config}:1:1: no such thing`), message);
  assert.doesNotMatch(message, /validate|validation failed/);
  assert.equal(fs.readFileSync(config, 'utf8'), '// ours\n');
  assert.deepEqual(alloy.reloads, ['// ours\n']);
});

test('a refused reload is undone, reloaded, checked and quarantined', async (t) => {
  const { line, alloy, config, assign } = setting(t, '// before\n');
  assign('// ours\n');
  await line.expect(KEY, 'True');
  assign('// refused\n');
  await line.expect(KEY, 'False', 'RolledBack');
  assert.match(line.condition(KEY, 'Ready')!.message, /ReloadRefused.*it is refused/s);
  assert.equal(fs.readFileSync(config, 'utf8'), '// ours\n');
  assert.deepEqual(alloy.reloads, ['// ours\n', '// refused\n', '// ours\n']);
  assert.deepEqual(alloy.unhealthy, []);
});

test('the first config that is refused takes the host back to what it had', async (t) => {
  const { line, alloy, config, assign } = setting(t, '// before\n');
  assign('// refused\n');
  await line.expect(KEY, 'False', 'RolledBack');
  assert.equal(fs.readFileSync(config, 'utf8'), '// before\n');
  assert.equal(alloy.loaded, '// before\n');
});

test('a hand-edited file is put back and reloaded; a reload by hand of another text is seen', async (t) => {
  const { line, alloy, config, assign } = setting(t, '// before\n');
  assign('// ours\n');
  await line.expect(KEY, 'True');
  fs.writeFileSync(config, '// edited\n');
  await eventually(() => assert.equal(line.status(KEY).healedTotal, 1));
  assert.equal(fs.readFileSync(config, 'utf8'), '// ours\n');

  alloy.loaded = '// edited\n'; // edited, reloaded and written back by somebody
  line.agent.reconcile(KEY);
  await eventually(() => assert.equal(alloy.loaded, '// ours\n'));
  await eventually(() => assert.equal(line.status(KEY).healedTotal, 2));
});

test('an Alloy that does not run leaves its config Applied, and confirms it once it runs', async (t) => {
  const { line, alloy, config, assign } = setting(t);
  alloy.installed = false;
  assign('// ours\n');
  await line.expect(KEY, 'Unknown', 'AlloyNotRunning');
  assert.equal(line.condition(KEY, 'Applied')?.status, 'True');
  assert.equal(fs.readFileSync(config, 'utf8'), '// ours\n');
  assert.deepEqual(alloy.reloads, []);
  alloy.start();
  line.agent.reconcile(KEY);
  await line.expect(KEY, 'True', 'Applied');
});

test('a confirmed config is healed while Alloy is stopped, and that counts', async (t) => {
  const { line, alloy, config, assign } = setting(t, '// before\n');
  assign('// ours\n');
  await line.expect(KEY, 'True');
  alloy.running = false;
  fs.unlinkSync(config);
  await eventually(() => assert.equal(line.status(KEY).healedTotal, 1));
  assert.equal(fs.readFileSync(config, 'utf8'), '// ours\n');
});

test('components that are not healthy make a confirmed config Degraded, also after a restart, until they are well', async (t) => {
  const { line, alloy, assign } = setting(t, '// before\n');
  assign('// ours\n');
  await line.expect(KEY, 'True');
  alloy.unhealthy = [{ localID: 'loki.write.central', message: 'no' }];
  line.agent.reconcile(KEY);
  await line.expect(KEY, 'False', 'Unhealthy');
  assert.equal(line.condition(KEY, 'Ready')!.message, 'loki.write.central: unhealthy: no');
  assert.deepEqual(line.status(KEY).drift, []);
  assert.equal(line.condition(KEY, 'Applied')?.status, 'True', 'what depends on it is not held up');
  alloy.unhealthy = [];
  line.agent.reconcile(KEY);
  await line.expect(KEY, 'True');
});

test('a config that closes Alloy’s API is rolled back without it, and the next commit gets in', async (t) => {
  const { line, alloy, config, assign } = setting(t, '// before\n');
  assign('// ours\n');
  await line.expect(KEY, 'True');
  assign('// closed elsewhere: auth { }\n');
  await line.expect(KEY, 'False', 'RolledBack');
  assert.match(line.condition(KEY, 'Ready')!.message, /^LockedOut: .*answers 401/);
  assert.equal(fs.readFileSync(config, 'utf8'), '// ours\n');
  assert.equal(alloy.loaded, '// ours\n');
  assign('// third\n');
  await line.expect(KEY, 'True');
  assert.equal(alloy.loaded, '// third\n');
});

test('a config with which Alloy ends is rolled back', async (t) => {
  const { line, alloy, units, config, assign } = setting(t, '// before\n');
  assign('// ours\n');
  await line.expect(KEY, 'True');
  alloy.ends = (text) => text.includes('ends');
  units.ended = { activeState: 'failed', subState: 'failed', result: 'exit-code' };
  assign('// ends it\n');
  await line.expect(KEY, 'False', 'RolledBack');
  assert.match(line.condition(KEY, 'Ready')!.message, /^AlloyStopped: .*alloy\.service is failed/);
  assert.equal(fs.readFileSync(config, 'utf8'), '// ours\n');
});

test('what left the manifest is put back as it was, and is loaded again', async (t) => {
  const { line, alloy, config, assign } = setting(t, '// before\n');
  assign('// ours\n');
  await line.expect(KEY, 'True');
  line.assign();
  await line.expectGone(KEY);
  assert.equal(fs.readFileSync(config, 'utf8'), '// before\n');
  assert.equal(alloy.loaded, '// before\n');
});

test('an empty config, or two sources of one, are mistakes', () => {
  const check = (spec: object) => (alloyConfig.check?.(spec as never) ?? []).map(({ message }) => message);
  assert.match(check({ content: ' \n' })[0]!, /an empty config stops all telemetry/);
  assert.match(check({})[0]!, /needs content/);
  assert.match(check({ content: 'x', contentFrom: 'y' })[0]!, /keep one/);
  assert.deepEqual(check({ contentFrom: 'alloy/config.alloy' }), []);
});

test('of a secret config only the places of its faults are reported', () => {
  const output = 'Error: /etc/x.tmp:3:9: unrecognized "hunter2"\n\n3 | hunter2\nError: validation failed\n';
  const text = diagnostics(output, '/etc/x.tmp', { path: '/etc/alloy/config.alloy', secret: true });
  assert.match(text, /\/etc\/alloy\/config\.alloy:3:9/);
  assert.doesNotMatch(text, /hunter2/);
});

test('Alloy’s own metrics and components are read as they were recorded', (t) => {
  if (!require(t, RECORDINGS)) return;
  const recorded = JSON.parse(fs.readFileSync(path.join(SHARED_DATA, 'alloy', 'bad-attr.json'), 'utf8'));
  const metrics = parseMetrics(recorded.metrics_after_reload.join('\n'));
  assert.deepEqual(metrics.hashes, ['1f4d711aba4e8adbf1c5acf64046e33551716f699c95c8e3b8f5015a3f3e586c']);
  const components = parseComponents(JSON.stringify(recorded.components));
  assert.deepEqual(
    components?.map(({ localID, health }) => [localID, health.state]),
    [['prometheus.remote_write.central', 'unhealthy']],
  );
  assert.match(components?.[0]?.health.message ?? '', /unrecognized attribute name/);
  const said = diagnostics(recorded.validate.stderr, 'bad-attr.alloy', {
    path: '/etc/alloy/config.alloy',
    secret: false,
  });
  assert.match(
    said,
    /^config\.alloy:2:14: unrecognized attribute name "uri"|^\/etc\/alloy\/config\.alloy:2:14/,
  );
  assert.doesNotMatch(said, /validation failed|run finished/);
});

test('the program in a container has one version, whether it answers or not', async (t) => {
  const { alloy, config } = setting(t, '// before\n');
  alloy.start();
  const inspected = JSON.stringify({ Id: 'c1', Name: '/alloy', Image: 'sha256:1', State: {}, Config: {} });
  const docker = {
    request: async (_: string, asked: string) => ({
      status: 200,
      headers: {},
      body: asked.startsWith('/images/') ? JSON.stringify({ Id: 'sha256:1' }) : inspected,
    }),
  };
  const io = { http: alloy.http, processes: alloy.processes, docker, clock: systemClock };
  const spec = { path: config, content: '// ours\n', container: { name: 'alloy' } };
  const version = () => alloyConfig.version!({ spec } as never, io as never, new AbortController().signal);
  const whileItAnswers = await version();
  assert.notEqual(whileItAnswers, '');
  alloy.running = false;
  assert.equal(await version(), whileItAnswers);
});

test('one in a container is validated with an image, and runs nothing of the host', () => {
  const spec = (more: object) => alloyConfig.spec.parse({ content: '// x', ...more });
  const permissions = (more: object) =>
    alloyConfig.permissions(spec(more)).map(({ type, value }) => `${type} ${value}`);
  assert.deepEqual(permissions({ container: { name: 'alloy', image: 'grafana/alloy:v1.18.0' } }), [
    'path /etc/alloy/config.alloy',
    'url http://127.0.0.1:12345',
    'unit container:alloy',
    'image docker.io/grafana/alloy:v1.18.0',
  ]);
  const byName = permissions({ container: { name: 'alloy' } });
  assert.ok(byName.includes('unit container:alloy'));
  assert.ok(!byName.some((permission) => permission.startsWith('exec')));
  const [finding] = alloyConfig.check!(spec({ container: { name: 'alloy' }, unit: 'alloy.service' }));
  assert.deepEqual(finding?.path, ['unit']);
  assert.match(finding?.message ?? '', /keep one/);
});
