// PrometheusConfig with a real Prometheus in a real container, its config mounted as a single file: rewritten in place,
// told by SIGHUP through the Engine API.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { createDocker } from '../../agent/providers/docker.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { freePort } from '../support/alloy/harness.ts';
import { DOCKER, PROMTOOL, require } from '../support/capabilities.ts';
import { eventually } from '../support/eventually.ts';
import { added, THEIRS } from '../support/prometheus-yml.ts';
import { endSharedEngine, sharedEngine } from '../support/shared-engine.ts';
import { resource, Timeline } from '../support/timeline.ts';

const KEY = 'PrometheusConfig/ours';
const WITHIN_MS = 30_000;

after(endSharedEngine);

test('a config that a container has as a single file is rewritten in place, loaded after SIGHUP, healed, undone', async (t) => {
  if (!require(t, DOCKER, PROMTOOL)) return;
  const engine = await sharedEngine();
  await engine.image('test/box:1');
  const [http, processes, docker] = [createHttp(), createProcesses(), createDocker(engine.address)];
  const line = new Timeline(t, { ports: { http, processes, docker } });
  t.after(() => Promise.all([http.close(), processes.close(), docker.close()]));
  const file = line.path('/stack/prometheus.yml');
  fs.mkdirSync(path.dirname(file));
  fs.writeFileSync(file, THEIRS);
  fs.utimesSync(file, 1, 1); // what was written just now is waited for
  const address = `127.0.0.1:${await freePort()}`;
  // The machine's own Prometheus, with the libraries that it needs.
  const mounts = [
    '/usr:/usr:ro',
    '/usr/lib:/lib:ro',
    '/usr/lib64:/lib64:ro',
    `${file}:/etc/prometheus.yml:ro`,
  ];
  const flags = ['--config.file=/etc/prometheus.yml', '--storage.tsdb.path=/tmp/data'];
  await engine.docker(
    ...['run', '--detach', '--name', 'prometheus', '--network', 'host', ...mounts.flatMap((m) => ['-v', m])],
    ...['test/box:1', '/usr/bin/prometheus', ...flags, `--web.listen-address=${address}`],
  );
  const ask = async (p: string) => (await fetch(`http://${address}${p}`)).text();
  await eventually(async () => assert.match(await ask('/-/ready'), /Ready/), WITHIN_MS);
  const jobs = async () =>
    [...(await ask('/api/v1/status/config')).matchAll(/job_name: ([\w-]+)/g)].map((m) => m[1]);
  const theirs = await jobs();
  const config = (content: string, more: object = {}) =>
    resource('PrometheusConfig', 'ours', {
      path: '/stack/prometheus.yml',
      address,
      container: 'prometheus',
      inPlace: true,
      scrapeConfigs: { content },
      ...more,
    });
  const inode = fs.statSync(file).ino;
  const job = "- job_name: ours\n  static_configs: [{targets: ['127.0.0.1:20']}]\n";
  line.start().assign(config(job, { inPlace: false }));
  await eventually(() => assert.equal(line.condition(KEY, 'Ready')?.reason, 'NeedsInPlace'), WITHIN_MS);
  assert.match(
    line.condition(KEY, 'Ready')!.message,
    /container prometheus has \/stack\/prometheus\.yml .*at \/etc\/prometheus\.yml, .*set inPlace: true here/,
  );
  assert.equal(fs.readFileSync(file, 'utf8'), THEIRS);
  line.assign(config(job));
  await eventually(() => assert.equal(line.condition(KEY, 'Ready')?.status, 'True'), WITHIN_MS);
  assert.deepEqual(await jobs(), [...theirs, 'ours']);
  const ours = fs.readFileSync(file, 'utf8');
  assert.equal(added(THEIRS, ours).length, 4);

  fs.writeFileSync(file, ours.replace('127.0.0.1:20', '127.0.0.1:30'));
  await eventually(() => assert.equal(fs.readFileSync(file, 'utf8'), ours), WITHIN_MS);
  await eventually(
    async () => assert.match(await ask('/api/v1/status/config'), /127\.0\.0\.1:20\b/),
    WITHIN_MS,
  );

  line.assign(config('- job_name: x\n  scrape_intervall: 3s\n', { promtool: 'true' }));
  await eventually(() => assert.equal(line.condition(KEY, 'Ready')?.reason, 'RolledBack'), WITHIN_MS);
  assert.equal(fs.readFileSync(file, 'utf8'), ours);
  assert.deepEqual(await jobs(), [...theirs, 'ours']);
  assert.equal(fs.statSync(file).ino, inode, 'the container still sees the file');

  // An editor puts a new file in its place, which the container does not see.
  fs.writeFileSync(`${file}.new`, ours);
  fs.renameSync(`${file}.new`, file);
  const more = '- job_name: more\n';
  line.assign(config(`${job}${more}`));
  await eventually(
    () => assert.match(line.condition(KEY, 'Ready')!.message, /keeps the old one .*restart the container/),
    WITHIN_MS,
  );
  await engine.docker('restart', 'prometheus');
  await eventually(() => assert.equal(line.condition(KEY, 'Ready')?.status, 'True'), WITHIN_MS);
  assert.deepEqual(await jobs(), [...theirs, 'ours', 'more']);

  line.assign();
  await eventually(() => assert.equal(line.agent.status().resources.length, 0), WITHIN_MS);
  assert.equal(fs.readFileSync(file, 'utf8'), THEIRS);
  assert.deepEqual(await jobs(), theirs);
});
