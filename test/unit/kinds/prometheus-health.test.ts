// What PrometheusConfig says of a Prometheus that does not run what is on disk, or does not say what it runs; and what it
// leaves alone meanwhile. Prometheus's API is played by the test.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../../agent/providers/clock.ts';
import { Stalled, Waiting } from '../../../api/errors.ts';
import type { Processes } from '../../../kinds/ports.ts';
import { withoutLostSecrets } from '../../../kinds/prometheus-config/connection.ts';
import { prometheusConfig as kind } from '../../../kinds/prometheus-config/index.ts';
import { writeNewer } from '../../support/prometheus.ts';
import { evidenceOf, PrometheusHost } from '../../support/prometheus-passes.ts';

const SPEC = { scrapeConfigs: { content: "- job_name: ours\n  static_configs: [{targets: ['b:2']}]\n" } };

/** Another program at an address of its own. */
async function answering(
  t: TestContext,
  status: number | readonly [number, Record<string, string>],
  body: string,
): Promise<string> {
  const [code, headers] = typeof status === 'number' ? [status, {}] : status;
  const server = http.createServer((_, response) => response.writeHead(code, headers).end(body));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Brought there and confirmed. */
async function confirmed(host: PrometheusHost, spec: Record<string, unknown> = SPEC) {
  const { before } = await host.pass(host.desire('p', spec));
  return { d: host.desire('p', spec, { heal: true }), before };
}

test('a heal that was killed before its reload shows as a difference, to any agent, and is loaded', async (t) => {
  const host = await PrometheusHost.open(t);
  const { d } = await confirmed(host);
  const right = host.text;
  host.put('# theirs\n');
  host.served.reload();
  host.put(right);
  assert.deepEqual(
    (await host.changes(d)).map(({ what }) => what),
    ['loaded'],
  );
  await host.pass(d);
  assert.match(host.served.loaded, /job_name: ours/);
  assert.equal((await host.assess(d)).verdict, 'Yes');
});

test('a reload that failed shows as a difference, whatever the file looks like since', async (t) => {
  const host = await PrometheusHost.open(t);
  const { d } = await confirmed(host);
  const right = host.text;
  host.put(`${right}# refused\n`);
  host.served.reload();
  host.put(right);
  const [change] = await host.changes(d);
  assert.match(`${change?.what}: ${change?.from}`, /^loaded: its last reload failed/);
  await host.pass(d);
  assert.equal((await host.assess(d)).verdict, 'Yes');
});

for (const [name, status, body, reason, words] of [
  [
    'a password is wanted',
    401,
    'Unauthorized',
    'Unauthorized',
    /answers 401 \("Unauthorized"\): .*give user and password, or bearerToken/,
  ],
  ['forbidden', 403, '', 'Forbidden', /status\/config answers 403: let it be asked for/],
  [
    'TLS',
    400,
    'Client sent an HTTP request to an HTTPS server.',
    'NotPrometheus',
    /begin address with https/,
  ],
  ['another method', 405, 'Method Not Allowed', 'NotPrometheus', /answers 405 .*else the right one/],
  ['a proxy', 502, '<h1>502 Bad Gateway</h1>', 'NotPrometheus', /does not reach it: is it running/],
  [
    'a redirect',
    [301, { location: 'https://mon.example.net/login' }],
    '',
    'NotPrometheus',
    /answers 301, .*leads to https:\/\/mon\.example\.net\/login: give the address/,
  ],
  [
    'another path',
    404,
    '404 page not found',
    'NotPrometheus',
    /answers 404.*below a path.*address with that path/,
  ],
  ['a page', 200, '<html>Grafana</html>', 'NotPrometheus', /answers 200 \("<html>Grafana<\/html>"\)/],
  ['not ready', 503, 'Service Unavailable', 'PrometheusStarting', /is starting/],
] as const) {
  test(`what answers is no Prometheus that says what it runs: ${name}`, async (t) => {
    const host = await PrometheusHost.open(t);
    await confirmed(host);
    const spec = { ...SPEC, address: await answering(t, status, body) };
    const words0 = evidenceOf(await host.assess(host.desire('p', spec, { heal: true })));
    assert.match(words0, new RegExp(`^Unknown ${reason}`));
    assert.match(words0, words);
    assert.doesNotMatch(words0, /nobody|lifecycle/);
    if (reason === 'PrometheusStarting') return;
    // Nothing is written that nobody would know of whether it is loaded.
    const text = host.text;
    const more = { ...spec, scrapeConfigs: { content: '- job_name: more\n' } };
    await assert.rejects(
      host.pass(host.desire('p', more)),
      (e) => e instanceof Waiting && e.reason === reason,
    );
    assert.equal(host.text, text);
  });
}

test('who speaks no HTTP, or none of the kind that is spoken, is somebody', async (t) => {
  const host = await PrometheusHost.open(t);
  await confirmed(host);
  let greeting: string | undefined = 'SSH-2.0-OpenSSH_9.2\r\n';
  const server = net.createServer((socket) => {
    socket.on('error', () => undefined);
    if (greeting === undefined) socket.destroy();
    else socket.end(greeting);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const said = async (spec: object) =>
    evidenceOf(await host.assess(host.desire('p', { ...SPEC, ...spec }, { heal: true })));
  assert.match(await said({ address }), /^Unknown NotPrometheus: .*speaks? HTTP as it should/);
  assert.match(
    await said({ address: `https://${address}` }),
    /^Unknown NotPrometheus: .*speaks? TLS .*without https/,
  );
  greeting = undefined;
  assert.match(
    await said({ address }),
    /^Unknown NotPrometheus: .*speaks? HTTP as it should \(other side closed/,
  );
});

test('a secret that was sent comes back in no message', async (t) => {
  const secret = 'pw-geheim-1';
  const content = () => ({ bytes: Buffer.from(secret), secret: true });
  const host = await PrometheusHost.open(t);
  await confirmed(host);
  const server = http.createServer(({ headers }, response) =>
    response.writeHead(301, { location: `/?${headers.authorization}` }).end(headers.authorization),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const password = { secretFrom: { env: 'X' } };
  for (const as of [{ user: 'u', password }, { bearerToken: password }]) {
    const d = host.desire('p', { ...SPEC, address, ...as }, { heal: true, content });
    const words = evidenceOf(await host.assess(d));
    assert.match(words, /answers 301, .*leads elsewhere/);
    assert.ok(!words.includes(secret) && !words.includes(Buffer.from(`u:${secret}`).toString('base64')));
    assert.deepEqual(kind.check!(d.spec as never), []);
  }
});

for (const [name, more, words] of [
  ['a user alone', { user: 'u' }, /give password/],
  ['a password alone', { password: { secretFrom: { env: 'X' } } }, /give user/],
  ['a file of an authority without TLS', { caFile: '/ca.pem' }, /begin address with https/],
] as const) {
  test(`what is half given is named: ${name}`, () => {
    const [finding, ...others] = kind.check!(kind.spec.parse({ ...SPEC, ...more }));
    assert.match(finding!.message, words);
    assert.deepEqual(others, []);
  });
}

test('nobody answers: Unknown, and a change is rolled back for it only when it takes too long', async (t) => {
  const host = await PrometheusHost.open(t);
  const { d, before } = await confirmed(host);
  await host.served.close();
  assert.match(evidenceOf(await host.assess(d)), /^Unknown PrometheusNotRunning: nobody answers at 127/);
  const trial = (elapsedMs: number) => host.assess(d, { before, elapsedMs });
  assert.match(evidenceOf(await trial(1_000)), /^Unknown PrometheusStopped/);
  assert.match(evidenceOf(await trial(60_000)), /^No PrometheusStopped: it answered before the change/);
  const stopped = { ...(before as object), answered: false };
  assert.match(evidenceOf(await host.assess(d, { before: stopped, elapsedMs: 60_000 })), /^Unknown/);
});

test('a Prometheus that reads another file is said to, and not reloaded for it', async (t) => {
  const host = await PrometheusHost.open(t);
  const { d } = await confirmed(host);
  host.served.configFile = '/etc/prometheus/prometheus.yml';
  host.served.loaded = '# another file\n';
  const words = evidenceOf(await host.assess(d));
  assert.match(
    words,
    /^No NotLoaded: .*does not run job ours; .*loaded at 20\S+Z: does it read \/prometheus\.yml\?/,
  );
  host.served.loaded = host.text.replace('b:2', 'c:3');
  assert.match(evidenceOf(await host.assess(d)), /does not run job ours as it stands here.*inPlace/);
});

test('below a path, Prometheus is asked there', async (t) => {
  const host = await PrometheusHost.open(t);
  const paths: string[] = [];
  const { request } = host.ports.http;
  Object.assign(host.ports.http, {
    request: (url: string, options: Parameters<typeof request>[1]) => {
      paths.push(new URL(url).pathname);
      return request(url.replace('/prom/', '/'), options);
    },
  });
  await confirmed(host, { ...SPEC, address: `${host.served.address}/prom` });
  assert.ok(
    paths.every((p) => p.startsWith('/prom/')),
    paths.join(),
  );
  assert.ok(paths.includes('/prom/-/reload'));
});

test('where it can be neither reloaded over HTTP nor signalled, nothing is written', async (t) => {
  const host = await PrometheusHost.open(t);
  host.served.hasLifecycle = false;
  const message = /name its unit or container here/;
  await assert.rejects(host.pass(host.desire('p', SPEC)), message);
  assert.equal(host.text, '# theirs\n');
});

test('what was written just now is waited for, also by a heal, a removal and a reload', async (t) => {
  // Before what the file system calls now, so that it says nothing of what was loaded.
  let nowMs = Date.now() - 3_600_000;
  const clock = { ...systemClock, now: () => nowMs };
  const host = await PrometheusHost.open(t, { ports: { clock } });
  host.served.now = () => nowMs;
  host.served.loadedAtMs = nowMs;
  const { d, before } = await confirmed(host);
  const right = host.text;
  const isEdited = (e: unknown) => e instanceof Waiting && e.reason === 'BeingEdited' && e.afterMs > 0;
  const write = (text: string) => {
    fs.writeFileSync(host.file, text);
    fs.utimesSync(host.file, nowMs / 1000, nowMs / 1000);
  };
  // Half of it, cut at a line's end, with the block still to come.
  const theirs = 'global: {}\nscrape_configs:\n  - job_name: theirs\n';
  const longer = `${right}global: {}\nrule_files: []\nalerting: {}\n`;
  for (const [text, attempt] of [
    [theirs, () => host.pass(d)],
    [longer, () => host.pass(d)],
    [longer, () => host.undo(before, d)],
  ] as const) {
    nowMs += 60_000;
    host.served.loaded = '# what was there before\n';
    write(text);
    nowMs += 800;
    await assert.rejects(attempt(), isEdited);
    assert.equal(host.text, text);
    nowMs += 3_000;
    await attempt();
  }
});

test('what we wrote ourselves is not waited for, and an empty file is nobody’s config', async (t) => {
  const host = await PrometheusHost.open(t);
  await confirmed(host);
  await confirmed(host, { scrapeConfigs: { content: '- job_name: other\n' } });
  host.put('');
  const d = host.desire('p', SPEC, { heal: true });
  await assert.rejects(host.pass(d), (e) => e instanceof Waiting && e.reason === 'Empty');
  assert.equal(host.text, '');
});

test('a broken rule file is reported, with promtool’s words, and never reloaded; a good one is loaded', async (t) => {
  let isBroken = false;
  const processes: Processes = {
    run: async () => ({
      exitCode: isBroken ? 1 : 0,
      stdout: 'Checking x\n SUCCESS: x is valid prometheus config file syntax\n',
      stderr: isBroken ? '  FAILED:\n r.yml: 1:48: could not parse expression: parse error' : '',
    }),
  };
  const host = await PrometheusHost.open(t, { ports: { processes } });
  fs.mkdirSync(path.join(host.root, 'rules'));
  const rule = path.join(host.root, 'rules', 'r.yml');
  fs.writeFileSync(rule, 'groups: []\n');
  const { d, before } = await confirmed(host, { ...SPEC, ruleFiles: ['rules/*.yml'] });
  const loaded = host.served.loadedAtMs;
  isBroken = true;
  writeNewer(rule, 'groups: [1]\n');
  const words = evidenceOf(await host.assess(d));
  assert.match(words, /^No RulesRefused: \/rules\/r\.yml changed after .*FAILED.*could not parse expression/);
  assert.match(evidenceOf(await host.assess(d, { before, elapsedMs: 1_000 })), /^Unknown RulesRefused/);
  assert.equal(host.served.loadedAtMs, loaded);
  isBroken = false;
  assert.deepEqual(
    (await host.changes(d)).map(({ what }) => what),
    ['loaded'],
  );
  await host.pass(d);
  assert.ok(host.served.loadedAtMs > loaded);
  // A change is not refused for good for what others have to mend.
  isBroken = true;
  const more = { ...SPEC, ruleFiles: ['rules/*.yml', 'more.yml'] };
  await assert.rejects(
    host.pass(host.desire('p', more)),
    (e) => e instanceof Waiting && e.reason === 'RulesRefused',
  );
});

test('what was loaded in the future is loaded again: to later changes its time says nothing', async (t) => {
  let setBackMs = 0;
  const clock = { ...systemClock, now: () => Date.now() + 1_000 - setBackMs };
  const host = await PrometheusHost.open(t, { ports: { clock } });
  const { d } = await confirmed(host);
  assert.deepEqual(await host.changes(d), []);
  setBackMs = 3_600_000;
  const [change] = await host.changes(d);
  assert.match(`${change?.what} ${change?.from}`, /^loaded it was last loaded at .*, which is in the future/);
});

test('what another document wrote since is loaded', async (t) => {
  const clock = { ...systemClock, now: () => Date.now() + 1_000 };
  const host = await PrometheusHost.open(t, { ports: { clock } });
  const spec = { ...SPEC, reloadOn: ['File/token'] };
  const { d } = await confirmed(host, spec);
  const inputs = (appliedAtMs: number) => ({ ...d, inputs: { 'File/token': { digest: 'x', appliedAtMs } } });
  assert.deepEqual(await host.changes(inputs(0)), []);
  assert.deepEqual(await host.changes(inputs(host.served.loadedAtMs - 1)), []);
  const [change] = await host.changes(inputs(host.served.loadedAtMs + 1));
  assert.match(`${change?.what} ${change?.from}`, /^loaded File\/token changed after/);
});

for (const [name, spec, theirs, reason, words] of [
  [
    'a name over several lines',
    SPEC,
    'scrape_configs:\n- metrics_path: /x\n  "job_name": >-\n    ours\n',
    'JobNameTaken',
    /prometheus\.yml:5: there is a job ours that is not ours: remove it there/,
  ],
  [
    'a name with an escape',
    SPEC,
    'scrape_configs:\n- {job_name: "o\\x75rs"}\n',
    'JobNameTaken',
    /a job ours/,
  ],
  [
    'a rule file',
    { ...SPEC, ruleFiles: ['a.yml'] },
    'rule_files:\n- a.yml\n',
    'RuleFileTaken',
    /prometheus\.yml:3: rule file a\.yml is listed already/,
  ],
  [
    'jobs that a parser finds and a reader does not',
    { scrapeConfigs: { content: '- job_name: ours\n- "job_n\\x61me": hidden\n' } },
    '',
    'Invalid',
    /write each job as/,
  ],
] as const) {
  test(`refused before anything is written: ${name}`, async (t) => {
    const host = await PrometheusHost.open(t, { theirs: `# theirs\n${theirs}` });
    const text = host.text;
    await assert.rejects(host.pass(host.desire('p', spec)), (e) => {
      assert.ok(e instanceof Stalled && e.reason === reason, String(e));
      assert.match(e.message, words);
      return true;
    });
    assert.equal(host.text, text);
  });
}

test('an undo asks without a secret that is gone, and signals then', () => {
  const server = {
    address: '127.0.0.1:9090',
    unit: 'prometheus.service',
    user: 'us',
    password: { secretFrom: { file: '/gone' } },
  };
  const lost = () => {
    throw new Stalled('SecretMissing', 'it is gone');
  };
  const there = () => ({ bytes: Buffer.from('x'), secret: true });
  const left = withoutLostSecrets({ ...server, content: lost });
  assert.deepEqual([left.password, left.user, left.unit], [undefined, undefined, server.unit]);
  assert.equal(withoutLostSecrets({ ...server, content: there }).password, server.password);
});
