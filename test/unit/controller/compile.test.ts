// What comes out of good manifests: who gets what, in which words, and how little is done again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Payload } from '../../../api/bundle.ts';
import { sha256 } from '../../../api/json.ts';
import { type Compilation, compile } from '../../../controller/pipeline/compile.ts';
import { memorySnapshot, testKinds } from './support.ts';

const HOSTS = `apiVersion: homeostat.dev/v1
kind: Fleet
metadata: {name: home}
spec:
  vars: {port: 9090, region: eu}
  scrape:
    - {job: tailscale-clients, port: 5252, labels: {tailscale_machine: '\${host.name}'}}
    - {job: node-exporter, port: 9100, hosts: {matchLabels: {telemetry: lean}}}
---
apiVersion: homeostat.dev/v1
kind: Host
metadata: {name: pi, labels: {alloy: apt, os: linux}}
spec: {address: 198.18.0.8, mode: enforce, vars: {region: home}}
---
apiVersion: homeostat.dev/v1
kind: Host
metadata: {name: droplet, labels: {alloy: docker, os: linux}}
spec: {address: 198.18.0.45}
---
apiVersion: homeostat.dev/v1
kind: Host
metadata: {name: mac}
spec: {}
`;

const file = (name: string, hosts: string, spec: string): string =>
  `apiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: ${name}}\nhosts: ${hosts}\nspec: ${spec}\n---\n`;

async function good(
  files: Record<string, string>,
  previous?: Compilation,
  commit?: string,
): Promise<Compilation> {
  const result = await compile(memorySnapshot(files, commit), testKinds, previous);
  assert.deepEqual(result.diagnostics, []);
  return result;
}

function payload(result: Compilation, host: string): Payload {
  const found = result.revision?.hosts.get(host);
  assert.ok(found);
  assert.equal(sha256(found.payloadText), found.payloadDigest);
  return Payload.parse(JSON.parse(found.payloadText));
}

const keys = (p: Payload): string[] => p.resources.map((r) => `${r.kind}/${r.name}`);

test('documents go to the hosts they select, and to no others', async () => {
  const result = await good({
    'h.yaml': HOSTS,
    'f.yaml':
      file('all', '{all: true}', '{path: /a, content: x}') +
      file('apt', '{matchLabels: {alloy: apt, os: linux}}', '{path: /b, content: x}') +
      file('named', '{names: [mac, pi]}', '{path: /c, content: x}'),
    'p.yaml':
      'apiVersion: homeostat.dev/v1\nkind: Policy\nmetadata: {name: p}\nrunOn: mac\nspec: {tailnet: x}\n',
    '.github/workflows/ci.yaml': 'not: a manifest\n',
    'README.md': '# hello\n',
  });
  assert.deepEqual(keys(payload(result, 'pi')), ['File/all', 'File/apt', 'File/named']);
  assert.deepEqual(keys(payload(result, 'droplet')), ['File/all']);
  assert.deepEqual(keys(payload(result, 'mac')), ['File/all', 'File/named', 'Policy/p']);
});

test('expressions choose by labels that hosts lack, too, and all of a selector must hold', async () => {
  const expect: [expression: string, hosts: string[]][] = [
    ['matchExpressions: [{key: alloy, operator: In, values: [apt, docker]}]', ['droplet', 'pi']],
    ['matchExpressions: [{key: alloy, operator: NotIn, values: [apt]}]', ['droplet', 'mac']],
    ['matchExpressions: [{key: alloy, operator: Exists}]', ['droplet', 'pi']],
    ['matchExpressions: [{key: alloy, operator: DoesNotExist}]', ['mac']],
    [
      'matchLabels: {os: linux}, matchExpressions: [{key: alloy, operator: NotIn, values: [apt, x]}]',
      ['droplet'],
    ],
    [
      'matchExpressions: [{key: os, operator: Exists}, {key: alloy, operator: In, values: [docker]}]',
      ['droplet'],
    ],
    ['matchExpressions: [{key: constructor, operator: DoesNotExist}]', ['droplet', 'mac', 'pi']],
  ];
  const result = await good({
    'h.yaml': HOSTS,
    'f.yaml': expect.map(([hosts], i) => file(`f${i}`, `{${hosts}}`, `{path: /f${i}, content: x}`)).join(''),
  });
  for (const [i, [expression, hosts]] of expect.entries()) {
    const has = ['droplet', 'mac', 'pi'].filter((h) => keys(payload(result, h)).includes(`File/f${i}`));
    assert.deepEqual(has, hosts, expression);
  }
});

test('a label that is edited moves what expressions choose', async () => {
  const f = file(
    'f',
    '{matchExpressions: [{key: alloy, operator: NotIn, values: [docker]}]}',
    '{path: /f, content: x}',
  );
  const first = await good({ 'h.yaml': HOSTS, 'f.yaml': f });
  const second = await good({ 'h.yaml': HOSTS.replace('alloy: apt', 'alloy: docker'), 'f.yaml': f }, first);
  const had = (c: Compilation): string[] =>
    ['droplet', 'mac', 'pi'].filter((h) => keys(payload(c, h)).includes('File/f'));
  assert.deepEqual([had(first), had(second)], [['mac', 'pi'], ['mac']]);
});

test('the payload holds the host’s facts, the defaults, and where each document stands', async () => {
  const result = await good({
    'h.yaml': HOSTS,
    'a/f.yaml': `${file('one', '{names: [pi]}', '{path: /a, content: x}')}apiVersion: homeostat.dev/v1
kind: Service
metadata: {name: s}
hosts: {names: [pi]}
dependsOn: [{ref: File/one}, {ref: File/one, until: Applied}]
drift: warn
prune: orphan
suspend: true
spec: {unit: s.service}
`,
  });
  const { host, resources } = payload(result, 'pi');
  assert.deepEqual(host, {
    name: 'pi',
    address: '198.18.0.8',
    labels: { alloy: 'apt', os: 'linux' },
    mode: 'enforce',
    decommission: false,
    confirmRemovals: [],
  });
  assert.equal(payload(result, 'mac').host.mode, 'observe', 'a new host only observes');
  const { spec: _, ...one } = resources[0]!;
  assert.deepEqual(one, {
    kind: 'File',
    name: 'one',
    dependsOn: [],
    drift: 'enforce',
    prune: 'delete',
    suspend: false,
    source: 'a/f.yaml:1',
  });
  assert.deepEqual(resources[1], {
    kind: 'Service',
    name: 's',
    dependsOn: [
      { ref: 'File/one', until: 'Ready' },
      { ref: 'File/one', until: 'Applied' },
    ],
    drift: 'warn',
    prune: 'orphan',
    suspend: true,
    spec: { unit: 's.service' },
    source: 'a/f.yaml:7',
  });
});

test('names are filled in, in specs and files, and everything else is left alone', async () => {
  const result = await good({
    'h.yaml': HOSTS,
    'f.yaml': file(
      'f',
      '{names: [pi, droplet]}',
      '{path: "/etc/${host.name}", contentFrom: "texts/${host.labels.alloy}.txt"}',
    ),
    'texts/apt.txt':
      '${host.address}:${vars.port} ${vars.region} $${vars.region} $1 ${1} ${HOME} ${env:X} $${ ${ host.name }',
    'texts/docker.txt': 'docker in ${vars.region}',
    'texts/binary.bin': 'never read',
  });
  const spec = (host: string) => payload(result, host).resources[0]!.spec;
  assert.deepEqual(spec('pi'), {
    path: '/etc/pi',
    content: '198.18.0.8:9090 home ${vars.region} $1 ${1} ${HOME} ${env:X} ${ ${ host.name }',
  });
  assert.deepEqual(spec('droplet'), { path: '/etc/droplet', content: 'docker in eu' });
});

test('targets are those of all hosts that have an address, and a host that changes changes them', async () => {
  const files = {
    'h.yaml': HOSTS,
    'a.yaml': file(
      'a',
      '{names: [mac]}',
      '{path: /a, content: "jobs: ${targets.tailscale-clients} $${targets.x}"}',
    ),
    'b.yaml': file('b', '{names: [mac]}', '{path: /b, contentFrom: b.txt}'),
    'b.txt': '${targets.node-exporter}',
    'c.yaml': file('c', '{names: [pi]}', '{path: /c, content: x}'),
  };
  const group = (host: string, target: string) =>
    `{"targets":["${target}"],"labels":{"host":"${host}","tailscale_machine":"${host}"}}`;
  const contents = (c: Compilation) => payload(c, 'mac').resources.map(({ spec }) => spec['content']);
  const first = await good(files);
  const [droplet, pi] = [group('droplet', '198.18.0.45:5252'), group('pi', '198.18.0.8:5252')];
  assert.deepEqual(contents(first), [`jobs: [${droplet},${pi}] \${targets.x}`, '[]']);

  const lean = HOSTS.replace('alloy: docker', 'alloy: docker, telemetry: lean');
  const second = await good({ ...files, 'h.yaml': lean }, first);
  const scraped = '[{"targets":["198.18.0.45:9100"],"labels":{"host":"droplet"}}]';
  assert.deepEqual(contents(second), [`jobs: [${droplet},${pi}] \${targets.x}`, scraped]);
  const third = await good(
    { ...files, 'h.yaml': lean, 'c.yaml': file('c', '{names: [pi]}', '{path: /c, content: y}') },
    second,
  );
  assert.deepEqual(contents(third), contents(second));
});

test('a variable is the number or truth that it is where a kind wants one, and text where it wants text', async () => {
  const service = (port: string): string =>
    `apiVersion: homeostat.dev/v1\nkind: Service\nmetadata: {name: s}\nhosts: {names: [pi]}\nspec: {unit: "\${vars.port}.service", port: "${port}"}\n`;
  const result = await good({ 'h.yaml': HOSTS, 's.yaml': service('${vars.port}') });
  assert.deepEqual(payload(result, 'pi').resources[0]!.spec, { unit: '9090.service', port: 9090 });
  const bad = await compile(
    memorySnapshot({ 'h.yaml': HOSTS, 's.yaml': service('${vars.region}') }),
    testKinds,
  );
  assert.deepEqual(
    bad.diagnostics.map((d) => `${d.line}:${d.column} ${d.message}`),
    ['5:44 on host pi, "port" must be a number, and is text'],
  );
});

test('the same manifests give the same bytes, in whatever order they are written', async () => {
  const a = await good({ 'h.yaml': HOSTS, 'a.yaml': file('a', '{all: true}', '{path: /a, content: x}') });
  const b = await good({ 'h.yaml': HOSTS, 'a.yaml': file('a', '{all: true}', '{content: x, path: /a}') });
  assert.equal(a.revision?.hosts.get('pi')?.payloadDigest, b.revision?.hosts.get('pi')?.payloadDigest);
});

test('a change of one file reads that file, and re-renders what hangs on it', async () => {
  const files = {
    'h.yaml': HOSTS,
    'a.yaml': file('a', '{names: [pi]}', '{path: /a, contentFrom: a.txt}'),
    'b.yaml': file('b', '{names: [droplet]}', '{path: /b, contentFrom: b.txt}'),
    'a.txt': 'a',
    'b.txt': 'b',
  };
  const first = await good(files);
  const snapshot = memorySnapshot({ ...files, 'a.txt': 'changed ${host.name}' }, 'two');
  const second = await compile(snapshot, testKinds, first);
  assert.deepEqual(snapshot.reads, ['a.txt']);
  assert.equal(payload(second, 'pi').resources[0]!.spec['content'], 'changed pi');
  const digest = (c: Compilation, host: string) => c.revision?.hosts.get(host)?.payloadDigest;
  assert.equal(digest(first, 'droplet'), digest(second, 'droplet'));
  assert.notEqual(digest(first, 'pi'), digest(second, 'pi'));
  assert.equal(second.revision?.commit, 'two');
});

test('however it was come by, a compilation says what one from nothing says', async () => {
  // Walks through edits of every sort, carrying the memory along, and compares with a fresh compilation each time.
  const base: Record<string, string> = {
    'h.yaml': HOSTS,
    'a.yaml': file('a', '{all: true}', '{path: /a, content: "${vars.region}"}'),
    'b.yaml': file('b', '{matchLabels: {os: linux}}', '{path: /b, contentFrom: b.txt}'),
    'b.txt': 'static',
  };
  const edits: ((f: Record<string, string>) => void)[] = [
    (f) => (f['b.txt'] = 'now with ${vars.port}'),
    (f) => (f['b.txt'] = 'unknown ${vars.nope}'),
    (f) => (f['b.txt'] = '${targets.tailscale-clients}'),
    (f) => (f['h.yaml'] = HOSTS.replace('198.18.0.45', '198.18.0.46')),
    (f) =>
      (f['h.yaml'] =
        `${HOSTS}---\napiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: new}\nspec: {address: 198.18.0.9}\n`),
    (f) => (f['a.yaml'] = file('a', '{all: true}', '{path: /a, content: "${targets.tailscale-client}"}')),
    (f) => (f['a.yaml'] = file('a', '{all: true}', '{path: /a, content: "${targets.node-exporter}"}')),
    (f) => (f['h.yaml'] = HOSTS),
    (f) => (f['b.txt'] = 'static again'),
    (f) => delete f['b.txt'],
    (f) => (f['b.txt'] = 'back'),
    (f) => (f['h.yaml'] = HOSTS.replace('region: eu', 'region: us')),
    (f) => (f['h.yaml'] = HOSTS.replace('os: linux}}\nspec: {address: 198.18.0.45}', 'os: bsd}}\nspec: {}')),
    (f) =>
      (f['d.yaml'] = file(
        'd',
        '{matchExpressions: [{key: os, operator: NotIn, values: [linux]}]}',
        '{path: /d, content: x}',
      )),
    (f) => (f['h.yaml'] = f['h.yaml']!.replaceAll('os: bsd', 'os: linus')),
    (f) => delete f['d.yaml'],
    (f) => (f['a.yaml'] = 'kind: [broken'),
    (f) => (f['a.yaml'] = file('a', '{names: [mac]}', '{path: /b, content: x}')),
    (f) => (f['h.yaml'] = HOSTS),
    (f) => (f['a.yaml'] = file('a', '{all: true}', '{path: /b, content: x}')),
    (f) => delete f['a.yaml'],
    (f) => (f['c.yaml'] = file('b', '{all: true}', '{path: /c, content: x}')),
    (f) => delete f['h.yaml'],
    (f) => (f['h.yaml'] = HOSTS),
    (f) => delete f['c.yaml'],
  ];
  let last: Compilation | undefined;
  const seen = (c: Compilation) => ({
    diagnostics: c.diagnostics,
    hosts: c.revision && [...c.revision.hosts].map(([n, h]) => [n, h.payloadText, h.payloadDigest]),
  });
  for (const edit of edits) {
    edit(base);
    last = await compile(memorySnapshot(base), testKinds, last);
    assert.deepEqual(seen(last), seen(await compile(memorySnapshot(base), testKinds)));
  }
  assert.ok(last?.revision);
});

test('an error anywhere means no revision; a warning alone does not', async () => {
  const broken = await compile(memorySnapshot({ 'h.yaml': HOSTS, 'x.yaml': 'kind: Nope\n' }), testKinds);
  assert.equal(broken.revision, undefined);
  const warned = await compile(
    memorySnapshot({
      'h.yaml': HOSTS,
      'f.yaml': file('f', '{matchLabels: {a: b}}', '{path: /f, content: x}'),
    }),
    testKinds,
  );
  assert.equal(warned.diagnostics[0]?.severity, 'warning');
  assert.ok(warned.revision);
  const empty = await compile(memorySnapshot({}), testKinds);
  assert.ok(empty.revision);
});

test('secrets stay references: nothing of them is resolved here', async () => {
  const result = await good({
    'h.yaml': HOSTS,
    'f.yaml': file(
      'f',
      '{names: [pi]}',
      '{path: /f, content: {secretFrom: {file: "/run/secrets/${host.name}"}}}',
    ),
  });
  assert.deepEqual(payload(result, 'pi').resources[0]!.spec, {
    path: '/f',
    content: { secretFrom: { file: '/run/secrets/pi' } },
  });
});

test('what is not text is refused in words', async () => {
  const binary = Buffer.from([0xff, 0xfe, 0x00]);
  const snapshot = memorySnapshot({
    'h.yaml': HOSTS,
    'f.yaml': file('f', '{all: true}', '{path: /f, contentFrom: b.bin}'),
    'b.bin': binary,
    'g.yaml': binary,
  });
  const result = await compile(snapshot, testKinds);
  assert.deepEqual(
    result.diagnostics.map((d) => `${d.file}:${d.line} ${d.message}`),
    [
      'f.yaml:5 b.bin is not UTF-8 text, and contentFrom takes nothing else',
      'g.yaml:0 the file is not UTF-8 text: save it as UTF-8',
    ],
  );
});

const policy = (name: string, runOn: string, more = ''): string =>
  `apiVersion: homeostat.dev/v1\nkind: Policy\nmetadata: {name: ${name}}\nrunOn: ${runOn}\n${more}spec: {tailnet: ${name}}\n---\n`;

test('what is there once for the fleet stays when it leaves, unless git says otherwise', async () => {
  const result = await good({
    'h.yaml': HOSTS,
    'p.yaml':
      policy('one', 'mac') +
      policy('two', 'mac', 'prune: delete\n') +
      file('f', '{names: [mac]}', '{path: /f, content: x}'),
  });
  assert.deepEqual(
    payload(result, 'mac').resources.map(({ name, prune, scope }) => [name, prune, scope]),
    [
      ['f', 'delete', undefined],
      ['one', 'orphan', 'fleet'],
      ['two', 'delete', 'fleet'],
    ],
  );
});

test('a host learns what other hosts keep, as far as it could have to remove it', async () => {
  const elsewhere = (c: Compilation) =>
    ['droplet', 'mac', 'pi'].map((host) => payload(c, host).host.elsewhere?.join());
  const at = (two: string, more = 'prune: delete\n') => ({
    'h.yaml': HOSTS,
    'p.yaml': policy('one', 'mac') + policy('two', two, more) + policy('three', 'pi', 'prune: orphan\n'),
  });
  const first = await good(at('mac'));
  assert.deepEqual(elsewhere(first), ['Policy/three,Policy/two', 'Policy/three', 'Policy/two']);
  const moved = await good(at('pi'), first);
  assert.deepEqual(elsewhere(moved), ['Policy/three,Policy/two', 'Policy/three,Policy/two', undefined]);
  const gone = await good({ 'h.yaml': HOSTS, 'p.yaml': policy('one', 'mac') }, moved);
  assert.deepEqual(elsewhere(gone), [undefined, undefined, undefined]);
  // Of those that say nothing no host needs to know: they stay.
  const other = await good({ 'h.yaml': HOSTS, 'p.yaml': policy('one', 'pi') }, gone);
  assert.equal(payload(other, 'droplet').host.elsewhere, undefined);
  assert.equal(
    other.revision!.hosts.get('droplet')!.payloadDigest,
    gone.revision!.hosts.get('droplet')!.payloadDigest,
  );
});
