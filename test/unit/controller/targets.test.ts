// Scrape jobs as the Fleet document has them: whom they mean, at which address, with which labels.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { formatDiagnostic } from '../../../api/diagnostics.ts';
import { compile } from '../../../controller/pipeline/compile.ts';
import { jobsOf, targetsOf } from '../../../controller/pipeline/targets.ts';
import { readDirectory } from '../../../controller/source/directory.ts';
import { kinds } from '../../../kinds/index.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { memorySnapshot, testKinds } from './support.ts';

const host = (name: string, spec: string, labels = '{}'): string =>
  `---\napiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: ${name}, labels: ${labels}}\nspec: ${spec}\n`;
const fleet = (scrape: string): string =>
  `apiVersion: homeostat.dev/v1\nkind: Fleet\nmetadata: {name: fleet}\nspec:\n  vars: {zone: eu}\n  scrape:\n${scrape}`;
const HOSTS =
  host('b', '{address: 198.18.0.2, vars: {zone: us}}', '{role: web}') +
  host('a', "{address: 'fd7a::1'}") +
  host('gone', '{address: 198.18.0.3, decommission: true}') +
  host('nowhere', '{}');

test('the shipped manifests have the jobs that the stack asks for, and the targets that it always had', async (t) => {
  const directory = temporaryDirectory(t);
  fs.cpSync(path.join(import.meta.dirname, '../../../manifests'), directory, { recursive: true });
  // Dashboards of grafana.com are downloaded when they are rendered.
  fs.rmSync(path.join(directory, 'grafana'), { recursive: true });
  const { revision } = await compile(readDirectory(directory), kinds);
  const hosts = [...revision!.hosts.values()].map(({ document }) => document);
  assert.deepEqual(jobsOf(revision!.fleet), ['tailscale-clients', 'node-exporter']);
  const client = (name: string, address: string) => ({
    targets: [`${address}:5252`],
    labels: { host: name, tailscale_machine: name },
  });
  assert.deepEqual(targetsOf(revision!.fleet, 'tailscale-clients', hosts), [
    client('digitalocean', '100.64.0.45'),
    client('mac-mini', '100.64.0.4'),
    client('raspberry-pi', '100.64.0.8'),
  ]);
  assert.deepEqual(targetsOf(revision!.fleet, 'node-exporter', hosts), []);
});

test('a job has a port, a path, hosts and labels; several entries of one name are one job', async () => {
  const scrape = `    - {job: app, port: 80, path: /m, hosts: {names: [b]}, labels: {zone: '\${vars.zone}', host: 'x-\${host.name}'}}
    - {job: app, port: 81, labels: {role: '\${host.name} at \${host.address}'}}
    - {job: web, port: 82, hosts: {matchExpressions: [{key: role, operator: In, values: [web]}]}}
`;
  const { revision, diagnostics } = await compile(
    memorySnapshot({ 'a.yaml': fleet(scrape) + HOSTS }),
    testKinds,
  );
  assert.deepEqual(diagnostics, []);
  const hosts = [...revision!.hosts.values()].map(({ document }) => document);
  assert.deepEqual(targetsOf(revision!.fleet, 'app', hosts), [
    { targets: ['[fd7a::1]:81'], labels: { host: 'a', role: 'a at fd7a::1' } },
    { targets: ['198.18.0.2:80'], labels: { host: 'x-b', __metrics_path__: '/m', zone: 'us' } },
    { targets: ['198.18.0.2:81'], labels: { host: 'b', role: 'b at 198.18.0.2' } },
  ]);
  assert.deepEqual(targetsOf(revision!.fleet, 'web', hosts), [
    { targets: ['198.18.0.2:82'], labels: { host: 'b' } },
  ]);
  for (const job of ['nope', 'constructor', ''])
    assert.equal(targetsOf(revision!.fleet, job, hosts), undefined);
  assert.equal(targetsOf(undefined, 'app', hosts), undefined);
});

test('what is wrong with a job is said at its place', async () => {
  const scrape = `    - {job: app, port: 0}
    - {job: 9, port: 80, path: m}
    - {job: ok, port: 80, hosts: {matchLabels: {}}, lables: {a: b}}
    - {job: ok, port: 80, labels: {1a: b}}
`;
  const messages = async (text: string): Promise<string[]> =>
    (await compile(memorySnapshot({ 'a.yaml': text }), testKinds)).diagnostics.map(formatDiagnostic);
  assert.deepEqual(await messages(fleet(scrape) + HOSTS), [
    'a.yaml:7:24: "port" is 0, and must be at least 1',
    'a.yaml:8:13: "job" must be text, and YAML reads 9 as a number: write "9" in quotes',
    'a.yaml:8:32: "path" is "m": a path begins with /, as in /metrics',
    'a.yaml:9:48: "matchLabels": name at least one label',
    'a.yaml:9:53: unknown field "lables": did you mean "labels"?',
    'a.yaml:10:36: "1a" can\'t be a key here: a label of Prometheus has letters, digits and "_"',
  ]);
  const unknown = "    - {job: app, port: 80, labels: {zone: '${vars.zon}'}, hosts: {names: [b, c]}}\n";
  assert.deepEqual(await messages(fleet(unknown) + HOSTS), [
    'a.yaml:7:43: ${vars.zon} has no value on host b: add "zon" to the vars of the Fleet or of the host (did you mean ${vars.zone}?)',
    'a.yaml:7:78: there is no Host/c: add a Host document, or remove the name',
  ]);
  const used = `---\napiVersion: homeostat.dev/v1\nkind: File\nmetadata: {name: f}\nhosts: {names: [a]}\nspec: {path: /f, content: '\${targets.app}'}\n`;
  const [none] = await messages(HOSTS.replace(/^---\n/, '') + used);
  assert.match(none!, /the Fleet has no spec\.scrape, so there are no jobs: add \{job: app, port: …\} there/);
});
