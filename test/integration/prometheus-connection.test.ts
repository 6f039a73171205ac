// PrometheusConfig with a real Prometheus that not everybody reaches: below a path, with TLS, with a password. Whatever
// answers in its place is said, with what would be right.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { createHttp } from '../../agent/providers/http.ts';
import { createProcesses } from '../../agent/providers/processes.ts';
import { OPENSSL, PROMTOOL, require } from '../support/capabilities.ts';
import { eventually } from '../support/eventually.ts';
import { type RunningPrometheus, startPrometheus, unitOf, type Way } from '../support/prometheus.ts';
import { resource, Timeline } from '../support/timeline.ts';

const KEY = 'PrometheusConfig/ours';
const THEIRS = 'global: {}\nscrape_configs:\n  - job_name: theirs\n';
const JOB = "- job_name: ours\n  static_configs: [{targets: ['127.0.0.1:20']}]\n";
const PASSWORD = 'pw-geheim-1';
/** Of that password (crypt(3), `$2b$`, the cheapest). */
const BCRYPT = '$2b$04$abcdefghijklmnopqrstuuMpbuvHL5EBDqrwLdIQa5zr0S5eoE4jC';
const BASIC = { authorization: `Basic ${Buffer.from(`prom:${PASSWORD}`).toString('base64')}` };
const PASSWORD_FROM = { user: 'prom', password: { secretFrom: { env: 'PROM_PASSWORD' } } };

interface Begun {
  readonly line: Timeline;
  readonly prometheus: RunningPrometheus;
  readonly file: string;
  assign(more?: object): void;
  jobs(): Promise<string[]>;
  message(): string;
}

interface Setting {
  readonly args?: readonly string[];
  readonly web?: string;
  readonly way?: Way;
  readonly allow?: object;
}

async function begin(t: TestContext, { args = [], web, way = {}, allow }: Setting): Promise<Begun> {
  const [client, processes] = [createHttp(), createProcesses()];
  t.after(() => Promise.all([client.close(), processes.close()]));
  let prometheus: RunningPrometheus | undefined;
  const units = unitOf(() => prometheus!.pid);
  const line = new Timeline(t, {
    ports: { http: client, processes, units },
    env: { PROM_PASSWORD: PASSWORD, WRONG: 'not-the-one' },
    withinMs: 30_000,
    ...(allow === undefined ? {} : { config: { allow } }),
  });
  const directory = line.path('/etc/prometheus');
  fs.mkdirSync(directory, { recursive: true });
  const file = path.join(directory, 'prometheus.yml');
  fs.writeFileSync(file, THEIRS);
  fs.utimesSync(file, 1, 1);
  const certificate = web?.includes('cert.pem') ? selfSigned(directory) : undefined;
  if (web !== undefined) fs.writeFileSync(path.join(directory, 'web.yml'), web);
  const all = web === undefined ? args : [...args, `--web.config.file=${directory}/web.yml`];
  const reached = certificate === undefined ? way : { ...way, tls: { ca: certificate } };
  prometheus = await startPrometheus(t, file, all, reached);
  const { address, ask } = prometheus;
  line.start();
  return {
    line,
    prometheus,
    file,
    assign: (more = {}) =>
      void line.assign(
        resource('PrometheusConfig', 'ours', {
          path: '/etc/prometheus/prometheus.yml',
          address,
          scrapeConfigs: { content: JOB },
          ...more,
        }),
      ),
    jobs: async () =>
      [...(await ask('/api/v1/status/config')).matchAll(/job_name: ([\w-]+)/g)].map((m) => m[1]!),
    message: () => line.condition(KEY, 'Ready')?.message ?? '',
  };
}

/** For 127.0.0.1. @returns the certificate */
function selfSigned(directory: string): string {
  const [key, cert] = [path.join(directory, 'key.pem'), path.join(directory, 'cert.pem')];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const subject = ['-subj', '/CN=prometheus', '-addext', 'subjectAltName=IP:127.0.0.1'];
  execFileSync('openssl', ['req', '-x509', ...kind, ...subject, '-keyout', key, '-out', cert], {
    stdio: 'ignore',
  });
  return fs.readFileSync(cert, 'utf8');
}

const LIFECYCLE = '--web.enable-lifecycle';
const BELOW = '--web.external-url=http://mon.example.net/prometheus/';
const TLS = 'tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n';
const USERS = `basic_auth_users: {prom: '${BCRYPT}'}\n`;

test('below a path: without it the right address is named and nothing is written; with it all works', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const { line, prometheus, file, assign, jobs, message } = await begin(t, {
    args: [LIFECYCLE, BELOW],
    way: { below: '/prometheus' },
  });
  const { address } = prometheus;
  assign();
  await line.expect(KEY, 'False', 'NotPrometheus');
  assert.ok(message().includes(`answers 404 ("404 page not found")`), message());
  assert.ok(
    message().endsWith(`it is served below /prometheus: give address ${address}/prometheus`),
    message(),
  );
  assert.doesNotMatch(message(), /lifecycle|nobody/);
  assign({ address: `${address}/prom` });
  await eventually(() => assert.match(message(), /served below \/prom \(.*Give the right path/));
  assert.equal(fs.readFileSync(file, 'utf8'), THEIRS);
  assign({ address: `${address}/prometheus` });
  await line.expect(KEY, 'True');
  assert.deepEqual(await jobs(), ['theirs', 'ours']);
  line.assign();
  await line.expectGone(KEY);
  assert.equal(fs.readFileSync(file, 'utf8'), THEIRS);
  assert.deepEqual(await jobs(), ['theirs']);
});

test('below a path, and signalled: whether it was loaded is known', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const { line, prometheus, assign, jobs, message } = await begin(t, {
    args: [BELOW],
    way: { below: '/prometheus' },
  });
  const { address } = prometheus;
  assign({ address: `${address}/prometheus`, unit: 'prometheus.service' });
  await line.expect(KEY, 'True');
  assert.deepEqual(await jobs(), ['theirs', 'ours']);
  // Of one that is confirmed, and asked where it does not answer, it is said that nobody knows.
  assign({ unit: 'prometheus.service' });
  await eventually(() => assert.match(message(), /give address 127\.0\.0\.1:\d+\/prometheus$/));
  assert.notEqual(line.condition(KEY, 'Ready')?.status, 'True');
});

test('with TLS and a password: each thing that is missing is named, and then all works, also the way back', async (t) => {
  if (!require(t, PROMTOOL, OPENSSL)) return;
  const { line, prometheus, file, assign, jobs, message } = await begin(t, {
    args: [LIFECYCLE, BELOW],
    web: TLS + USERS,
    way: { scheme: 'https', below: '/prometheus', headers: BASIC },
  });
  const https = `https://${prometheus.address}/prometheus`;
  const caFile = '/etc/prometheus/cert.pem';
  const steps: [object, string, RegExp][] = [
    [
      {},
      'NotPrometheus',
      /answers 400 \("Client sent an HTTP request to an HTTPS server\."\): it speaks TLS.*https:/,
    ],
    [{ address: https }, 'NotTrusted', /not trusted \(self-signed certificate\): name .* in caFile$/],
    [
      { address: https, caFile: '/etc/prometheus/web.yml' },
      'NotTrusted',
      /web\.yml has no certificate in PEM/,
    ],
    [
      { address: https, caFile },
      'Unauthorized',
      /answers 401 \("Unauthorized"\).*give user and password, or bearerTo/,
    ],
    [
      { address: https, caFile, user: 'prom', password: { secretFrom: { env: 'WRONG' } } },
      'Unauthorized',
      /answers 401: it does not take user prom with this password/,
    ],
    [
      { address: https, caFile, bearerToken: { secretFrom: { env: 'WRONG' } } },
      'Unauthorized',
      /answers 401: it does not take this token/,
    ],
  ];
  for (const [more, reason, words] of steps) {
    assign(more);
    await line.expect(KEY, 'False', reason);
    await eventually(() => assert.match(message(), words));
    assert.doesNotMatch(message(), /lifecycle|nobody/);
    assert.equal(fs.readFileSync(file, 'utf8'), THEIRS);
  }
  assign({ address: https, caFile, ...PASSWORD_FROM });
  await line.expect(KEY, 'True');
  assert.deepEqual(await jobs(), ['theirs', 'ours']);
  // A promtool that finds everything right: Prometheus itself refuses, and the way back is loaded as well.
  assign({
    ...{ address: https, caFile, ...PASSWORD_FROM, promtool: 'true' },
    scrapeConfigs: { content: '- job_name: ours\n  scrape_intervall: 3s\n' },
  });
  await line.expect(KEY, 'False', 'RolledBack');
  assert.match(message(), /scrape_intervall/);
  assert.deepEqual(await jobs(), ['theirs', 'ours']);
  line.assign();
  await line.expectGone(KEY);
  assert.equal(fs.readFileSync(file, 'utf8'), THEIRS);
  assert.deepEqual(await jobs(), ['theirs']);
  const kept = fs.readFileSync(path.join(line.directory, 'state', 'journal.log'), 'latin1');
  const said = JSON.stringify(line.agent.status());
  for (const secret of [PASSWORD, 'not-the-one', BASIC.authorization.slice(6)]) {
    assert.ok(!kept.includes(secret) && !said.includes(secret));
  }
});

test('with a password, and signalled: no 401 is taken for nobody', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const { line, assign, jobs, message } = await begin(t, { web: USERS, way: { headers: BASIC } });
  const unit = 'prometheus.service';
  assign({ unit });
  await line.expect(KEY, 'False', 'Unauthorized');
  assert.match(message(), /give user and password/);
  assign({ unit, ...PASSWORD_FROM });
  await line.expect(KEY, 'True');
  assert.deepEqual(await jobs(), ['theirs', 'ours']);
});

test('an address with a secret is asked for by its origin, the secret and the file of its authority besides', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const allow = {
    ...{ kinds: ['*'], paths: ['/etc/prometheus/prometheus.yml'], exec: ['/', '*'] },
    urls: ['http://127.0.0.1:9090'],
  };
  const { line, assign, message } = await begin(t, { allow });
  const form = { form: 'block' };
  assign({ ...form, address: 'https://127.0.0.1:9090/prometheus', ...PASSWORD_FROM, caFile: '/etc/ca.pem' });
  await line.expect(KEY, 'False', 'NotAllowed');
  assert.match(message(), /https:\/\/127\.0\.0\.1:9090/);
  assert.match(message(), /env:PROM_PASSWORD/);
  assert.match(message(), /\/etc\/ca\.pem/);
});

test('what lets a GET pass and no POST is said; nothing is blamed on Prometheus', async (t) => {
  if (!require(t, PROMTOOL)) return;
  const { line, prometheus, assign, jobs, message } = await begin(t, { args: [LIFECYCLE] });
  let isOpen = false;
  const proxy = http.createServer((request, response) => {
    if (request.method !== 'GET' && !isOpen) return void response.writeHead(405).end('Not Allowed');
    const { method = 'GET', url = '/' } = request;
    const passed = http.request(`${prometheus.url}${url}`, { method }, (answer) => {
      response.writeHead(answer.statusCode!);
      answer.pipe(response);
    });
    passed.end();
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.after(() => proxy.close());
  assign({ address: `127.0.0.1:${(proxy.address() as AddressInfo).port}` });
  await line.expect(KEY, 'False', 'CannotReload');
  assert.match(message(), /answers 405 \("Not Allowed"\) to a POST.*pass a POST on to it, or name its unit/);
  isOpen = true;
  line.agent.reconcile();
  await line.expect(KEY, 'True');
  assert.deepEqual(await jobs(), ['theirs', 'ours']);
});
