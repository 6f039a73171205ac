// `homeostat import grafana-dashboard` as a user types it, against the stand-in for Grafana; what it writes is valid,
// and is no drift. And `homeostat plan` for a document of scope fleet.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { StandInGrafana } from '../support/grafana/grafana.ts';
import { gridOf, panel, query, specOf, tabOf } from '../support/grafana/v2-dashboards.ts';
import { homeostatIn } from '../support/homeostat.ts';
import { temporaryDirectory } from '../support/sandbox.ts';

async function open(t: TestContext) {
  const grafana = await new StandInGrafana().start();
  t.after(() => grafana.stop());
  grafana.state.saveFolder('hand', 'Hand');
  const dashboard = { title: 'Made by hand!', panels: [{ id: 1, type: 'text', title: 'Of ${vars.x}' }] };
  grafana.state.saveDashboard('by-hand', dashboard, 'hand');
  const directory = temporaryDirectory(t);
  const homeostat = homeostatIn(directory);
  const run = (...args: string[]) =>
    homeostat(['import', 'grafana-dashboard', '--url', grafana.url, ...args], {
      GRAFANA_TOKEN: grafana.token,
    });
  return { grafana, directory, homeostat, run };
}

test('a dashboard made by hand comes into git, is no drift there, and an edit is planned back', async (t) => {
  const { grafana, directory, homeostat, run } = await open(t);
  const imported = await run('--uid', 'by-hand', '--run-on', 'mac', '--out', 'm');
  assert.equal(imported.status, 0, imported.stderr);
  assert.match(imported.stdout, /^wrote m\/made-by-hand\.json and m\/made-by-hand\.yaml/);
  const token = path.join(directory, 'token');
  fs.writeFileSync(token, grafana.token);
  const document = path.join(directory, 'm/made-by-hand.yaml');
  const text = fs.readFileSync(document, 'utf8');
  assert.ok(!text.includes(grafana.token));
  fs.writeFileSync(document, text.replace('/etc/homeostat/grafana.token', token));
  fs.writeFileSync(
    path.join(directory, 'm/hosts.yaml'),
    'apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: mac}\nspec: {mode: enforce}\n',
  );
  const plan = () => homeostat(['plan', '--dir', 'm', '--host', 'mac', '--root', 'sandbox']);
  const same = await plan();
  assert.equal(same.status, 0, same.stdout + same.stderr);
  assert.match(same.stdout, /0 to change, 1 in sync/);
  await grafana.edit('by-hand', (d) => Object.assign(d, { title: 'Edited' }));
  const drift = await plan();
  assert.equal(drift.status, 2, drift.stderr);
  assert.match(drift.stdout, /GrafanaDashboard\/made-by-hand\n.*edited: title/);
  assert.match(drift.stdout, /-\s+"title": "Edited"\n\s*\+\s+"title": "Made by hand!"/);
  assert.equal(grafana.state.dashboards.get('by-hand')?.json['title'], 'Edited', 'plan touches nothing');
  const once = await homeostat(['once', '--dir', 'm', '--host', 'mac', '--root', 'sandbox']);
  assert.equal(once.status, 0, once.stdout + once.stderr);
  assert.equal(grafana.state.dashboards.get('by-hand')?.json['title'], 'Made by hand!');
});

test('a dashboard that Grafana 13 keeps as v2 comes into git as v2, with its tabs, and is no drift there', async (t) => {
  const { grafana, directory, homeostat, run } = await open(t);
  const elements = { a: panel(1, 'Load', [query('node_load1', { datasource: { name: 'prom' } })]) };
  const spec = { ...specOf('Tabs', elements), layout: tabOf('First', gridOf(['a'])) };
  await grafana.curl('POST', '/apis/dashboard.grafana.app/v2/namespaces/default/dashboards', {
    metadata: { name: 'tabs' },
    spec,
  });
  const imported = await run('--uid', 'tabs', '--run-on', 'mac', '--out', 'm');
  assert.equal(imported.status, 0, imported.stderr);
  const file = JSON.parse(fs.readFileSync(path.join(directory, 'm/tabs.json'), 'utf8'));
  assert.equal(file.apiVersion, 'dashboard.grafana.app/v2');
  assert.equal(file.spec.layout.kind, 'TabsLayout');
  const token = path.join(directory, 'token');
  fs.writeFileSync(token, grafana.token);
  const document = path.join(directory, 'm/tabs.yaml');
  const text = fs.readFileSync(document, 'utf8');
  fs.writeFileSync(document, text.replace('/etc/homeostat/grafana.token', token));
  fs.writeFileSync(
    path.join(directory, 'm/hosts.yaml'),
    'apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: mac}\nspec: {mode: enforce}\n',
  );
  const plan = await homeostat(['plan', '--dir', 'm', '--host', 'mac', '--root', 'sandbox']);
  assert.match(plan.stdout, /0 to change, 1 in sync/, plan.stdout + plan.stderr);
});

test('what can not be fetched is said, and nothing is written', async (t) => {
  const { directory, homeostat, run, grafana } = await open(t);
  const none = await run('--uid', 'nothing-here', '--run-on', 'mac');
  assert.equal(none.status, 1);
  assert.match(none.stderr, /there is no dashboard nothing-here in http/);
  const json = await run('--uid', 'by-hand', '--json');
  assert.equal(JSON.parse(json.stdout).title, 'Made by hand!');
  const noToken = await homeostat(['import', 'grafana-dashboard', '--url', grafana.url, '--uid', 'by-hand']);
  assert.match(noToken.stderr, /no credentials: set GRAFANA_TOKEN/);
  const refused = await homeostat(['import', 'grafana-dashboard', '--url', grafana.url, '--uid', 'x'], {
    GRAFANA_TOKEN: 'glsa_wrong',
  });
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /does not know who asks/);
  assert.deepEqual(fs.readdirSync(directory), []);
});
