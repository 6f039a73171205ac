// PrometheusConfig with a real agent and real files: where the jobs stand, what other documents leave, and how
// Prometheus is told. Its API is played by the test (test/integration/prometheus.test.ts has the real one, which is
// 2.42 here: what 2.43 brought can only be played).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { createHttp } from '../../../agent/providers/http.ts';
import type { Docker, Processes, Units } from '../../../kinds/ports.ts';
import { knowsScrapeFiles } from '../../../kinds/prometheus-config/validate.ts';
import { ServedPrometheus } from '../../fault/support/fakes.ts';
import { eventually } from '../../support/eventually.ts';
import { resource, Timeline } from '../../support/timeline.ts';
import { treeText } from '../../support/tree.ts';

const KEY = 'PrometheusConfig/p';
const CONFIG = '/etc/prometheus/prometheus.yml';
const JOBS_FILE = '/etc/prometheus/homeostat.d/PrometheusConfig.p.yml';
const THEIRS = "# theirs\nscrape_configs: [{job_name: theirs, static_configs: [{targets: ['a:1']}]}]\n";
const JOB = "- job_name: ours\n\n  static_configs:\n    - targets: ['b:2']\n";

/** Without promtool, unless a version is given; then it says yes to everything. */
function promtool(version?: string): Processes {
  return {
    run: async (_command, args) => {
      if (version === undefined) throw Object.assign(new Error('spawn promtool ENOENT'), { code: 'ENOENT' });
      return {
        exitCode: 0,
        stdout: args[0] === '--version' ? `promtool, version ${version} (x)` : '',
        stderr: '',
      };
    },
  };
}

async function begin(
  t: TestContext,
  options: { theirs?: string; version?: string; running?: boolean; tool?: string; ports?: object } = {},
) {
  const http = createHttp();
  const line = new Timeline(t, { ports: { http, processes: promtool(options.tool), ...options.ports } });
  const file = line.path(CONFIG);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, options.theirs ?? THEIRS);
  fs.utimesSync(file, 1, 1); // what was written just now is waited for
  const served = await new ServedPrometheus(file, options.version ?? '2.55.1').start();
  t.after(() => http.close());
  t.after(() => served.close());
  if (options.running === false) await served.close();
  const config = (spec: object = {}, name = 'p') =>
    resource('PrometheusConfig', name, {
      path: CONFIG,
      address: served.address,
      scrapeConfigs: { content: JOB },
      ...spec,
    });
  return { line: line.start(), served, config, file, untouched: treeText(line.root) };
}

test('which Prometheus knows scrape_config_files', () => {
  const known = ['2.43.0', 'v2.55.1', '3.0.0', '2.43.0-rc.0'].map(knowsScrapeFiles);
  assert.deepEqual(known, [true, true, true, true]);
  assert.deepEqual(['2.42.0+ds', '1.8.2', '', 'devel'].map(knowsScrapeFiles), [false, false, false, false]);
});

test('from 2.43 on the jobs stand in a file of ours that the config lists; a list in one line is no obstacle', async (t) => {
  const { line, served, config, untouched } = await begin(t);
  line.assign(config());
  await line.expect(KEY, 'True');
  assert.equal(
    line.read(CONFIG),
    `${THEIRS}scrape_config_files: # homeostat
  # BEGIN homeostat PrometheusConfig/p scrape_config_files: edit in git, not here
  - "homeostat.d/PrometheusConfig.p.yml"
  # END homeostat PrometheusConfig/p scrape_config_files
`,
  );
  assert.equal(
    line.read(JOBS_FILE),
    `# Written by homeostat (PrometheusConfig/p): edit in git, not here.
scrape_configs:
  - job_name: ours

    static_configs:
      - targets: ['b:2']
`,
  );
  assert.match(served.loaded, /job_name: ours/);
  line.assign();
  await line.expectGone(KEY);
  assert.equal(treeText(line.root), untouched);
  assert.doesNotMatch(served.loaded, /ours/);
});

test('the file is healed: edited, deleted, its directory gone, no longer listed', async (t) => {
  const { line, served, config } = await begin(t);
  line.assign(config());
  await line.expect(KEY, 'True');
  const [wanted, listing] = [line.read(JOBS_FILE), line.read(CONFIG)];
  const heals = async (breakIt: () => void) => {
    breakIt();
    await eventually(() => {
      assert.equal(line.read(JOBS_FILE), wanted);
      assert.equal(line.read(CONFIG), listing);
      assert.match(served.loaded, /'b:2'/);
    });
  };
  await heals(() => fs.writeFileSync(line.path(JOBS_FILE), wanted.replace('b:2', 'c:3')));
  await heals(() => fs.rmSync(line.path(JOBS_FILE)));
  await heals(() => fs.rmSync(path.dirname(line.path(JOBS_FILE)), { recursive: true }));
  await heals(() => fs.writeFileSync(line.path(CONFIG), THEIRS));
});

for (const [name, options, form] of [
  ['2.42 has a block', { version: '2.42.0' }, 'block'],
  ['one that is stopped counts as its promtool', { running: false, tool: '2.53.0' }, 'file'],
  ['one that is stopped, with an old promtool', { running: false, tool: '2.42.0+ds' }, 'block'],
  ['nobody to ask', { running: false }, 'block'],
] as const) {
  test(`form: auto: ${name}`, async (t) => {
    const { line, config } = await begin(t, { theirs: '# theirs\n', ...options });
    line.assign(config());
    await eventually(() => assert.match(line.read(CONFIG), /BEGIN/));
    assert.equal(fs.existsSync(line.path(JOBS_FILE)), form === 'file');
    assert.equal(/^scrape_configs:/m.test(line.read(CONFIG)), form === 'block');
  });
}

test('what stands as a block stays one when Prometheus becomes newer; `form` moves it, and back', async (t) => {
  const { line, config } = await begin(t, { theirs: '# theirs\n' });
  line.assign(config({ form: 'block' }));
  await line.expect(KEY, 'True');
  line.assign(config());
  await eventually(() => assert.equal(line.agent.status().sequence.running, 2));
  assert.match(line.read(CONFIG), /job_name: ours/);
  line.assign(config({ form: 'file' }));
  await eventually(() => assert.match(line.read(JOBS_FILE), /job_name: ours/));
  await eventually(() => assert.doesNotMatch(line.read(CONFIG), /job_name: ours/));
  line.assign(config({ form: 'block' }));
  await eventually(() => assert.equal(line.agent.status().sequence.running, 4));
  assert.ok(!fs.existsSync(path.dirname(line.path(JOBS_FILE))));
  assert.match(line.read(CONFIG), /job_name: ours/);
  assert.doesNotMatch(line.read(CONFIG), /scrape_config_files/);
});

test('a file for a Prometheus that is too old is refused before anything is written', async (t) => {
  const { line, config, untouched } = await begin(t, { version: '2.42.0' });
  line.assign(config({ form: 'file' }));
  await line.expect(KEY, 'False', 'TooOld');
  assert.match(line.condition(KEY, 'Ready')!.message, /2\.42\.0 knows no scrape_config_files .*form: block/);
  assert.equal(treeText(line.root), untouched);
});

test('a refused change brings back the file as it was', async (t) => {
  const { line, served, config } = await begin(t);
  line.assign(config());
  await line.expect(KEY, 'True');
  const before = treeText(line.root);
  line.assign(config({ scrapeConfigs: { content: '- job_name: refused\n' } }));
  await line.expect(KEY, 'False', 'RolledBack');
  assert.equal(treeText(line.root), before);
  assert.match(served.loaded, /job_name: ours/);
});

for (const form of ['block', 'file'] as const) {
  test(`a document that was renamed takes its part along, and removal leaves nothing: ${form}`, async (t) => {
    const { line, config, untouched } = await begin(t, { theirs: '# theirs\n' });
    line.assign(config({ form, ruleFiles: ['a.yml'] }, 'old'));
    await line.expect('PrometheusConfig/old', 'True');
    line.assign(config({ form, ruleFiles: ['a.yml'] }, 'new'));
    await line.expect('PrometheusConfig/new', 'True');
    await line.expectGone('PrometheusConfig/old');
    const directory = line.path('/etc/prometheus');
    const files = fs
      .readdirSync(directory, { recursive: true, encoding: 'utf8' })
      .filter((p) => p.endsWith('.yml'));
    const all = files.map((p) => `${p}\n${fs.readFileSync(path.join(directory, p), 'utf8')}`).join('');
    assert.doesNotMatch(all, /PrometheusConfig[/.]old/);
    assert.equal(all.match(/job_name: ours/g)?.length, 1);
    line.assign();
    await line.expectGone('PrometheusConfig/new');
    assert.equal(treeText(line.root), untouched);
  });
}

for (const form of ['block', 'file'] as const) {
  test(`a job that moves to another document leaves the first, then joins the second: ${form}`, async (t) => {
    const { line, served, config } = await begin(t, { theirs: '# theirs\n' });
    const jobs = (...names: string[]) => ({
      form,
      scrapeConfigs: { content: names.map((name) => `- job_name: ${name}\n`).join('') },
    });
    line.assign(config(jobs('a', 'b'), 'one'));
    await line.expect('PrometheusConfig/one', 'True');
    // In this order the second comes first.
    line.assign(config(jobs('b', 'c'), 'two'), config(jobs('a'), 'one'));
    await eventually(
      () => assert.equal(line.condition('PrometheusConfig/two', 'Ready')?.status, 'True'),
      30_000,
    );
    await line.expect('PrometheusConfig/one', 'True');
    assert.deepEqual([...served.whole().matchAll(/job_name: (\w+)/g)].map((m) => m[1]).sort(), [
      'a',
      'b',
      'c',
    ]);
  });
}

test('a job of theirs is refused in every way of writing it, with its line', async (t) => {
  const { line, config } = await begin(t);
  line.assign(config({ scrapeConfigs: { content: '- job_name: theirs\n' } }));
  await line.expect(KEY, 'False', 'JobNameTaken');
  assert.match(
    line.condition(KEY, 'Ready')!.message,
    /prometheus\.yml:2: there is a job theirs that is not ours/,
  );
});

test('where the lifecycle API is off, a container is sent SIGHUP, and its metrics say what came of it', async (t) => {
  const sent: string[] = [];
  let served: ServedPrometheus | undefined;
  const docker = {
    request: async (method: string, p: string, { query }: { query: { signal: string } }) => {
      if (method === 'GET') return { status: 200, headers: {}, body: '{"Id":"4f","Name":"/prometheus"}' };
      sent.push(`${method} ${p} ${query.signal}`);
      served!.reload();
      return { status: 204, headers: {}, body: '' };
    },
  } as unknown as Docker;
  const setting = await begin(t, { ports: { docker } });
  served = setting.served;
  served.hasLifecycle = false;
  const { line, config } = setting;
  line.assign(config({ container: 'prometheus' }));
  await line.expect(KEY, 'True');
  assert.deepEqual(sent, ['POST /containers/4f/kill HUP']);
  line.assign(config({ container: 'prometheus', scrapeConfigs: { content: '- job_name: refused\n' } }));
  await line.expect(KEY, 'False', 'RolledBack');
  assert.match(served.loaded, /job_name: ours/);
  line.assign(config({ scrapeConfigs: { content: '- job_name: other\n' } }));
  await eventually(() =>
    assert.match(line.condition(KEY, 'Ready')!.message, /name its unit or container here/),
  );
});

test('a unit is reloaded in the same way', async (t) => {
  const sent: string[] = [];
  let served: ServedPrometheus | undefined;
  const units = {
    show: async () => ({ id: 'prometheus.service' }),
    run: async (job: string, unit: string) => {
      sent.push(`${job} ${unit}`);
      served!.reload();
    },
    watch: async (_unit: string, wake: () => void, signal: AbortSignal) => {
      wake();
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    },
  } as unknown as Units;
  const setting = await begin(t, { ports: { units } });
  served = setting.served;
  served.hasLifecycle = false;
  setting.line.assign(setting.config({ unit: 'prometheus.service' }));
  await setting.line.expect(KEY, 'True');
  assert.deepEqual(sent, ['reload prometheus.service']);
});

test('an editor that empties the file before it fills it loses nothing', async (t) => {
  const { line, config, file } = await begin(t, { version: '2.42.0', theirs: '# theirs\n' });
  line.assign(config());
  await line.expect(KEY, 'True');
  fs.writeFileSync(file, '');
  await line.expect(KEY, 'False', 'Empty');
  assert.equal(line.read(CONFIG), '', 'nothing is written into it meanwhile');
  const edited = `# theirs, edited\n${'# a line\n'.repeat(50)}rule_files: []\n`;
  fs.writeFileSync(file, edited);
  await eventually(() => assert.match(line.read(CONFIG), /BEGIN homeostat[\s\S]*job_name: ours/));
  assert.ok(line.read(CONFIG).startsWith(edited));
});

test('an editor that writes in steps is waited for', async (t) => {
  const { line, config, file } = await begin(t, { version: '2.42.0', theirs: '# theirs\n' });
  line.assign(config());
  await line.expect(KEY, 'True');
  fs.writeFileSync(file, '# one\n');
  await line.expect(KEY, 'False', 'BeingEdited');
  assert.equal(line.read(CONFIG), '# one\n');
  fs.appendFileSync(file, '# two\nrule_files: []\n');
  await eventually(() => assert.match(line.read(CONFIG), /BEGIN homeostat/));
  assert.ok(line.read(CONFIG).startsWith('# one\n# two\nrule_files: []\n'), line.read(CONFIG));
});

test('with another path the document begins anew there, and the old config is as it was', async (t) => {
  const { line, config, file, served } = await begin(t, { version: '2.42.0', theirs: '# theirs\n' });
  line.assign(config());
  await line.expect(KEY, 'True');
  const elsewhere = '/srv/prometheus.yml';
  fs.mkdirSync(line.path('/srv'));
  fs.writeFileSync(line.path(elsewhere), '# elsewhere\n');
  fs.utimesSync(line.path(elsewhere), 1, 1);
  served.readFrom(line.path(elsewhere));
  line.assign(config({ path: elsewhere }));
  await eventually(() => assert.match(line.read(elsewhere), /job_name: ours/));
  await eventually(() => assert.equal(fs.readFileSync(file, 'utf8'), '# theirs\n'));
  await line.expect(KEY, 'True');
});
