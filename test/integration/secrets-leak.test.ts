// Secrets from every source through a real controller and a real agent, in every situation that makes programs
// talkative: drift, plan, refusals, rotation, a change that stays open, a value that can't be decrypted. Afterwards
// everything that either of them wrote, served, logged or ran is searched for the values.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { type AgentStatus, findCondition } from '../../api/status.ts';
import { encrypt, testIdentity } from '../support/age.ts';
import { COMPOSE } from '../support/capabilities.ts';
import { IMAGE, stackImage } from '../support/compose-stack.ts';
import { startDockerd, type TestEngine } from '../support/dockerd.ts';
import { eventually } from '../support/eventually.ts';
import { StandInGrafana } from '../support/grafana/grafana.ts';
import { filesBelow, findLeaks } from '../support/leaks.ts';
import { temporaryDirectory } from '../support/sandbox.ts';

const root = path.dirname(path.dirname(import.meta.dirname));
const program = path.join(root, 'cli', 'homeostat.ts');
const PATIENCE_MS = 120_000;

/** With characters that escape differently in JSON, URLs and shells. */
const newSecret = (name: string): string => `${name}:"${randomBytes(12).toString('base64url')}" & more/+`;
const named = (...names: string[]) => Object.fromEntries(names.map((name) => [name, newSecret(name)]));

test('no log, bundle, state, metric, page, plan, status or argv holds a secret', {
  timeout: 600_000,
  skip: process.platform !== 'linux' && 'argv is read from /proc: run it on Linux',
}, async (t) => {
  const secrets = named(
    'file',
    'rotated',
    'env',
    'credential',
    'age',
    'undecryptable',
    'adopted',
    'retired',
    'alloy',
    'grafana',
    'policy',
    'prometheus',
    'container',
    'compose',
  );
  const box = new Box(t);
  const [identity, stranger] = [await testIdentity(), await testIdentity()];
  box.write('secrets/file', `${secrets['file']}\n`);
  box.write('secrets/retired', secrets['retired']!);
  box.write('secrets/config', `// token: ${secrets['alloy']}\nlogging {\n  level = "info"\n}\n`);
  box.write('secrets/bad-config', `logging {\n  levle = ${JSON.stringify(secrets['alloy'])}\n}\n`);
  box.write('credentials/db', secrets['credential']!);
  box.write('root/etc/adopted', secrets['adopted']!);
  box.write('root/etc/open/config.alloy', `// ${secrets['adopted']}\n`);
  box.write('root/etc/in-the-way/x', '');
  box.write('repo/age.age', await encrypt(secrets['age']!, identity.recipient));
  box.write('repo/stranger.age', await encrypt(secrets['undecryptable']!, stranger.recipient));
  const file = (name: string, secretFrom: object | string) =>
    box.document('File', name, {
      path: `/etc/${name}`,
      mode: '0600',
      content: typeof secretFrom === 'string' ? secretFrom : { secretFrom },
    });
  const alloy = (name: string, source: string) =>
    box.document('AlloyConfig', name, {
      path: `/etc/${name}/config.alloy`,
      binary: box.path('alloy'),
      address: '127.0.0.1:1', // nobody listens: its gate stays open, and so does its journal entry
      manager: 'none',
      content: { secretFrom: { file: box.path(source) } },
    });
  const documents = (retired: object | string) => [
    file('file', { file: box.path('secrets/file') }),
    file('env', { env: 'LEAK_TEST_TOKEN' }),
    file('credential', { credential: 'db' }),
    file('age', { ageFrom: 'age.age' }),
    file('undecryptable', { ageFrom: 'stranger.age' }),
    file('adopted', { env: 'LEAK_TEST_TOKEN' }),
    file('in-the-way', { env: 'LEAK_TEST_TOKEN' }),
    file('retired', retired),
    alloy('open', 'secrets/config'),
    alloy('bad', 'secrets/bad-config'),
    service,
    check,
    ...apis,
    ...containers,
  ];
  // Takes its values from its environment, and writes them where the search is to find them.
  const service = box.document('Service', 'child', {
    unit: 'child.service',
    manager: 'supervised',
    command: ['/bin/sh', '-c', `env > '${box.path('root/etc/child-env')}'; exec sleep 1000`],
    env: {
      FROM_FILE: { secretFrom: { file: box.path('secrets/file') } },
      FROM_ENV: { secretFrom: { env: 'LEAK_TEST_TOKEN' } },
      FROM_CREDENTIAL: { secretFrom: { credential: 'db' } },
      FROM_AGE: { secretFrom: { ageFrom: 'age.age' } },
    },
  });
  // Asked with a secret, it answers with an error that quotes it.
  const echo = await box.startEcho();
  const check = box.document('Check', 'echo', {
    http: {
      url: echo,
      headers: { 'x-token': { secretFrom: { ageFrom: 'age.age' } } },
      contains: 'x',
    },
    interval: '1s',
  });
  const grafana = await new StandInGrafana().start();
  t.after(() => grafana.stop());
  secrets['grafana'] = `glsa_${randomBytes(16).toString('hex')}`; // a token has no spaces
  grafana.tokens.set(secrets['grafana'], 'Admin');
  const kept = (name: string) => {
    box.write(`secrets/${name}`, secrets[name]!);
    return { secretFrom: { file: box.path(`secrets/${name}`) } };
  };
  const once = (kind: string, name: string, spec: object) => box.document(kind, name, spec, { runOn: 'pi' });
  const datasource = (name: string, url: string) =>
    once('GrafanaDatasource', name, {
      grafana: { url, token: kept('grafana') },
      uid: name,
      name,
      type: 'grafana-testdata-datasource', // its health check asks nobody
      url: 'http://127.0.0.1:1',
      secureJsonData: { basicAuthPassword: { secretFrom: { ageFrom: 'age.age' } } },
      pollSeconds: 1,
    });
  const apis = [
    datasource('good', grafana.url),
    datasource('echo', echo),
    once('GrafanaDashboard', 'board', {
      grafana: { url: grafana.url, token: kept('grafana') },
      uid: 'board',
      content: '{"title": "Board", "panels": []}',
      panels: { check: false },
      pollSeconds: 1,
    }),
    once('TailnetPolicy', 'policy', {
      api: echo,
      oauth: { clientID: 'client', clientSecret: kept('policy') },
      content: '{"acls": []}',
      importedFrom: 'ts-default',
      pollSeconds: 10,
    }),
    box.document('PrometheusConfig', 'echo', {
      address: `${echo}/prometheus`,
      user: 'homeostat',
      password: kept('prometheus'),
      scrapeConfigs: { content: '- job_name: ours\n' },
    }),
  ];
  box.write('root/etc/prometheus/prometheus.yml', 'global: {}\n');
  const engine = COMPOSE.missing() === undefined ? await box.startEngine() : undefined;
  const containers =
    engine === undefined
      ? []
      : [
          box.document('Container', 'box', {
            name: 'box',
            image: IMAGE,
            network: 'none',
            env: { TOKEN: kept('container') },
          }),
          box.document('ComposeProject', 'stack', {
            directory: '/srv/stack',
            services: {
              exporter: { image: IMAGE, network_mode: 'none', environment: { TOKEN: kept('compose') } },
            },
          }),
        ];
  box.writeAlloy();
  box.manifests('enforce', documents({ file: box.path('secrets/retired') }));
  box.homeostat('validate', box.path('repo'));
  await box.startController();
  await box.startAgent(identity.text, {
    LEAK_TEST_TOKEN: secrets['env']!,
    CREDENTIALS_DIRECTORY: box.path('credentials'),
  });

  for (const name of ['file', 'env', 'credential', 'age', 'adopted', 'retired'])
    await box.expect(`File/${name}`, true);
  await box.expect('File/undecryptable', false, 'SecretUndecryptable');
  await box.expect('File/in-the-way', false, 'IsADirectory');
  await box.expect('AlloyConfig/open', undefined, 'AlloyNotRunning');
  await box.expect('AlloyConfig/bad', false, 'Invalid');
  await box.expect('Service/child', true);
  await box.expect('Check/echo', false, 'CheckFailed');
  await box.expect('GrafanaDatasource/good', true);
  await box.expect('GrafanaDashboard/board', true);
  await box.expect('GrafanaDatasource/echo', false);
  await box.expect('TailnetPolicy/policy', false);
  await box.expect('PrometheusConfig/echo', false, 'NotPrometheus');
  if (engine !== undefined) {
    await box.expect('Container/box', true);
    await box.expect('ComposeProject/stack', true);
  }
  await box.collect('while a change is open');
  if (engine !== undefined) {
    const environment = await engine.docker(
      'inspect',
      'box',
      'stack-exporter-1',
      '--format',
      '{{json .Config.Env}}',
    );
    for (const name of ['container', 'compose'])
      assert.ok(
        environment.includes(JSON.stringify(secrets[name]).slice(1, -1)),
        `${name} is not where it should be`,
      );
    await engine.docker('rm', '--force', 'box', 'stack-exporter-1');
    await eventually(
      async () => assert.equal((await engine.docker('ps', '--quiet')).split('\n').length, 2),
      PATIENCE_MS,
    );
  }

  // Drift, and a secret that is rotated while its file drifts.
  fs.writeFileSync(box.path('root/etc/age'), 'tampered');
  await eventually(() => assert.equal(box.read('root/etc/age'), secrets['age']), PATIENCE_MS);
  box.write('secrets/file', secrets['rotated']!);
  await eventually(() => assert.equal(box.read('root/etc/file'), secrets['rotated']), PATIENCE_MS);
  await eventually(
    () => assert.ok(box.read('root/etc/child-env').includes(secrets['rotated']!)),
    PATIENCE_MS,
  );

  // From here on only observed: what differs stays, and plans show it. One secret is a plain text from now on.
  box.manifests('observe', documents('no secret any more\n'));
  await box.expect('File/retired', false, 'Drifted');
  for (const name of ['env', 'age', 'file', 'credential']) {
    fs.appendFileSync(box.path(`root/etc/${name}`), '\nedited');
    box.homeostat('reconcile', `File/${name}`, '--config', box.path('agent.json'));
    await box.expect(`File/${name}`, false, 'Drifted');
  }
  await box.collect('while it drifts');
  const places = await box.stop();

  // The search itself: it finds them where they belong.
  const sandbox = filesBelow(box.path('root/etc'), 'etc');
  const there = new Set(findLeaks(secrets, sandbox).map(({ secret, place }) => `${secret} in ${place}`));
  for (const hit of [
    'rotated in etc/file',
    'env in etc/adopted',
    'age in etc/age',
    'age in etc/child-env',
    'credential in etc/child-env',
    'alloy in etc/open/config.alloy',
  ])
    assert.ok(there.has(hit), `${hit} is not found where it should be: ${[...there].join(', ')}`);
  for (const name of ['agent log', 'controller log', 'argv', 'agent/journal.log', 'agent/bundle.json'])
    assert.ok(
      (places.get(name)?.length ?? 0) > 0,
      `${name} was not looked at: ${[...places.keys()].join(', ')}`,
    );
  const argv = String(places.get('argv'));
  assert.match(argv, /validate .*config\.alloy/, 'Alloy’s argv was seen');
  assert.match(String(places.get('agent log')), /the secret's file|SecretUndecryptable/);

  if (engine !== undefined) {
    const file = box.path('root/srv/stack/compose.homeostat.exporter.env');
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  }

  assert.deepEqual(
    findLeaks(secrets, places).map(({ secret, form, place }) => `${secret}, ${form}, in ${place}`),
    [],
  );
});

class Box {
  readonly #directory: string;
  readonly #places = new Map<string, string | Buffer>();
  readonly #stops: (() => Promise<void>)[] = [];
  readonly #logs = new Map<string, () => string>();
  readonly #argv = new Set<string>();
  #controller = '';
  #dockerHost: string | undefined;
  #agentMetrics = '';
  #events = '';

  constructor(t: TestContext) {
    this.#directory = temporaryDirectory(t);
    t.after(() => this.#stopAll());
    fs.mkdirSync(this.path('repo'));
    this.#git('init', '-q', '-b', 'main');
  }

  path(name: string): string {
    return path.join(this.#directory, name);
  }

  write(name: string, text: string): void {
    fs.mkdirSync(path.dirname(this.path(name)), { recursive: true });
    fs.writeFileSync(this.path(name), text);
  }

  read(name: string): string {
    return fs.readFileSync(this.path(name), 'utf8');
  }

  /** A program that writes its argv down and is the stand-in for Alloy otherwise. */
  writeAlloy(): void {
    const real = path.join(root, 'test', 'support', 'alloy', 'alloy');
    this.write(
      'alloy',
      `#!/bin/sh\ntr '\\0' ' ' < /proc/$$/cmdline >> '${this.path('alloy-argv')}'\nexec '${real}' "$@"\n`,
    );
    fs.chmodSync(this.path('alloy'), 0o755);
  }

  /** A Docker engine, and a compose project of somebody's, to which ours is added. */
  async startEngine(): Promise<TestEngine> {
    const engine = await startDockerd();
    this.#stops.push(() => engine.stop());
    this.#dockerHost = engine.address;
    await stackImage(engine);
    this.write(
      'root/srv/stack/compose.yaml',
      `services: { theirs: { image: ${IMAGE}, network_mode: none } }\n`,
    );
    return engine;
  }

  /** A server that answers with what it was sent. @returns its URL. */
  async startEcho(): Promise<string> {
    const server = http.createServer(async (request, response) => {
      const body = await text(request);
      response
        .writeHead(500)
        .end(`refused: ${JSON.stringify(request.headers)} ${body} ${decodeURIComponent(body)}`);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#stops.push(async () => {
      server.closeAllConnections();
      server.close();
    });
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  document(kind: string, name: string, spec: object, where: object = { hosts: { all: true } }): object {
    return { apiVersion: 'homeostat.dev/v1', kind, metadata: { name }, ...where, spec };
  }

  manifests(mode: 'enforce' | 'observe', documents: readonly object[]): void {
    const host = { apiVersion: 'homeostat.dev/v1', kind: 'Host', metadata: { name: 'pi' }, spec: { mode } };
    // JSON is YAML.
    this.write('repo/all.yaml', [host, ...documents].map((d) => JSON.stringify(d)).join('\n---\n'));
    this.#git('add', '-A');
    this.#git('commit', '-qm', mode);
  }

  async startController(): Promise<void> {
    const args = ['--repo', this.path('repo'), '--state', this.path('controller'), '--listen', '127.0.0.1:0'];
    const started = await this.#start(
      'controller',
      ['controller', ...args, '--open-reads'],
      'controller started',
    );
    this.#controller = String(started['url']);
    const stop = new AbortController();
    const ended = this.#follow(`${this.#controller}/v1/events`, stop.signal);
    this.#stops.push(async () => {
      stop.abort();
      await ended;
    });
  }

  async startAgent(identity: string, env: Record<string, string>): Promise<void> {
    const token = this.homeostat(
      'token',
      'create',
      '--host',
      'pi',
      '--state',
      this.path('controller'),
    ).trim();
    this.write('age.key', identity);
    fs.chmodSync(this.path('age.key'), 0o600);
    const config = this.path('agent.json');
    const enroll = ['--controller', this.#controller, '--token', token, '--config', config, '--host', 'pi'];
    const said = this.homeostat('enroll', ...enroll, '--state', this.path('agent'));
    this.#places.set('enroll', said);
    const any = ['*'];
    const everything = {
      ...{ kinds: any, paths: ['/'], exec: any, units: any, urls: any, rootEquivalent: any },
      ...{ images: any, mounts: any, capabilities: any },
    };
    const secrets = [`${this.path('secrets')}/`, 'env:LEAK_*', 'credential:db', 'age'];
    const written = {
      ...(JSON.parse(fs.readFileSync(config, 'utf8')) as object),
      ...{ root: this.path('root'), socket: this.path('agent.sock'), listen: '127.0.0.1:0' },
      allow: { ...everything, secrets },
      ...(this.#dockerHost === undefined ? {} : { dockerHost: this.#dockerHost }),
    };
    fs.writeFileSync(config, JSON.stringify(written));
    const started = await this.#start('agent', ['agent', '--config', config], 'agent started', env);
    this.#agentMetrics = `http://${String(started['metrics'])}/metrics`;
  }

  /** A command to its end. @returns both its streams. */
  homeostat(...args: string[]): string {
    return execFileSync(process.execPath, [program, ...args], {
      encoding: 'utf8',
      env: { ...process.env, NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  async expect(key: string, ready: boolean | undefined, reason?: string): Promise<void> {
    await eventually(async () => {
      this.#seeArgv();
      const { status } = JSON.parse(await this.#ask('/v1/status')) as { status: AgentStatus };
      const found = status.resources.find((r) => r.key === key);
      const condition = findCondition(found?.conditions ?? [], 'Ready');
      const expected = ready === undefined ? 'Unknown' : ready ? 'True' : 'False';
      assert.equal(condition?.status, expected, `${key}: ${condition?.reason}: ${condition?.message}`);
      if (reason !== undefined) assert.equal(condition?.reason, reason, condition?.message);
    }, PATIENCE_MS);
  }

  /** Everything that is served and printed just now. */
  async collect(when: string): Promise<void> {
    const keep = (name: string, text: string | Buffer): void => {
      this.#places.set(`${name} ${when}`, text);
    };
    for (const url of ['/v1/status', '/v1/plan']) keep(`agent socket ${url}`, await this.#ask(url));
    keep('agent metrics', await (await fetch(this.#agentMetrics)).text());
    for (const url of ['/', '/hosts/pi', '/metrics', '/v1/fleet', '/v1/hosts/pi']) {
      const response = await fetch(this.#controller + url);
      assert.equal(response.status, 200, url);
      keep(`controller ${url}`, await response.text());
    }
    const local = ['--config', this.path('agent.json')];
    const remote = ['--controller', this.#controller];
    const commands: readonly string[][] = [
      ['status', ...local],
      ['status', '-o', 'json', ...local],
      ['plan', '--running', ...local],
      ['plan', '--dir', this.path('repo'), '--host', 'pi', ...local],
      ['render', 'pi', '--dir', this.path('repo')],
      ['get', 'hosts', ...remote],
      ['get', 'hosts', '-o', 'json', ...remote],
      ['describe', 'host', 'pi', ...remote],
      ['describe', 'host', 'pi', '-o', 'json', ...remote],
    ];
    await Promise.all(
      commands.map(async (args) => keep(`homeostat ${args.join(' ')}`, await this.#output(args))),
    );
    for (const [name, bytes] of filesBelow(this.path('agent'), 'agent')) {
      this.#places.set(name, Buffer.concat([Buffer.from(this.#places.get(name) ?? ''), bytes]));
    }
  }

  /** Ends both programs. @returns all that was collected, and what they leave behind. */
  async stop(): Promise<ReadonlyMap<string, string | Buffer>> {
    this.#seeArgv();
    await this.#stopAll();
    for (const [name, log] of this.#logs) this.#places.set(`${name} log`, log());
    this.#places.set('events', this.#events);
    this.#places.set('argv', [...this.#argv, this.read('alloy-argv')].join('\n'));
    const left = [
      ...filesBelow(this.path('agent'), 'agent at the end'),
      ...filesBelow(this.path('controller'), 'controller'),
      ...filesBelow(this.path('repo'), 'repo'),
      // What was put beside a config for Alloy to look at.
      ...[...filesBelow(this.path('root'), 'root')].filter(([name]) => /\/\.|homeostat[~-]/.test(name)),
    ];
    for (const [name, bytes] of left) this.#places.set(name, bytes);
    return this.#places;
  }

  async #start(name: string, args: string[], until: string, more: Record<string, string> = {}) {
    const env = { ...process.env, HOMEOSTAT_LOG_LEVEL: 'trace', ...more };
    const child = spawn(process.execPath, [program, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let log = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (log += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
    this.#logs.set(name, () => log);
    this.#stops.push(async () => {
      child.kill('SIGTERM');
      await ended;
    });
    return eventually(() => {
      assert.equal(child.exitCode, null, log);
      const line = log.split('\n').find((l) => l.includes(`"msg":"${until}"`));
      assert.ok(line !== undefined, `${name} has not started: ${log}`);
      return JSON.parse(line) as Record<string, unknown>;
    }, PATIENCE_MS);
  }

  async #stopAll(): Promise<void> {
    for (const stop of this.#stops.splice(0).reverse()) await stop();
  }

  async #follow(url: string, signal: AbortSignal): Promise<void> {
    try {
      const response = await fetch(url, { signal });
      for await (const chunk of response.body!) this.#events += Buffer.from(chunk).toString();
    } catch {} // aborted, or the controller stopped
  }

  #ask(url: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const request = http.get({ socketPath: this.path('agent.sock'), path: url }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => resolve(text));
      });
      request.on('error', reject);
    });
  }

  /** Both streams of a command, whatever its exit code is; its argv is looked at while it runs. */
  #output(args: readonly string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const env = { ...process.env, NO_COLOR: '1' };
      const child = spawn(process.execPath, [program, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      child.once('error', reject);
      child.once('close', () => resolve(text));
      this.#seeArgv();
    });
  }

  /** Of all processes that this test's own names or descends from. */
  #seeArgv(): void {
    for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        const text = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        if (text.includes(this.#directory)) this.#argv.add(text);
      } catch {} // it has ended
    }
  }

  #git(...args: string[]): void {
    const who = ['-c', 'user.name=T', '-c', 'user.email=t@example.com', '-c', 'commit.gpgsign=false'];
    execFileSync('git', [...who, ...args], { cwd: this.path('repo') });
  }
}
