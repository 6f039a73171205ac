// Dashboards of schema v2 as a timeline: a real agent, and the API of Grafana 13 (and of older ones) played by the
// stand-in (test/support/grafana), which follows Grafana's sources.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../agent/providers/clock.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { CASES, require, SHARED_CASES } from '../support/capabilities.ts';
import { eventually } from '../support/eventually.ts';
import { type Generation, StandInGrafana } from '../support/grafana/grafana.ts';
import type { Answer, Obj } from '../support/grafana/state.ts';
import {
  datasourceVariable,
  exported,
  gridOf,
  panel,
  query,
  specOf,
  tabOf,
} from '../support/grafana/v2-dashboards.ts';
import { resource, Timeline } from '../support/timeline.ts';

const DASHBOARD = 'GrafanaDashboard/d';

async function begin(t: TestContext, generation?: Generation) {
  const grafana = await new StandInGrafana(generation).start();
  const http = createHttp();
  // A minute between two looks takes no minute here.
  const sleep = (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 100, signal);
  const line = new Timeline(t, {
    env: { GRAFANA_TOKEN: grafana.token },
    ports: { http, clock: { ...systemClock, sleep } },
  }).start();
  t.after(async () => {
    await line.stop();
    await http.close();
    await grafana.stop();
  });
  const connection = { url: grafana.url, token: { secretFrom: { env: 'GRAFANA_TOKEN' } } };
  const common = { grafana: connection, uid: 'd-uid', pollSeconds: 2, panels: { check: false } };
  const dashboard = (spec: Obj) =>
    resource('GrafanaDashboard', 'd', { ...common, ...spec }, { prune: 'delete', scope: 'fleet' });
  const kept = () => grafana.state.dashboards.get('d-uid');
  const message = () => line.condition(DASHBOARD, 'Ready')!.message;
  const looksGoOn = async () => {
    const looks = grafana.asked.length;
    await eventually(() => assert.ok(grafana.asked.length > looks + 10));
  };
  return { grafana, line, dashboard, kept, message, looksGoOn };
}

const load = (source: string) => ({
  'panel-1': panel(1, 'Load', [query('node_load1', { datasource: { name: source } })]),
});
const CLASSIC = JSON.stringify({ title: 'Classic', panels: [{ id: 1, type: 'text', title: 'Words' }] });

test('a dashboard of Grafana 13 is made through v2, bound, in its folder, and every breakage is mended', async (t) => {
  const { grafana, line, dashboard, kept, looksGoOn } = await begin(t);
  grafana.state.saveFolder('elsewhere', 'Elsewhere');
  const spec = {
    ...specOf('Ours', load('${DS_PROMETHEUS}')),
    layout: tabOf('First', gridOf(['panel-1'])),
    variables: [datasourceVariable('ds')],
    ofLaterGrafana: true,
  };
  const inputs = { DS_PROMETHEUS: 'prom', ds: 'prom' };
  line.assign(dashboard({ content: exported(spec), inputs, folder: { title: 'Monitoring' } }));
  await line.expect(DASHBOARD, 'True');
  const { json, folder } = kept()!;
  assert.equal(folder, 'homeostat-monitoring', 'that of the document, not that of the file');
  assert.ok(JSON.stringify(json).includes('"datasource":{"name":"prom"}'));
  assert.deepEqual(json['variables'], []);
  assert.equal((json['layout'] as Obj)['kind'], 'TabsLayout');
  const written = grafana.asked.filter((a) => !a.startsWith('GET') && a.includes('/dashboard.grafana.app/'));
  assert.deepEqual(written, ['POST /apis/dashboard.grafana.app/v2/namespaces/default/dashboards']);
  // What Grafana fills in, and leaves out, is no drift.
  const { version } = kept()!;
  await looksGoOn();
  assert.equal(kept()!.version, version);
  const wanted = grafana.state.fingerprint();
  const breakages: [string, () => Promise<unknown>][] = [
    ['deleted', () => grafana.curl('DELETE', '/api/dashboards/uid/d-uid')],
    ['renamed', () => grafana.editV2('d-uid', (s) => Object.assign(s, { title: 'Mine' }))],
    ['a panel lost', () => grafana.editV2('d-uid', (s) => Object.assign(s, { elements: {} }))],
    ['without its tab', () => grafana.editV2('d-uid', (s) => Object.assign(s, { layout: gridOf([]) }))],
    ['moved', () => grafana.editV2('d-uid', () => undefined, 'elsewhere')],
    ['saved in the classic form', () => grafana.edit('d-uid', (d) => Object.assign(d, { title: 'Ours' }))],
  ];
  for (const [i, [what, breakIt]] of breakages.entries()) {
    await breakIt();
    await eventually(() => assert.equal(line.status(DASHBOARD).healedTotal, i + 1, what));
    assert.equal(grafana.state.fingerprint(), wanted, what);
  }
  line.assign();
  await line.expectGone(DASHBOARD);
  assert.equal(kept(), undefined);
});

test('the dashboards of case 30 are written once, and are no drift then', async (t) => {
  if (!require(t, CASES)) return;
  const directory = path.join(SHARED_CASES, '30-dashboard-exported-by-grafana-13', 'manifests');
  for (const name of fs.readdirSync(directory).filter((file) => file.endsWith('.json'))) {
    const { line, dashboard, kept, looksGoOn } = await begin(t);
    line.assign(dashboard({ content: fs.readFileSync(path.join(directory, name), 'utf8') }));
    await line.expect(DASHBOARD, 'True');
    assert.ok('elements' in kept()!.json, name);
    const { version } = kept()!;
    await looksGoOn();
    assert.equal(kept()!.version, version, name);
    await line.stop();
  }
});

test('what was there in another schema comes back as it was: tabs under a classic document, and the other way', async (t) => {
  const tabs = { ...specOf('Theirs', load('p')), layout: tabOf('T', gridOf(['panel-1'])) };
  const put = (grafana: StandInGrafana, spec: Obj) =>
    grafana.curl('POST', '/apis/dashboard.grafana.app/v2/namespaces/default/dashboards', {
      metadata: { name: 'd-uid' },
      spec,
    });
  const first = await begin(t);
  await put(first.grafana, tabs);
  const before = first.grafana.state.fingerprint();
  first.line.assign(first.dashboard({ content: CLASSIC }));
  await first.line.expect(DASHBOARD, 'True');
  assert.equal(first.kept()!.json['title'], 'Classic');
  assert.ok('panels' in first.kept()!.json);
  // A commit turns it into v2, and another one back.
  first.line.assign(first.dashboard({ content: exported(specOf('Ours', load('p'))) }));
  await eventually(() => assert.ok('elements' in first.kept()!.json));
  await first.line.expect(DASHBOARD, 'True');
  first.line.assign(first.dashboard({ content: CLASSIC }));
  await eventually(() => assert.ok('panels' in first.kept()!.json));
  await first.line.expect(DASHBOARD, 'True');
  first.line.assign();
  await first.line.expectGone(DASHBOARD);
  assert.equal(first.grafana.state.fingerprint(), before, 'with its tabs');

  const second = await begin(t);
  second.grafana.state.saveDashboard('d-uid', JSON.parse(CLASSIC) as Obj, '');
  const classic = second.grafana.state.fingerprint();
  second.line.assign(second.dashboard({ content: exported(tabs) }));
  await second.line.expect(DASHBOARD, 'True');
  second.line.assign();
  await second.line.expectGone(DASHBOARD);
  assert.equal(second.grafana.state.fingerprint(), classic);
});

test('a dashboard of v2 that was deployed by hand is kept as it is, tabs and all, under a classic content', async (t) => {
  const { grafana, line, dashboard } = await begin(t);
  const tabs = { ...specOf('Theirs', load('p')), layout: tabOf('T', gridOf(['panel-1'])) };
  await grafana.curl('POST', '/apis/dashboard.grafana.app/v2/namespaces/default/dashboards', {
    metadata: { name: 'd-uid' },
    spec: tabs,
  });
  const before = grafana.state.fingerprint();
  line.assign(dashboard({ content: CLASSIC, adoptDeployed: true }));
  await line.expect(DASHBOARD, 'True');
  assert.equal(grafana.state.fingerprint(), before);
  await grafana.editV2('d-uid', (s) => Object.assign(s, { layout: gridOf([]) }));
  await eventually(() => assert.equal(line.status(DASHBOARD).healedTotal, 1));
  assert.equal(grafana.state.fingerprint(), before);
});

test('one that Grafana can’t show in the classic form is replaced all the same, and comes back', async (t) => {
  const { grafana, line, dashboard, kept } = await begin(t);
  const uid = { metadata: { name: 'd-uid' }, spec: specOf('Theirs', load('p')) };
  await grafana.curl('POST', '/apis/dashboard.grafana.app/v2/namespaces/default/dashboards', uid);
  const before = grafana.state.fingerprint();
  grafana.state.unconvertible = 'it has tabs';
  line.assign(dashboard({ content: CLASSIC }));
  await line.expect(DASHBOARD, 'True');
  assert.equal(kept()!.json['title'], 'Classic');
  line.assign();
  await line.expectGone(DASHBOARD);
  assert.equal(grafana.state.fingerprint(), before);
});

test('a Grafana of 12 that has v2beta1 is written through that', async (t) => {
  const { grafana, line, dashboard } = await begin(t);
  grafana.dashboardVersions = ['v1beta1', 'v0alpha1', 'v2beta1'];
  line.assign(dashboard({ content: exported(specOf('Ours', load('p'))) }));
  await line.expect(DASHBOARD, 'True');
  assert.ok(grafana.asked.includes('POST /apis/dashboard.grafana.app/v2beta1/namespaces/default/dashboards'));
});

for (const [what, generation, versions, has] of [
  ['without /apis', 'api', [], /has no dashboard\.grafana\.app/],
  ['of 12.0', 'apis', ['v1beta1', 'v0alpha1'], /has dashboard\.grafana\.app in v1beta1, v0alpha1 only/],
] as const) {
  test(`a Grafana ${what} is too old for v2, which is told with what to do; an update mends it`, async (t) => {
    const { grafana, line, dashboard, kept, message } = await begin(t, generation);
    grafana.dashboardVersions = versions;
    line.assign(dashboard({ content: exported(specOf('Ours', load('p'))) }));
    await line.expect(DASHBOARD, 'False', 'TooOld');
    assert.match(message(), has);
    assert.match(message(), /update it to Grafana 13, or take the dashboard in the classic form/);
    assert.equal(kept(), undefined);
    if (generation === 'api') return;
    grafana.dashboardVersions = ['v1', 'v2'];
    await line.expect(DASHBOARD, 'True');
  });
}

test('what Grafana refuses of v2 is undone and quarantined, with its words', async (t) => {
  const { line, dashboard, kept, message } = await begin(t);
  line.assign(dashboard({ content: exported(specOf('Ours', load('p'))) }));
  await line.expect(DASHBOARD, 'True');
  // As some exports have it: `current` needs its text and value.
  const variables = [{ kind: 'DatasourceVariable', spec: { name: 'x', current: {} } }];
  line.assign(dashboard({ content: exported({ ...specOf('Other', load('p')), variables }) }));
  await line.expect(DASHBOARD, 'False', 'RolledBack');
  assert.match(message(), /Refused: .*"d-uid" is invalid: .*spec\.variables\.0\.spec\.current/);
  assert.equal(kept()!.json['title'], 'Ours');
});

test('two edits at the same moment: ours is tried again on what the other wrote', async (t) => {
  const { grafana, line, dashboard, kept } = await begin(t);
  line.assign(dashboard({ content: exported(specOf('Ours', load('p'))) }));
  await line.expect(DASHBOARD, 'True');
  let rival = 0;
  grafana.beforeWrite = async () => {
    if (rival++ > 0) return;
    const { json, folder } = kept()!;
    grafana.state.saveDashboard('d-uid', { ...json, title: 'Rival' }, folder);
  };
  line.assign(dashboard({ content: exported(specOf('Newer', load('p'))) }));
  await eventually(() => assert.equal(kept()!.json['title'], 'Newer'));
  await line.expect(DASHBOARD, 'True');
  assert.ok(rival > 1, 'the first write met a conflict');
});

const said = (status: number, body: unknown): Answer => ({ status, body });
const REFUSALS: readonly [string, Answer, reason: string, words: RegExp][] = [
  ['a text in JSON', said(400, '"bad dashboard"'), 'RolledBack', /Refused: .*: bad dashboard/],
  [
    'a list of objects',
    said(422, [{ fieldNames: ['Title'], message: 'Required' }, { message: 'Other' }]),
    'RolledBack',
    /Refused: .*: Required; Other/,
  ],
  ['an object in message', said(400, { message: { error: 'deep' } }), 'RolledBack', /Refused: .*: deep/],
  ['another member', said(400, { error: 'in error' }), 'RolledBack', /Refused: .*: in error/],
  ['nothing', said(400, ''), 'RolledBack', /Refused: .*: it gives no reason/],
  ['null', said(400, null), 'RolledBack', /Refused: .*: it gives no reason/],
  [
    'a page of a proxy',
    said(413, '<html><head><title>413 Too Large</title></head></html>'),
    'GrafanaAway',
    /what stands before Grafana.*413: a web page, "413 Too Large".*look at the proxy/,
  ],
  [
    'a page with 502',
    said(502, '<html><h1>Bad Gateway</h1></html>'),
    'GrafanaAway',
    /a web page, "Bad Gateway"/,
  ],
];
for (const generation of ['api', 'apis'] as const) {
  for (const [what, answer, reason, words] of REFUSALS) {
    test(`${generation}: a write that is answered with ${what} is told in words`, async (t) => {
      const { grafana, line, dashboard, message } = await begin(t, generation);
      line.assign(dashboard({ content: CLASSIC }));
      await line.expect(DASHBOARD, 'True');
      grafana.brokenWrites = answer;
      line.assign(dashboard({ content: CLASSIC.replace('Classic', 'Newer') }));
      await line.expect(DASHBOARD, 'False', reason);
      assert.match(message(), words);
    });
  }
}
