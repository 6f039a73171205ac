// PrometheusConfig with a real Prometheus and a real promtool.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { createHttp } from '../../agent/providers/http.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { PROMTOOL, require } from '../support/capabilities.ts';
import { eventually } from '../support/eventually.ts';
import { startPrometheus } from '../support/prometheus.ts';
import { resource, Timeline } from '../support/timeline.ts';

const THEIRS = `# ours to edit
global: {scrape_interval: 15s}

scrape_configs:
  # the server itself
  - job_name: prometheus
    static_configs: [{targets: ['127.0.0.1:1']}]
`;

async function begin(t: TestContext) {
  const [http, processes] = [createHttp(), createProcesses()];
  const line = new Timeline(t, { ports: { http, processes } });
  const file = line.path('/etc/prometheus/prometheus.yml');
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, THEIRS);
  t.after(() => Promise.all([http.close(), processes.close()]));
  const { address, ask } = await startPrometheus(t, file, ['--web.enable-lifecycle']);
  const jobs = async () =>
    [...(await ask('/api/v1/status/config')).matchAll(/job_name: ([\w-]+)/g)].map((m) => m[1]);
  const config = (content: string, more: object = {}) =>
    resource('PrometheusConfig', 'ours', {
      path: '/etc/prometheus/prometheus.yml',
      address,
      scrapeConfigs: { content },
      ...more,
    });
  return { line: line.start(), file, jobs, config };
}

const JOB = "- job_name: tailscale-clients\n  static_configs: [{targets: ['127.0.0.1:2']}]\n";

test('a job is added, loaded, healed, and taken out again; the rest of the file stays', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const { line, file, jobs, config } = await begin(t);
  line.assign(config(JOB));
  await line.expect('PrometheusConfig/ours', 'True');
  assert.deepEqual(await jobs(), ['prometheus', 'tailscale-clients']);
  fs.writeFileSync(
    file,
    fs.readFileSync(file, 'utf8').replace('127.0.0.1:2', '127.0.0.1:3').replace('15s', '20s'),
  );
  await eventually(() =>
    assert.match(fs.readFileSync(file, 'utf8'), /scrape_interval: 20s[\s\S]*127\.0\.0\.1:2/),
  );
  line.assign();
  await line.expectGone('PrometheusConfig/ours');
  assert.equal(fs.readFileSync(file, 'utf8'), THEIRS.replace('15s', '20s'));
  assert.deepEqual(await jobs(), ['prometheus']);
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
