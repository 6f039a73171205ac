// PrometheusConfig with a real Prometheus and a real promtool.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { loadAll } from 'js-yaml';
import { createHttp } from '../../agent/providers/http.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { PROMTOOL, require } from '../support/capabilities.ts';
import { eventually } from '../support/eventually.ts';
import { type RunningPrometheus, startPrometheus, unitOf } from '../support/prometheus.ts';
import { added, THEIRS as LONG } from '../support/prometheus-yml.ts';
import { resource, Timeline } from '../support/timeline.ts';

const THEIRS = `# ours to edit
global: {scrape_interval: 15s}

scrape_configs:
  # the server itself
  - job_name: prometheus
    static_configs: [{targets: ['127.0.0.1:1']}]
`;

async function begin(
  t: TestContext,
  { theirs = THEIRS, args = ['--web.enable-lifecycle'] }: { theirs?: string; args?: readonly string[] } = {},
) {
  const [http, processes] = [createHttp(), createProcesses()];
  let prometheus: RunningPrometheus | undefined;
  const units = unitOf(() => prometheus!.pid);
  const line = new Timeline(t, { ports: { http, processes, units } });
  const file = line.path('/etc/prometheus/prometheus.yml');
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, theirs);
  fs.utimesSync(file, 1, 1); // what was written just now is waited for
  t.after(() => Promise.all([http.close(), processes.close()]));
  prometheus = await startPrometheus(t, file, args);
  const { address, ask } = prometheus;
  const jobs = async () =>
    [...(await ask('/api/v1/status/config')).matchAll(/job_name: ([\w-]+)/g)].map((m) => m[1]);
  const config = (content: string, more: object = {}) =>
    resource('PrometheusConfig', 'ours', {
      path: '/etc/prometheus/prometheus.yml',
      address,
      scrapeConfigs: { content },
      ...more,
    });
  return { line: line.start(), file, jobs, config, prometheus };
}

const JOB = "- job_name: tailscale-clients\n  static_configs: [{targets: ['127.0.0.1:20']}]\n";

test('a job is added, loaded, healed, and taken out again; the rest of the file stays', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const { line, file, jobs, config } = await begin(t);
  line.assign(config(JOB));
  await line.expect('PrometheusConfig/ours', 'True');
  assert.deepEqual(await jobs(), ['prometheus', 'tailscale-clients']);
  fs.writeFileSync(
    file,
    fs.readFileSync(file, 'utf8').replace('127.0.0.1:20', '127.0.0.1:30').replace('15s', '20s'),
  );
  await eventually(() =>
    assert.match(fs.readFileSync(file, 'utf8'), /scrape_interval: 20s[\s\S]*127\.0\.0\.1:20/),
  );
  line.assign();
  await line.expectGone('PrometheusConfig/ours');
  assert.equal(fs.readFileSync(file, 'utf8'), THEIRS.replace('15s', '20s'));
  assert.deepEqual(await jobs(), ['prometheus']);
});

test('another config with our job under its name, and other rules for its samples, is not ours', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const { line, file, config, prometheus } = await begin(t);
  const rules = `  relabel_configs: [{target_label: team, replacement: ops}, {regex: tmp_.*, action: LabelDrop}]
  metric_relabel_configs: [{source_labels: [__name__, job], regex: 'go_.*;(.*)', action: keep}]
`;
  line.assign(config(`${JOB}${rules}`));
  await line.expect('PrometheusConfig/ours', 'True');
  fs.writeFileSync(`${file}.copy`, fs.readFileSync(file, 'utf8').replace('go_.*', 'nothing'));
  await prometheus.restart(`${file}.copy`);
  line.agent.reconcile();
  await line.expect('PrometheusConfig/ours', 'False', 'NotLoaded');
  await prometheus.restart();
  line.agent.reconcile();
  await line.expect('PrometheusConfig/ours', 'True');
});

test('what promtool refuses is never written, and a taken name is told with its line', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const { line, file, config } = await begin(t);
  line.assign(config('- job_name: x\n  scrape_intervall: 3s\n'));
  await line.expect('PrometheusConfig/ours', 'False', 'Invalid');
  assert.match(line.condition('PrometheusConfig/ours', 'Ready')!.message, /scrape_intervall/);
  assert.equal(fs.readFileSync(file, 'utf8'), THEIRS);
  line.assign(config('- job_name: prometheus\n'));
  await line.expect('PrometheusConfig/ours', 'False', 'JobNameTaken');
  assert.match(
    line.condition('PrometheusConfig/ours', 'Ready')!.message,
    /prometheus\.yml:6: there is a job prometheus/,
  );
  assert.deepEqual(fs.readdirSync(path.dirname(file)), ['prometheus.yml']);
});

test('a long file that people edit: a diff shows our lines only, and what they break of ours is healed', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const { line, file, jobs, config } = await begin(t, { theirs: LONG });
  fs.writeFileSync(path.join(path.dirname(file), 'homeostat.rules.yml'), 'groups: []\n');
  line.assign(config(JOB, { ruleFiles: ['homeostat.rules.yml'] }));
  await line.expect('PrometheusConfig/ours', 'True');
  const ours = fs.readFileSync(file, 'utf8');
  assert.deepEqual(
    added(LONG, ours).map((l) => l.trim()),
    [
      '# BEGIN homeostat PrometheusConfig/ours rule_files: edit in git, not here',
      '- "homeostat.rules.yml"',
      '# END homeostat PrometheusConfig/ours rule_files',
      '# BEGIN homeostat PrometheusConfig/ours scrape_configs: edit in git, not here',
      '- job_name: tailscale-clients',
      "static_configs: [{targets: ['127.0.0.1:20']}]",
      '# END homeostat PrometheusConfig/ours scrape_configs',
    ],
  );
  const all = ['prometheus', 'cadvisor', 'flow', 'quoted', 'tailscale-clients'];
  assert.deepEqual(await jobs(), all);
  const heals = async (breakIt: () => void) => {
    breakIt();
    await eventually(() => assert.equal(fs.readFileSync(file, 'utf8'), ours));
    await eventually(async () => assert.deepEqual(await jobs(), all));
  };
  const edit = (change: (text: string) => string) =>
    fs.writeFileSync(file, change(fs.readFileSync(file, 'utf8')));
  await heals(() => edit((text) => text.replace('127.0.0.1:20', '127.0.0.1:30')));
  await heals(() => edit((text) => text.replace(/ *# BEGIN[^#]*# END.*\n/, '')));
  await heals(() => {
    // As an editor does that keeps a copy: the old file under another name, a new one in its place.
    fs.writeFileSync(`${file}.new`, LONG);
    fs.renameSync(`${file}.new`, file);
  });
  await heals(() => execFileSync('sed', ['-i', 's/job_name: tailscale-clients/job_name: renamed/', file]));
  line.assign();
  await line.expectGone('PrometheusConfig/ours');
  assert.equal(fs.readFileSync(file, 'utf8'), LONG);
});

test('a slow writer in place is waited for: nothing of what it writes is lost, and no half is loaded', {
  skip: process.platform !== 'linux' && 'open files are read from /proc: run it on Linux',
}, async (t) => {
  if (!require(t, PROMTOOL)) return;
  const { line, file, jobs, config } = await begin(t);
  line.assign(config(JOB));
  await line.expect('PrometheusConfig/ours', 'True');
  const names = Array.from({ length: 22 }, (_, i) => `theirs-${i}`);
  const theirs = (some: string[]) => some.map((name) => `  - job_name: ${name}\n`).join('');
  const writer = fs.openSync(file, 'w');
  fs.writeSync(writer, `scrape_configs:\n${theirs(names.slice(0, 10))}`);
  // It pauses for longer than a file rests that nobody has open.
  await eventually(() =>
    assert.match(line.condition('PrometheusConfig/ours', 'Ready')!.message, /has it open for more/),
  );
  assert.doesNotMatch(fs.readFileSync(file, 'utf8'), /BEGIN/);
  assert.deepEqual(await jobs(), ['prometheus', 'tailscale-clients']);
  fs.writeSync(writer, theirs(names.slice(10)));
  fs.closeSync(writer);
  await eventually(async () => assert.deepEqual(await jobs(), [...names, 'tailscale-clients']));
  await line.expect('PrometheusConfig/ours', 'True');
});

test('without the lifecycle API its unit is reloaded; what it then refuses is undone', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const { line, file, jobs, config } = await begin(t, { args: [] });
  const unit = { unit: 'prometheus.service' };
  line.assign(config(JOB, unit));
  await line.expect('PrometheusConfig/ours', 'True');
  assert.deepEqual(await jobs(), ['prometheus', 'tailscale-clients']);
  const good = fs.readFileSync(file, 'utf8');
  // A promtool that finds everything right: Prometheus itself has to refuse.
  line.assign(config('- job_name: x\n  scrape_intervall: 3s\n', { ...unit, promtool: 'true' }));
  await line.expect('PrometheusConfig/ours', 'False', 'RolledBack');
  assert.match(line.condition('PrometheusConfig/ours', 'Ready')!.message, /could not load the config/);
  assert.equal(fs.readFileSync(file, 'utf8'), good);
  assert.deepEqual(await jobs(), ['prometheus', 'tailscale-clients']);
});

test('promtool finds the jobs of http_sd_configs right, as the README has them', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const { line, jobs, config } = await begin(t);
  const readme = fs.readFileSync(
    path.join(import.meta.dirname, '../../kinds/prometheus-config/README.md'),
    'utf8',
  );
  const documents = loadAll(
    readme
      .split('```yaml\n')
      .slice(1)
      .map((part) => part.split('```')[0])
      .join('---\n'),
  );
  const contents = documents.map(
    (d) => (d as { spec: { scrapeConfigs: { content: string } } }).spec.scrapeConfigs.content,
  );
  assert.equal(contents.length, 3);
  for (const content of contents) {
    line.assign(config(content.replaceAll(/100\.64\.0\.\d+/g, '127.0.0.1')));
    await eventually(async () => assert.deepEqual(await jobs(), ['prometheus', 'tailscale-clients']));
    await eventually(() => {
      const { runningDigest, desiredDigest } = line.status('PrometheusConfig/ours');
      assert.equal(runningDigest, desiredDigest);
    });
  }
});
