// deploy/docker: the central stack for who has none. Real `docker compose`, promtool and amtool read what is there; its
// images can't be had here, so none is run.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { load } from 'js-yaml';
import { AMTOOL, COMPOSE_PLUGIN, NGINX, PROMTOOL, require } from '../support/capabilities.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryDirectory } from '../support/sandbox.ts';

const run = promisify(execFile);
const root = path.dirname(path.dirname(import.meta.dirname));
const deploy = path.join(root, 'deploy/docker');
const read = (name: string) => fs.readFileSync(path.join(deploy, name), 'utf8');

interface Service {
  readonly image: string;
  readonly restart?: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly ports?: readonly { readonly host_ip?: string }[];
  readonly secrets?: readonly { readonly source: string }[];
  readonly volumes?: readonly { readonly type: string; readonly source: string; readonly target: string }[];
}
interface Project {
  readonly services: Readonly<Record<string, Service>>;
  readonly secrets: Readonly<Record<string, { readonly file?: string }>>;
}

async function project(t: TestContext): Promise<Project | undefined> {
  if (!require(t, COMPOSE_PLUGIN)) return undefined;
  // No .env of somebody's who tries the stack in this checkout.
  const args = ['compose', '--env-file=/dev/null', '--profile=controller', 'config', '--format=json'];
  const { stdout } = await run('docker', args, { cwd: deploy });
  return JSON.parse(stdout) as Project;
}

test('the stack is whole: every service of it, pinned, restarted, with a health check', async (t) => {
  const found = await project(t);
  if (found === undefined) return;
  const names = ['alertmanager', 'cadvisor', 'gateway', 'grafana', 'homeostat-controller', 'loki'];
  names.push('node-exporter', 'prometheus', 'tailscale-exporter');
  assert.deepEqual(Object.keys(found.services).sort(), names);
  for (const [name, { image, restart, healthcheck }] of Object.entries(found.services)) {
    assert.match(image, /:(?!latest$)[\w.-]+$/, `${name} is not pinned`);
    assert.match(restart ?? '', /^(?:always|unless-stopped)$/, name);
    assert.ok((healthcheck?.test.length ?? 0) > 1, `${name} has no health check`);
  }
  const { command = [] } = found.services['prometheus']!;
  assert.ok(command.includes('--web.enable-remote-write-receiver'));
});

test('the stack is published on loopback only, and its secrets are files', async (t) => {
  const found = await project(t);
  if (found === undefined) return;
  for (const [name, { ports = [], environment = {}, secrets = [] }] of Object.entries(found.services)) {
    for (const { host_ip } of ports) assert.equal(host_ip, '127.0.0.1', name);
    for (const variable of Object.keys(environment)) {
      if (/PASSWORD|SECRET|TOKEN|_KEY/.test(variable))
        assert.match(variable, /__FILE$/, `${name}: ${variable}`);
    }
    for (const { source } of secrets) assert.ok(found.secrets[source]?.file, `${name}: ${source}`);
  }
  const { stdout } = await run('git', ['check-ignore', 'secrets/grafana-admin-password'], { cwd: deploy });
  assert.equal(stdout.trim(), 'secrets/grafana-admin-password');
  const documented = read('README.md');
  for (const secret of Object.keys(found.secrets)) {
    assert.ok(documented.includes(secret.replace('tailscale-oauth-client-secret', '-secret')), secret);
  }
});

test('every file and directory that the stack mounts of this repository is in it', async (t) => {
  const found = await project(t);
  if (found === undefined) return;
  for (const { volumes = [] } of Object.values(found.services)) {
    const ours = volumes.filter(({ type, source }) => type === 'bind' && source.startsWith(root));
    // The user's own manifests are put there, or named by HOMEOSTAT_MANIFESTS.
    for (const { source, target } of ours)
      assert.ok(target === '/manifests' || fs.existsSync(source), source);
  }
});

/** The config with every file that it names in the container put in place here. */
function onThisMachine(t: TestContext, text: string): string {
  const directory = temporaryDirectory(t);
  const secrets = text.replace(/\/run\/secrets\/([\w-]+)/g, (_, name: string) => {
    const file = path.join(directory, name);
    fs.writeFileSync(file, 'https://example.com/hook\n');
    return file;
  });
  const file = path.join(directory, 'config.yml');
  fs.writeFileSync(file, secrets.replaceAll('/etc/homeostat-rules', path.join(root, 'deploy/prometheus')));
  return file;
}

test('promtool accepts the Prometheus config with our rules, and its jobs are those that alerts and dashboards know', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const text = read('prometheus/prometheus.yml');
  const { stdout } = await run('promtool', ['check', 'config', onThisMachine(t, text)]);
  assert.match(stdout, /1 rule files found[\s\S]*SUCCESS: \d+ rules found/);
  const config = load(text) as { scrape_configs: { job_name: string }[] };
  const jobs = config.scrape_configs.map((job) => job.job_name);
  for (const job of ['tailscale-clients', 'tailscale-fleet', 'homeostat-controller'])
    assert.ok(jobs.includes(job), job);
});

test('amtool accepts the Alertmanager config, and the dead-man’s switch has a way of its own', async (t) => {
  if (!require(t, AMTOOL)) return;
  const { stdout: version } = await run('amtool', ['--version']);
  const isOld = Number(/version 0\.(\d+)/.exec(version)?.[1]) < 26;
  // Before 0.26 a webhook's address could not be in a file.
  const text = read('alertmanager/alertmanager.yml');
  const known = isOld ? text.replace(/url_file: .*/g, 'url: https://example.com/hook') : text;
  const file = onThisMachine(t, known);
  await run('amtool', ['check-config', file]);
  const routed = async (...labels: string[]) =>
    (await run('amtool', ['config', 'routes', 'test', `--config.file=${file}`, ...labels])).stdout.trim();
  assert.equal(await routed('alertname=HomeostatDeadMansSwitch', 'severity=none'), 'heartbeat');
  assert.equal(await routed('alertname=HomeostatHostUnseen', 'host=raspberry-pi'), 'people');
});

test('Loki’s config is YAML that keeps what it deletes apart from what it stores', () => {
  const config = load(read('loki/loki.yaml')) as Record<string, Record<string, unknown>>;
  assert.equal(config['compactor']!['retention_enabled'], true);
  assert.ok(config['compactor']!['delete_request_store'], 'Loki refuses retention without it');
  assert.match(String(config['limits_config']!['retention_period']), /^\d+h$/);
});

test('the controller’s image runs the Node that is pinned, and flags that the controller has', async (t) => {
  const { devDependencies } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  const dockerfile = read('Dockerfile');
  assert.match(dockerfile, new RegExp(`^FROM node:${devDependencies.node.replaceAll('.', '\\.')}-`, 'm'));
  for (const [, source] of dockerfile.matchAll(/^COPY (?!dist\/)(\S+)/gm)) {
    assert.ok(fs.existsSync(path.join(root, source!)), `${source} is missing`);
  }
  const found = await project(t);
  if (found === undefined) return;
  const [subcommand, ...flags] = found.services['homeostat-controller']!.command!;
  const { stdout } = await run(process.execPath, ['cli/homeostat.ts', subcommand!, '--help'], { cwd: root });
  for (const flag of flags) assert.ok(stdout.includes(flag.split('=')[0]!), flag);
});

test('the image’s health check follows what the controller answers', async (t) => {
  const http = await import('node:http');
  const server = http.createServer((request, answer) => {
    answer.statusCode = request.url === '/healthz' ? 200 : 503;
    answer.end();
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as { port: number };
  const check = (url: string) => run(process.execPath, [path.join(deploy, 'healthy.mjs'), url]);
  await check(`http://127.0.0.1:${port}/healthz`);
  await assert.rejects(check(`http://127.0.0.1:${port}/other`), { code: 1 });
  await new Promise((done) => server.close(done));
  await assert.rejects(check(`http://127.0.0.1:${port}/healthz`), { code: 1 });
  t.diagnostic('the image itself is not built: its base is in no registry that can be reached');
});

test('the gateway lets hosts push and ask, and nobody end Prometheus or Loki, or read their configs', async (t) => {
  if (!require(t, NGINX)) return;
  const http = await import('node:http');
  const reached: string[] = [];
  const behind = http.createServer((request, answer) => {
    reached.push(`${request.method} ${request.url}`);
    request.resume().on('end', () => answer.end('behind'));
  });
  await new Promise<void>((done) => behind.listen(0, '127.0.0.1', done));
  t.after(() => behind.close());
  const upstream = `127.0.0.1:${(behind.address() as AddressInfo).port}`;
  const directory = temporaryDirectory(t);
  const sockets = ['prometheus', 'loki'].map((name) => path.join(directory, `${name}.sock`));
  const config = read('gateway/nginx.conf')
    .replaceAll('/tmp/', `${directory}/`)
    .replace('/dev/stderr', `${directory}/error.log`)
    .replace('listen 8080', `listen unix:${directory}/health.sock`)
    .replace('listen 9090', `listen unix:${sockets[0]}`)
    .replace('listen 3100', `listen unix:${sockets[1]}`)
    .replace(/(prometheus:9090|loki:3100);/g, `${upstream};`);
  const file = path.join(directory, 'nginx.conf');
  fs.writeFileSync(file, config);
  const child = spawn('nginx', ['-c', file, '-g', 'daemon off;'], { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = once(child, 'exit');
  t.after(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  const ask = (socketPath: string, method: string, url: string) =>
    new Promise<number>((resolve, reject) => {
      const request = http.request({ socketPath, method, path: url }, (answer) => {
        answer.resume().on('end', () => resolve(answer.statusCode ?? 0));
      });
      request.on('error', reject).end();
    });
  const [prometheus, loki] = sockets as [string, string];
  await eventually(async () => assert.equal(await ask(prometheus, 'GET', '/api/v1/query?query=up'), 200));
  assert.equal(await ask(prometheus, 'POST', '/api/v1/write'), 200);
  assert.equal(await ask(loki, 'POST', '/loki/api/v1/push'), 200);
  assert.equal(await ask(loki, 'GET', '/loki/api/v1/query?query=x'), 200);
  assert.deepEqual([...new Set(reached)].sort(), [
    'GET /api/v1/query?query=up',
    'GET /loki/api/v1/query?query=x',
    'POST /api/v1/write',
    'POST /loki/api/v1/push',
  ]);
  reached.length = 0;
  const refused = ['/-/quit', '/-/reload', '//-/quit', '/%2d/quit', '/api/v1/write/../../../-/quit'];
  refused.push('/api/v1/admin/tsdb/delete_series?match[]=up', '/api/v1/status/config', '/graph', '/federate');
  refused.push('/api/v1/write/', '/api/v1/query/../status/flags');
  for (const url of refused) assert.equal(await ask(prometheus, 'POST', url), 403, url);
  for (const url of [
    '/ingester/shutdown',
    '/flush',
    '/config',
    '/loki/api/v1/delete?query=x',
    '/log_level',
    '/',
  ])
    assert.equal(await ask(loki, 'POST', url), 403, url);
  assert.equal(await ask(loki, 'GET', '/loki/api/v1/push'), 403);
  assert.deepEqual(reached, []);
});

test('no shipped Prometheus can be ended or emptied over HTTP', async () => {
  for (const file of ['deploy/docker/compose.yaml', 'manifests/central/compose.yaml']) {
    const flags = fs
      .readFileSync(path.join(root, file), 'utf8')
      .split('\n')
      .filter((line) => /^\s*- --web\./.test(line));
    assert.deepEqual(
      flags.map((line) => line.trim()),
      ['- --web.enable-remote-write-receiver'],
      file,
    );
  }
});
