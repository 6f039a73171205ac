// The Checks of manifests/, as a host gets them, against a real Prometheus and a Loki (a stand-in unless LOKI_BIN
// names one): broken in ways that happen, told with the evidence, and well again when somebody mended it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { createHttp } from '../../agent/providers/http.ts';
import { sockets } from '../../agent/providers/sockets.ts';
import type { Resource } from '../../api/bundle.ts';
import { PROMTOOL, require } from '../support/capabilities.ts';
import { eventually } from '../support/eventually.ts';
import { pushLine, startLoki } from '../support/loki.ts';
import { manifestsFor } from '../support/manifests.ts';
import { startPrometheus } from '../support/prometheus.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { Timeline } from '../support/timeline.ts';

/** A check as the controller renders it for a host of manifests/, with another address and no patience. */
async function checkFor(host: string, name: string, at: (url: string) => string): Promise<Resource> {
  const found = (await manifestsFor(host)).find((r) => r.kind === 'Check' && r.name === name);
  assert.ok(found, `${host} has no Check/${name}`);
  const text = JSON.stringify(found.spec).replace(/http:\/\/[0-9.]+:\d+/, at);
  const spec = { ...(JSON.parse(text) as object), interval: '1s', for: '0s' };
  return { ...found, dependsOn: [], spec };
}

function begin(t: TestContext) {
  const client = createHttp();
  t.after(() => client.close());
  return new Timeline(t, { ports: { http: client, sockets } }).start();
}

/** A target whose /metrics a test writes. */
async function exporter(t: TestContext) {
  const world = { text: '', status: 200 };
  const server = http.createServer((_, response) => response.writeHead(world.status).end(world.text));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { world, address: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

test('row 3: the client metrics answer on the host’s Tailscale address, and Prometheus reaches them', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const line = begin(t);
  const { world, address } = await exporter(t);
  const answers = await checkFor('raspberry-pi', 'client-metrics', (url) => {
    assert.equal(url, 'http://100.64.0.8:5252');
    return `http://${address}`;
  });
  world.text = 'tailscaled_health_messages{type="warning"} 0\n';
  line.assign(answers);
  await line.expect('Check/client-metrics', 'True');
  world.text = 'something_else 1\n';
  await line.expect('Check/client-metrics', 'False', 'CheckFailed');
  assert.match(line.condition('Check/client-metrics', 'Ready')!.message, /nothing in it fits/);

  world.text = 'tailscaled_health_messages 0\n';
  const config = path.join(temporaryDirectory(t), 'prometheus.yml');
  const job = `{job_name: tailscale-clients, static_configs: [{targets: ['${address}'], labels: {host: pi}}]}`;
  fs.writeFileSync(config, `global: {scrape_interval: 1s}\nscrape_configs: [${job}]\n`);
  const prometheus = await startPrometheus(t, config);
  line.assign(answers, await checkFor('mac-mini', 'client-metrics-scraped', () => prometheus.url));
  const scraped = () => line.condition('Check/client-metrics-scraped', 'Ready')!;
  await eventually(() => assert.equal(scraped().status, 'True'), 30_000);
  world.status = 503;
  const wanted = `up{host="pi", instance="${address}", job="tailscale-clients"} is 0, and is to be 1`;
  await eventually(() => assert.equal(scraped().message, wanted), 30_000);
  assert.equal(scraped().reason, 'CheckFailed');
});

test('row 4: metrics arrive in Prometheus with the host’s label, or it is told what is missing', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const line = begin(t);
  const { world, address } = await exporter(t);
  const config = path.join(temporaryDirectory(t), 'prometheus.yml');
  const job = `{job_name: pushed, honor_labels: true, static_configs: [{targets: ['${address}']}]}`;
  fs.writeFileSync(config, `global: {scrape_interval: 1s}\nscrape_configs: [${job}]\n`);
  const prometheus = await startPrometheus(t, config);
  const check = await checkFor('raspberry-pi', 'metrics-arrive', (url) => {
    assert.equal(url, 'http://100.64.0.4:9090');
    return prometheus.url;
  });
  const key = 'Check/metrics-arrive';
  const fine = 'node_uname_info{host="raspberry-pi"} 1\n';
  line.assign(check);
  await line.expect(key, 'False', 'CheckFailed');
  assert.equal(line.condition(key, 'Ready')!.message, 'node_uname_info{host="raspberry-pi"} returns nothing');

  const fails = async (wanted: RegExp) => {
    await eventually(() => assert.match(line.condition(key, 'Ready')!.message, wanted), 30_000);
    assert.equal(line.condition(key, 'Ready')!.reason, 'CheckFailed');
  };
  const recovers = () => eventually(() => assert.equal(line.condition(key, 'Ready')!.status, 'True'), 30_000);
  world.text = fine;
  await recovers();
  world.text = fine.replace('raspberry-pi', 'localhost');
  await fails(/returns nothing/);
  world.text = fine;
  await recovers();
  world.status = 500; // the sender is broken: its series end
  await fails(/returns nothing/);
  world.status = 200;
  await recovers();
  await prometheus.kill();
  await fails(/api\/v1\/query does not answer: .*ECONNREFUSED/);
  await prometheus.restart();
  await recovers();
  line.assign({ ...check, spec: { ...check.spec, promql: { url: prometheus.url, query: 'up{' } } });
  await fails(/answers 400: .*bad_data.*unexpected end of input/);
});

test('row 4: journals arrive in Loki, or it is told that none do', async (t) => {
  const line = begin(t);
  const loki = await startLoki(t);
  const check = await checkFor('raspberry-pi', 'journal-arrives', (url) => {
    assert.equal(url, 'http://100.64.0.4:3100');
    return loki.url;
  });
  const key = 'Check/journal-arrives';
  const says = (wanted: RegExp) =>
    eventually(() => assert.match(line.condition(key, 'Ready')!.message, wanted), 30_000);
  line.assign(check);
  await line.expect(key, 'False', 'CheckFailed');
  await says(/^sum\(count_over_time\(\{job="journal", host="raspberry-pi"\}\[1h\]\)\) returns nothing$/);
  assert.equal(await pushLine(loki.url, { job: 'journal', host: 'digitalocean' }, 'another’s'), 204);
  assert.equal(await pushLine(loki.url, { job: 'syslog', host: 'raspberry-pi' }, 'no journal'), 204);
  line.agent.reconcile(key);
  await line.agent.idle();
  assert.equal(line.condition(key, 'Ready')!.status, 'False');
  assert.equal(await pushLine(loki.url, { job: 'journal', host: 'raspberry-pi' }, 'Started something.'), 204);
  await line.expect(key, 'True');
  await loki.stop();
  await says(/loki\/api\/v1\/query does not answer/);
  line.assign({ ...check, spec: { ...check.spec, logql: { url: loki.url, query: 'rate(' } } });
  await loki.start();
  await says(/answers 400: parse error/);
});
