// GET /sd on a real controller, asked by a real Prometheus: a host that is added in git is scraped with no edit.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import { systemClock } from '../../agent/providers/clock.ts';
import { Controller } from '../../controller/main.ts';
import { kinds } from '../../kinds/index.ts';
import { PROMTOOL, require } from '../support/capabilities.ts';
import { eventually } from '../support/eventually.ts';
import { startPrometheus } from '../support/prometheus.ts';
import { temporaryDirectory } from '../support/sandbox.ts';

const WITHIN_MS = 30_000;

function repository(directory: string) {
  const repo = path.join(directory, 'repo');
  fs.mkdirSync(repo);
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=T', '-c', 'user.email=t@example.com', ...args], { cwd: repo });
  git('init', '-q', '-b', 'main');
  const commit = (hosts: readonly string[]): void => {
    const documents = hosts.map(
      (name, i) =>
        `apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: ${name}}\nspec: {address: 127.0.0.${i + 1}}\n`,
    );
    documents.push(FLEET);
    fs.writeFileSync(path.join(repo, 'hosts.yaml'), documents.join('---\n'));
    git('add', '-A');
    git('commit', '-q', '-m', 'hosts');
  };
  return { repo, commit };
}

const FLEET = `apiVersion: homeostat.dev/v1
kind: Fleet
metadata: {name: fleet}
spec: {scrape: [{job: tailscale-clients, port: 5252, labels: {tailscale_machine: '\${host.name}'}}]}
`;

/** What is scraped in the place of every host: nothing listens on port 5252 of a test. */
async function everyHost(t: TestContext): Promise<string> {
  const server = http.createServer((_, response) => response.end('tailscaled_health_messages 0\n'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A controller that follows a repository with these hosts, and the token it wants. */
async function serve(t: TestContext, hosts: readonly string[]) {
  const directory = temporaryDirectory(t);
  const { repo, commit } = repository(directory);
  commit(hosts);
  const token = path.join(directory, 'sd.token');
  fs.writeFileSync(token, `${randomBytes(24).toString('hex')}\n`, { mode: 0o600 });
  const controller = new Controller(
    { repo, stateDir: path.join(directory, 'state'), listen: '127.0.0.1:0', sdTokenFile: token },
    { clock: systemClock, environment: process.env, log: pino({ level: 'silent' }), kinds, version: 'test' },
  );
  const url = await controller.start();
  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopping ??= controller.stop();
    return stopping;
  };
  t.after(stop);
  return { directory, commit, token, url, stop };
}

test('a host added in git is scraped; a stopped controller changes nothing', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const { directory, commit, token, url, stop } = await serve(t, ['mac-mini']);
  const config = path.join(directory, 'prometheus.yml');
  fs.writeFileSync(
    config,
    `global: {scrape_interval: 1s}
scrape_configs:
  - job_name: tailscale-clients
    http_sd_configs:
      - url: ${url}/sd/tailscale-clients
        refresh_interval: 1s
        authorization: {credentials_file: ${token}}
    relabel_configs:
      - {source_labels: [__address__], target_label: real}
      - {target_label: __address__, replacement: '${await everyHost(t)}'}
`,
  );
  const prometheus = await startPrometheus(t, config);
  type Vector = { result: { metric: Record<string, string>; value: [number, string] }[] };
  const up = async () => {
    const { result } = await prometheus.api<Vector>('/query?query=up');
    return result
      .map(
        ({ metric, value }) =>
          `${metric['host']} ${metric['tailscale_machine']} ${metric['real']} ${value[1]}`,
      )
      .sort();
  };
  const MAC = 'mac-mini mac-mini 127.0.0.1:5252 1';
  const PI = 'raspberry-pi raspberry-pi 127.0.0.2:5252 1';
  await eventually(async () => assert.deepEqual(await up(), [MAC]), WITHIN_MS);
  commit(['mac-mini', 'raspberry-pi']);
  await eventually(async () => assert.deepEqual(await up(), [MAC, PI]), WITHIN_MS);

  await stop();
  const failures = async () => {
    const count = /^prometheus_sd_http_failures_total (\d+)/m.exec(await prometheus.ask('/metrics'))?.[1];
    return Number(count);
  };
  await eventually(async () => assert.ok((await failures()) > 0), WITHIN_MS);
  type Targets = { activeTargets: { labels: Record<string, string> }[] };
  const { activeTargets } = await prometheus.api<Targets>('/targets?state=active');
  assert.deepEqual(activeTargets.map(({ labels }) => labels['host']).sort(), ['mac-mini', 'raspberry-pi']);
});

test('a host that left git is no longer a target; a wrong token is refused, and Prometheus keeps what it knows', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const { directory, commit, token, url } = await serve(t, ['mac-mini', 'raspberry-pi']);
  const credentials = path.join(directory, 'prometheus.token');
  fs.copyFileSync(token, credentials);
  const config = path.join(directory, 'prometheus.yml');
  fs.writeFileSync(
    config,
    `scrape_configs:
  - job_name: tailscale-clients
    http_sd_configs:
      - url: ${url}/sd/tailscale-clients
        refresh_interval: 1s
        authorization: {credentials_file: ${credentials}}
`,
  );
  const prometheus = await startPrometheus(t, config);
  type Targets = { activeTargets: { labels: Record<string, string> }[] };
  const hosts = async () => {
    const { activeTargets } = await prometheus.api<Targets>('/targets?state=active');
    return activeTargets.map(({ labels }) => labels['host']).sort();
  };
  await eventually(async () => assert.deepEqual(await hosts(), ['mac-mini', 'raspberry-pi']), WITHIN_MS);
  commit(['mac-mini']);
  await eventually(async () => assert.deepEqual(await hosts(), ['mac-mini']), WITHIN_MS);
  fs.writeFileSync(credentials, 'another token altogether');
  const refused = async () => {
    const text = await (await fetch(`${url}/metrics`)).text();
    return Number(/requests_refused_total\{code="NotAScraper"\} (\d+)/.exec(text)?.[1]);
  };
  await eventually(async () => assert.ok((await refused()) > 0), WITHIN_MS);
  assert.deepEqual(await hosts(), ['mac-mini']);
});
