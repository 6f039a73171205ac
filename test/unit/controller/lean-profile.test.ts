// manifests/ as they are: what one label on a host changes, and that nothing else does. On a real host:
// test/integration/lean.test.ts.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { load } from 'js-yaml';
import { Payload } from '../../../api/bundle.ts';
import { formatDiagnostic } from '../../../api/diagnostics.ts';
import { compile } from '../../../controller/pipeline/compile.ts';
import { readDirectory } from '../../../controller/source/directory.ts';
import { kinds } from '../../../kinds/index.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

const MANIFESTS = path.join(import.meta.dirname, '../../../manifests');

async function withLabel(t: TestContext, label: string | undefined, host = 'raspberry-pi') {
  const directory = temporaryDirectory(t);
  fs.cpSync(MANIFESTS, directory, { recursive: true });
  // Dashboards of grafana.com are downloaded when they are rendered.
  fs.rmSync(path.join(directory, 'grafana'), { recursive: true, force: true });
  const file = path.join(directory, `hosts/${host}.yaml`);
  const text = fs.readFileSync(file, 'utf8').replace('# vars:', 'vars:');
  if (label !== undefined) fs.writeFileSync(file, text.replace(/alloy: \w+/, `$&, telemetry: ${label}`));
  const { revision, diagnostics } = await compile(readDirectory(directory), kinds);
  assert.deepEqual(diagnostics.map(formatDiagnostic), []);
  const { resources } = Payload.parse(JSON.parse(revision!.hosts.get(host)!.payloadText));
  const central = Payload.parse(JSON.parse(revision!.hosts.get('mac-mini')!.payloadText)).resources;
  const { scrapeConfigs } = central.find(({ kind }) => kind === 'PrometheusConfig')!.spec;
  const jobs = load(String((scrapeConfigs as { content: string }).content)) as Record<string, unknown>[];
  return {
    resources,
    keys: resources.map(({ kind, name }) => `${kind}/${name}`).sort(),
    targets: jobs.find((job) => job['job_name'] === 'node-exporter')!['static_configs'],
  };
}

const LEAN = [
  'AptRepository/fluent-bit',
  'File/fluent-bit-config',
  'File/node-exporter-arguments',
  'Package/fluent-bit',
  'Package/node-exporter',
  'Service/alloy-off',
  'Service/fluent-bit',
  'Service/node-exporter',
];

test('telemetry: lean takes Alloy from a host, gives it the lean profile, and has it scraped', async (t) => {
  const plain = await withLabel(t, undefined);
  const lean = await withLabel(t, 'lean');
  const gone = plain.keys.filter((key) => !lean.keys.includes(key));
  assert.ok(gone.includes('AlloyConfig/alloy') && gone.includes('Service/alloy'));
  assert.ok(
    gone.every((key) => /alloy|grafana/.test(key)),
    `only what is Alloy's goes: ${gone}`,
  );
  assert.deepEqual(
    lean.keys.filter((key) => !plain.keys.includes(key)),
    LEAN,
  );
  assert.deepEqual(plain.targets, []);
  assert.deepEqual(lean.targets, [{ targets: ['100.64.0.8:9100'], labels: { host: 'raspberry-pi' } }]);
});

test('telemetry: alloy is what no label is, and says besides what must not run', async (t) => {
  const plain = await withLabel(t, undefined);
  const alloy = await withLabel(t, 'alloy');
  assert.deepEqual(
    alloy.keys.filter((key) => !plain.keys.includes(key)),
    ['Service/fluent-bit-off', 'Service/node-exporter-off'],
  );
  assert.deepEqual(
    plain.keys.filter((key) => !alloy.keys.includes(key)),
    [],
  );
});

test('whatever leaves with the label is not held back as too many removals, either way', async (t) => {
  const [plain, lean] = [await withLabel(t, undefined), await withLabel(t, 'lean')];
  for (const [one, other] of [
    [plain, lean],
    [lean, plain],
  ] as const) {
    const leaving = one.resources.filter(({ kind, name }) => !other.keys.includes(`${kind}/${name}`));
    assert.deepEqual(
      leaving.filter(({ prune }) => prune !== 'freely').map(({ kind, name }) => `${kind}/${name}`),
      [],
    );
  }
});

test('node-exporter listens on the Tailscale address only, and its arguments are there before it is', async (t) => {
  const { resources } = await withLabel(t, 'lean');
  const find = (name: string) => resources.find((r) => r.name === name)!;
  const text = String(find('node-exporter-arguments').spec['content']);
  assert.match(text, /^ARGS="--web\.listen-address=100\.64\.0\.8:9100"$/m);
  assert.deepEqual(find('node-exporter').dependsOn, [
    { ref: 'File/node-exporter-arguments', until: 'Ready' },
  ]);
  const config = String(find('fluent-bit-config').spec['content']);
  assert.match(config, /Labels +job=journal, host=raspberry-pi\n/);
  assert.match(config, /Host +100\.64\.0\.4\n/);
});

test('a host with Alloy in Docker changes in the same way', async (t) => {
  const plain = await withLabel(t, undefined, 'digitalocean');
  const lean = await withLabel(t, 'lean', 'digitalocean');
  const gone = plain.keys.filter((key) => !lean.keys.includes(key));
  assert.deepEqual(gone, ['AlloyConfig/alloy-container', 'Container/alloy']);
  assert.deepEqual(
    lean.keys.filter((key) => !plain.keys.includes(key)),
    LEAN,
  );
});
