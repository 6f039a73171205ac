// PanelsEmpty: the dashboards of grafana.com over a real Prometheus, through the data source proxy of the stand-in for
// Grafana.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../agent/providers/clock.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { freePort } from '../support/alloy/harness.ts';
import { PROMTOOL, RECORDINGS, require } from '../support/capabilities.ts';
import { eventually } from '../support/eventually.ts';
import { StandInGrafana } from '../support/grafana/grafana.ts';
import { recording } from '../support/grafana/grafana-com.ts';
import {
  datasourceVariable,
  exported,
  labelValues,
  panel,
  query,
  specOf,
} from '../support/grafana/v2-dashboards.ts';
import { temporaryDirectory } from '../support/sandbox.ts';
import { resource, Timeline } from '../support/timeline.ts';

const PAGE = `node_uname_info{nodename="pi"} 1
node_load5 0.5
node_cpu_seconds_total{cpu="0",mode="idle"} 100
node_memory_MemTotal_bytes 8e9
tailscaled_health_messages{type="warning"} 0
tailscaled_inbound_bytes_total{path="derp"} 5
`;

/** A real Prometheus that has scraped one page, whose job sets the labels that it is told. */
async function prometheus(t: TestContext, labels: string): Promise<string> {
  const page = http.createServer((_, response) => response.end(PAGE));
  page.listen(0, '127.0.0.1');
  await once(page, 'listening');
  const directory = temporaryDirectory(t);
  const config = path.join(directory, 'prometheus.yml');
  const target = `127.0.0.1:${(page.address() as AddressInfo).port}`;
  fs.writeFileSync(
    config,
    `global: {scrape_interval: 1s}\nscrape_configs:\n  - job_name: integrations/unix\n    static_configs: [{targets: ['${target}'], labels: {${labels}}}]\n`,
  );
  const address = `127.0.0.1:${await freePort()}`;
  const args = [
    `--config.file=${config}`,
    `--storage.tsdb.path=${directory}/data`,
    `--web.listen-address=${address}`,
  ];
  const child = spawn('prometheus', args, { stdio: 'ignore' });
  t.after(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    const closed = once(page, 'close');
    page.close();
    page.closeAllConnections();
    await closed;
  });
  const query = `http://${address}/api/v1/query?query=`;
  // Two scrapes, so that rates have something to rest on.
  const scraped = encodeURIComponent('count_over_time(node_load5[5m]) >= 2');
  await eventually(async () => {
    const { data } = (await (await fetch(query + scraped)).json()) as { data: { result: unknown[] } };
    assert.equal(data.result.length, 1);
  }, 60_000);
  return `http://${address}`;
}

async function begin(t: TestContext, prometheusUrl: string) {
  const grafana = await new StandInGrafana().start();
  const source = { name: 'Prometheus', type: 'prometheus', access: 'proxy', url: prometheusUrl };
  grafana.state.saveDatasource('prom', { ...source, isDefault: true }, true);
  const client = createHttp();
  const line = new Timeline(t, {
    env: { GRAFANA_TOKEN: grafana.token },
    ports: { http: client, clock: systemClock },
  }).start();
  t.after(async () => {
    await line.stop();
    await client.close();
    await grafana.stop();
  });
  const connection = { url: grafana.url, token: { secretFrom: { env: 'GRAFANA_TOKEN' } } };
  const given = (id: number, uid: string, content: string, inputs: object) =>
    resource('GrafanaDashboard', `d${id}`, { grafana: connection, uid, content, inputs, pollSeconds: 1 });
  const spec = (id: number, uid: string, inputs: object) => given(id, uid, recording(id), inputs);
  const concern = async (id: number) => {
    await line.expect(`GrafanaDashboard/d${id}`, 'True');
    return eventually(() => {
      const found = line.condition(`GrafanaDashboard/d${id}`, 'PanelsEmpty');
      assert.ok(found);
      return found;
    }, 60_000);
  };
  return { grafana, line, given, spec, concern };
}

test('1860 names the panels that stay empty, and the collectors that are missing; it is ready all the same', async (t) => {
  if (!require(t, RECORDINGS, PROMTOOL)) return;
  const { grafana, line, spec, concern } = await begin(t, await prometheus(t, 'host: pi'));
  line.assign(spec(1860, 'rYdddlPWk', { DS_PROMETHEUS: 'prom' }));
  const { status, message } = await concern(1860);
  assert.equal(status, 'True', message);
  assert.match(message, /^\d+ of \d+ panels show nothing/);
  assert.match(message, /there is no metric node_\w+: its collector "\w+" does not run/);
  // What has data is not named.
  assert.ok(!message.includes('"Sys Load (5m avg)"'), message);
  const asked = grafana.asked.filter((a) => a.includes('/proxy/')).length;
  assert.ok(asked <= 201, `${asked} queries in one check`);
  // The next looks ask nothing of Prometheus: a check has its own, longer interval.
  const looks = grafana.asked.length;
  await eventually(() => assert.ok(grafana.asked.length > looks + 4));
  assert.equal(grafana.asked.filter((a) => a.includes('/proxy/')).length, asked);
});

test('24178 without tailscale_machine says that this label is what is missing; with it, it is not', async (t) => {
  if (!require(t, RECORDINGS, PROMTOOL)) return;
  const without = await begin(t, await prometheus(t, 'host: pi'));
  without.line.assign(without.spec(24178, 'machine', { datasource: 'prom' }));
  const empty = await without.concern(24178);
  assert.equal(empty.status, 'True');
  assert.match(
    empty.message,
    /\$tailscale_machine has no value: no series of tailscaled_health_messages has the label tailscale_machine: "/,
  );
  const labelled = await begin(t, await prometheus(t, 'host: pi, tailscale_machine: pi'));
  labelled.line.assign(labelled.spec(24178, 'machine', { datasource: 'prom' }));
  const better = await labelled.concern(24178);
  assert.ok(!better.message.includes('$tailscale_machine has no value'), better.message);
});

test('a dashboard of schema v2 is looked through as well: variables, data sources, library panels', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const { grafana, line, given, concern } = await begin(t, await prometheus(t, 'host: pi'));
  // The default one is of another type: a query for Prometheus that names none asks the first of its own.
  const loki = { name: 'Loki', type: 'loki', access: 'proxy', url: 'http://127.0.0.1:9', isDefault: true };
  grafana.state.saveDatasource('loki', loki, true);
  const target = { refId: 'A', expr: 'node_hwmon_temp', datasource: { type: 'prometheus', uid: 'prom' } };
  grafana.state.libraryPanels.set('there', { type: 'stat', targets: [target] });
  const library = (id: number, title: string, uid: string) => ({
    kind: 'LibraryPanel',
    spec: { id, title, libraryPanel: { name: title, uid } },
  });
  const named = { datasource: { name: '${ds}' } };
  const elements = {
    a: panel(1, 'Has data', [query('node_load5{host="$host"}', named)]),
    b: panel(2, 'Default', [query('node_load5')]),
    c: panel(3, 'No metric', [query('node_hwmon_x', named)]),
    d: panel(4, 'No label', [query('node_load5{x="$x"}')]),
    e: panel(5, 'Logs', [{ kind: 'PanelQuery', spec: { query: { kind: 'DataQuery', group: 'loki' } } }]),
    f: library(6, 'Shared', 'there'),
    g: library(7, 'Lost', 'nowhere'),
  };
  const variables = [
    datasourceVariable('ds'),
    labelValues('host', 'label_values(node_load5, host)', named),
    labelValues('x', 'label_values(node_load5, x)', named),
  ];
  line.assign(given(2, 'v2', exported({ ...specOf('V2', elements), variables }), { ds: 'prom' }));
  const { status, message } = await concern(2);
  assert.equal(status, 'True');
  assert.match(message, /^4 of 6 panels show nothing\. /);
  for (const why of [
    'there is no metric node_hwmon_x: its collector "hwmon" does not run: "No metric"',
    'there is no metric node_hwmon_temp: its collector "hwmon" does not run: "Shared"',
    '$x has no value: no series of node_load5 has the label x: "No label"',
    'its library panel is not in this Grafana: "Lost"',
  ])
    assert.ok(message.includes(why), `${why} in: ${message}`);
});

test('a Prometheus that is away is told, and is no reason to call the dashboard not ready', async (t) => {
  if (!require(t, RECORDINGS)) return;
  // Port 9 of loopback: nobody listens there.
  const { line, spec, concern } = await begin(t, 'http://127.0.0.1:9');
  line.assign(spec(24177, 'overview', { datasource: 'prom' }));
  const { status, message } = await concern(24177);
  assert.equal(status, 'Unknown');
  assert.match(message, /^data source prom can't be asked: .*502/);
});
