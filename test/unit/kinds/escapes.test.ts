// What a controller that is taken over could have kinds read, quote or send: each has to be granted, or is kept back.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../../agent/providers/clock.ts';
import { createFiles } from '../../../agent/providers/files.ts';
import { createProcesses } from '../../../agent/providers/processes.ts';
import { digestOf } from '../../../api/json.ts';
import { diagnostics } from '../../../kinds/alloy-config/validate.ts';
import { obtain } from '../../../kinds/apt-repository/key.ts';
import { kinds } from '../../../kinds/index.ts';
import type { Desired, Permission } from '../../../kinds/kind.ts';
import type { Http } from '../../../kinds/ports.ts';
import { fitsGlob, fitsPathGlob } from '../../../kinds/shared/pattern.ts';
import { desiredOf } from '../../support/desired.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

const never = new AbortController().signal;

function desired(name: string, spec: object): Desired<Record<string, unknown>> {
  return desiredOf(`${name}/x`, kinds.get(name)!.spec.parse(spec), {
    digest: digestOf(spec),
    content: (value) => ({ bytes: Buffer.from(typeof value === 'string' ? value : ''), secret: false }),
  });
}

const shown = (permissions: readonly Permission[]): string[] =>
  permissions.map(({ type, value }) => `${type} ${value}`);

function host(t: TestContext) {
  const root = temporaryDirectory(t);
  const files = createFiles({ root });
  t.after(() => files.close());
  for (const directory of ['etc/prometheus/rules', 'srv'])
    fs.mkdirSync(path.join(root, directory), { recursive: true });
  const at = (p: string): string => path.join(root, p);
  const ports = { files, processes: createProcesses(), clock: systemClock };
  const resolve = async (name: string, spec: object) =>
    shown(await kinds.get(name)!.resolve!(desired(name, spec), ports as never, never));
  return { at, resolve };
}

test('every file that promtool would read, and quote, has to be granted, where it really is', async (t) => {
  const { at, resolve } = host(t);
  fs.writeFileSync(at('etc/shadow'), 'x');
  fs.symlinkSync('../../shadow', at('etc/prometheus/rules/a.yml'));
  fs.writeFileSync(at('etc/prometheus/rules/b.yml'), '');
  const content = `- job_name: a
  basic_auth: { username: x, "password\\x5ffile": /etc/one }
  bearer_token_file: two
  tls_config: &t { ca_file: /etc/three, cert_file: /etc/four, key_file: /etc/five }
  file_sd_configs: [{ files: [/etc/six, targets/*.json] }]
- job_name: b
  tls_config: *t
`;
  const found = await resolve('PrometheusConfig', {
    scrapeConfigs: { content },
    ruleFiles: ['rules/*.yml', '/etc/shadow', '../../srv/none.yml'],
  });
  assert.deepEqual(
    found.filter((permission) => permission.startsWith('path')),
    [
      'path /etc/prometheus/prometheus.yml',
      'path /etc/prometheus/homeostat.d/',
      'path /etc/shadow',
      'path /etc/prometheus/rules/b.yml',
      'path /srv/none.yml',
      'path /etc/one',
      'path /etc/prometheus/two',
      'path /etc/three',
      'path /etc/four',
      'path /etc/five',
      'path /etc/six',
      'path /etc/prometheus/targets/*.json',
    ],
  );
});

test('jobs whose aliases would fill the memory are refused', async (t) => {
  const { resolve } = host(t);
  const bomb = Array.from({ length: 40 }, (_, i) =>
    i === 0 ? '  a0: &a0 [x]' : `  a${i}: &a${i} [*a${i - 1}, *a${i - 1}]`,
  ).join('\n');
  const content = `- job_name: a\n${bomb}\n`;
  await assert.rejects(resolve('PrometheusConfig', { scrapeConfigs: { content } }), /too large to be read/);
});

test('patterns of rule files take no time, and mean what they mean to Prometheus', () => {
  assert.equal(fitsGlob('a'.repeat(5000), '*a'.repeat(500).concat('b')), false);
  assert.equal(fitsGlob('x', '{a,b}'.repeat(100)), false);
  for (const [name, pattern, does] of [
    ['a.yml', '*.yml', true],
    ['.a.yml', '*.yml', true],
    ['a.yml', '?.y[a-n]l', true],
    ['a.yml', '[^a].yml', false],
    ['b.yml', '[^a].yml', true],
    ['[', '[', true],
    ['*', '\\*', true],
    ['a', '\\*', false],
    ['a.yaml', '*.yml', false],
  ] as const) {
    assert.equal(fitsGlob(name, pattern), does, `${name} ${pattern}`);
  }
  assert.equal(fitsPathGlob('/a/b/c.yml', '/a/*.yml'), false);
});

test('Alloy’s complaint about another file than the config is not quoted', () => {
  const output = [
    'Error: /etc/alloy/.x:2:1: failed to import',
    '',
    '1 | import.file "x" { filename = "/etc/shadow" }',
    '  | ^^^',
    'Error: /etc/shadow:1:6: expected block label, got *',
    '',
    '1 | root:$6$secret:1:0:::::',
    '  | ^^^',
    'Error: /etc/alloy/.x:3:1: unrecognized attribute',
    '3 | our text',
  ].join('\n');
  const said = diagnostics(output, '/etc/alloy/.x', { path: '/etc/alloy/config.alloy', secret: false });
  assert.doesNotMatch(said, /secret|root:/);
  assert.match(said, /^\/etc\/alloy\/config\.alloy:2:1: failed to import/);
  assert.match(said, /\/etc\/shadow:1:6: it can't be read/);
  assert.match(said, /3 \| our text/);
});

test('a key is taken from no other origin than the one that is granted', async () => {
  const asked: string[] = [];
  const http: Http = {
    async request(url) {
      asked.push(url);
      return { status: 302, headers: { location: 'http://169.254.169.254/latest' }, body: '' };
    },
  };
  const spec = kinds.get('AptRepository')!.spec.parse({
    ...{ name: 'x', uris: ['https://apt.example.org'], suites: ['./'] },
    key: { fingerprint: 'A'.repeat(40), url: 'https://apt.example.org/key' },
  });
  await assert.rejects(
    obtain(spec as never, { http } as never, never),
    /leads to http:\/\/169\.254\.169\.254/,
  );
  assert.deepEqual(asked, ['https://apt.example.org/key']);
});

test('addresses that the agent asks, or Grafana for it, need a grant of their origin', () => {
  const permissions = (name: string, spec: object) =>
    shown(kinds.get(name)!.permissions(kinds.get(name)!.spec.parse(spec))).filter((p) => p.startsWith('url'));
  assert.deepEqual(permissions('AlloyConfig', { content: '', address: '10.0.0.1:80' }), [
    'url http://10.0.0.1',
  ]);
  assert.deepEqual(permissions('PrometheusConfig', { address: 'prometheus:9090/p' }), [
    'url http://prometheus:9090',
  ]);
  assert.deepEqual(permissions('TailscaleClient', { webclient: true, metrics: { address: '10.0.0.1:1' } }), [
    'url http://10.0.0.1:1',
  ]);
  assert.deepEqual(permissions('TailscaleClient', { webclient: true }), []);
  const grafana = { url: 'http://grafana:3000/sub', token: { secretFrom: { file: '/t' } } };
  const source = { grafana, uid: 'x', name: 'x', type: 'loki', url: 'http://169.254.169.254/latest' };
  assert.deepEqual(permissions('GrafanaDatasource', source), [
    'url http://grafana:3000',
    'url http://169.254.169.254',
  ]);
});

test('a field of a repository is one word, so that no line or option comes with it', () => {
  const good = {
    name: 'x',
    uris: ['https://a.example'],
    suites: ['s'],
    components: ['main'],
    key: { fingerprint: 'A'.repeat(40) },
  };
  const { spec } = kinds.get('AptRepository')!;
  assert.ok(spec.safeParse(good).success);
  for (const bad of ['a\nTrusted: yes', 'a b', 'a\ttrusted=yes', 'a]', 'a\u2028b', 'a\u0000']) {
    for (const field of [
      { uris: [`https://a.example/${bad}`] },
      { suites: [bad] },
      { components: [bad] },
      { architectures: [bad] },
      { name: bad },
    ]) {
      assert.equal(spec.safeParse({ ...good, ...field }).success, false, JSON.stringify(field));
    }
  }
});
