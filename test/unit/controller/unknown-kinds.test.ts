// Kinds that a host's agent does not know: a warning that names the hosts, which comes and goes with what agents report.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDiagnostic } from '../../../api/diagnostics.ts';
import { Fleet } from '../../../controller/fleet/fleet.ts';
import { createMetrics } from '../../../controller/metrics.ts';
import { compile } from '../../../controller/pipeline/compile.ts';
import { Database } from '../../../controller/store/database.ts';
import { Store } from '../../../controller/store/store.ts';
import { statusOf } from '../../support/agent-status.ts';
import { testKey } from '../../support/bundle.ts';
import { FakeClock } from '../../support/clock.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';
import { memorySnapshot, testKinds } from './support.ts';

const MANIFESTS = `${['pi', 'mac', 'droplet', 'quiet'].map((name) => `apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: ${name}}\nspec: {}\n---\n`).join('')}apiVersion: homeostat.dev/v1
kind: File
metadata: {name: a}
hosts: {all: true}
spec: {path: /a, content: x}
---
apiVersion: homeostat.dev/v1
kind: Service
metadata: {name: s}
hosts: {names: [pi, mac, quiet]}
spec: {unit: s.service}
`;

test('hosts whose agents lack a kind are named with their version; who reported nothing is not blamed', async (t) => {
  const clock = new FakeClock();
  const database = new Database(`${temporaryDirectory(t)}/s.sqlite`);
  database.open({ create: true });
  t.after(() => database.close());
  const fleet = new Fleet({ store: new Store(database), signingKey: testKey().privateKey, clock });
  const says = (): string[] => fleet.unknownKinds.map(formatDiagnostic);
  const { agent } = statusOf('any');
  const report = (host: string, version: string, kinds: string[]): void =>
    fleet.recordStatus(statusOf(host, { agent: { ...agent, version, kinds } }), '{}');
  const head = { commit: 'c1', subject: '', author: '', at: '2026-01-01T00:00:00Z' };
  const compilation = await compile(memorySnapshot({ 'a.yaml': MANIFESTS }), testKinds);
  fleet.compiled(head, compilation);
  assert.deepEqual(says(), [], 'nobody has reported yet');
  report('pi', '0.0.9', ['File']);
  report('mac', '0.0.8', ['File', 'Other']);
  report('droplet', '0.0.1', ['File']);
  const warning =
    "a.yaml:28:7: warning: Service/s goes to hosts mac and pi, where homeostat 0.0.8, 0.0.9 does not know the kind Service: install the controller's version there, or take it off these hosts";
  assert.deepEqual(says(), [warning]);
  const view = fleet.view();
  assert.deepEqual([view.warnings, view.refused], [[warning], null]);
  assert.equal(fleet.assignments.size, 4, 'an old agent holds back nobody');
  const metrics = createMetrics('1');
  assert.match(
    (await metrics.exposition(fleet, undefined)).join(''),
    /manifest_diagnostics\{severity="warning"\} 1/,
  );
  report('pi', '0.1.0', ['File', 'Service']);
  report('mac', '0.1.0', ['File', 'Service']);
  assert.deepEqual(says(), []);
  report('quiet', '0.1.0', []);
  assert.match(
    says().join('\n'),
    /^a\.yaml:22:7: .*File\/a goes to host quiet.*\na\.yaml:28:7: .*Service\/s goes to host quiet,/,
  );
});
