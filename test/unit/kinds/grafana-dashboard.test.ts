// GrafanaDashboard's pure parts: reading, binding and comparing dashboards, and explaining empty panels.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { grafanaDashboard } from '../../../kinds/grafana-dashboard/index.ts';
import {
  bindInputs,
  DashboardError,
  differingParts,
  inputsOf,
  normalise,
  panelsOf,
  parseDashboard,
  partsOf,
} from '../../../kinds/grafana-dashboard/model.ts';
import { panelsConcern } from '../../../kinds/grafana-dashboard/panels.ts';
import { collectorOf, selectorsOf } from '../../../kinds/grafana-dashboard/promql.ts';
import { fillIn, resolveVariables } from '../../../kinds/grafana-dashboard/variables.ts';
import { RECORDINGS, require } from '../../support/capabilities.ts';
import { recording } from '../../support/grafana/grafana-com.ts';
import { migrated } from '../../support/grafana/state.ts';

const GRAFANA = { url: 'http://127.0.0.1:3000', token: { secretFrom: { env: 'T' } } };

function findings(spec: object) {
  const parsed = grafanaDashboard.spec.parse({ grafana: GRAFANA, uid: 'x', ...spec });
  return (grafanaDashboard.check?.(parsed) ?? []).map(({ path, message, place }) =>
    [path.join('.'), place === undefined ? '' : `${place.line}:${place.column}`, message].join('|'),
  );
}

test('what stands in a manifest is told before it is published, with the place in the file', () => {
  assert.match(findings({})[0]!, /^\|\|give the dashboard by content, contentFrom or grafanaCom/);
  assert.match(findings({ content: '{\n  "title": "x",\n}\n' })[0]!, /^content\|3:1\|it is not JSON/);
  assert.match(findings({ content: '{"panels": []}' })[0]!, /has no title/);
  assert.match(findings({ content: '[]' })[0]!, /a JSON object/);
  assert.deepEqual(findings({ content: '{"title":"x"}' }), []);
  assert.deepEqual(findings({ contentFrom: 'x.json' }), []);
});

test('an input that is not bound is told, and one that does not exist too', () => {
  const content = JSON.stringify({
    title: 'x',
    __inputs: [
      { name: 'DS_LOKI', type: 'datasource' },
      { name: 'VAR_X', type: 'constant', value: 'five' },
    ],
    panels: [{ datasource: { uid: '${DS_PROM}' }, title: '${VAR_X}' }],
  });
  const told = findings({ content, inputs: { DS_NONE: 'p' } });
  assert.equal(told.length, 3);
  assert.match(told[0]!, /^content\|\|.*input DS_LOKI is not bound: write inputs: \{ DS_LOKI:/);
  assert.match(told[1]!, /DS_PROM is not bound/);
  assert.match(told[2]!, /^inputs\.DS_NONE\|\|.*no input DS_NONE: it has DS_LOKI, DS_PROM, VAR_X/);
  assert.deepEqual(findings({ content, inputs: { DS_LOKI: 'l', DS_PROM: 'p' } }), []);
  const bound = bindInputs(parseDashboard(content), { DS_LOKI: 'l', DS_PROM: 'p' });
  assert.deepEqual(bound, { title: 'x', panels: [{ datasource: { uid: 'p' }, title: 'five' }] });
});

test('a value is put in as it is, dollars too', () => {
  const dashboard = parseDashboard('{"title":"${VAR_X}","__inputs":[{"name":"VAR_X","type":"constant"}]}');
  assert.equal(bindInputs(dashboard, { VAR_X: "a$&b$'c" })['title'], "a$&b$'c");
});

test('bare, wrapped by the API and as a resource, it is the same dashboard', () => {
  const bare = parseDashboard('{"title":"x"}');
  assert.deepEqual(parseDashboard('{"dashboard":{"title":"x"},"meta":{}}'), bare);
  const resource = '{"apiVersion":"dashboard.grafana.app/v1","kind":"Dashboard","spec":{"title":"x"}}';
  assert.deepEqual(parseDashboard(resource), bare);
  assert.throws(() => parseDashboard('nonsense'), DashboardError);
});

test('the dashboards of grafana.com: every reference to their data source is bound', (t) => {
  if (!require(t, RECORDINGS)) return;
  const full = parseDashboard(recording(1860));
  assert.deepEqual(inputsOf(full), { required: [], optional: ['DS_PROMETHEUS'] });
  const bound = bindInputs(full, { DS_PROMETHEUS: 'prom' });
  const text = JSON.stringify(bound);
  assert.ok(!text.includes('DS_PROMETHEUS'), 'the variable is gone, and so is every use of it');
  assert.ok(text.includes('"uid":"prom"'));
  assert.ok(text.includes('$__rate_interval') && text.includes('$node'), 'other variables stay');
  assert.equal(bound['id'], undefined);
  assert.equal(panelsOf(bound).length, panelsOf(full).length);
  for (const id of [24177, 24178]) {
    const machine = JSON.stringify(bindInputs(parseDashboard(recording(id)), { datasource: 'prom' }));
    assert.ok(!/\$\{?datasource\b/.test(machine), `${id}`);
  }
});

test('what Grafana counts and fills in is no difference; every edit is, and is named', () => {
  const ours = {
    title: 'x',
    panels: [
      { id: 1, title: 'CPU', type: 'stat', gridPos: { x: 0 } },
      { id: 2, type: 'row', collapsed: true, panels: [{ id: 3, title: 'Inside', type: 'stat' }] },
    ],
  };
  const theirs = {
    ...structuredClone(ours),
    id: 7,
    uid: 'u',
    version: 3,
    editable: true,
    tags: [],
    timezone: '',
    links: [],
    refresh: null,
    annotations: { list: [{ builtIn: 1, name: 'Annotations & Alerts' }] },
  };
  const differing = (a: object, b: object) =>
    differingParts(
      partsOf(normalise(a as Record<string, unknown>)),
      partsOf(normalise(b as Record<string, unknown>)),
    );
  assert.deepEqual(differing(ours, theirs), []);
  const edited = structuredClone(theirs);
  edited.title = 'y';
  edited.panels[0]!.type = 'gauge';
  assert.deepEqual(differing(ours, edited), ['title', 'panel 1 "CPU"']);
  edited.panels[1]!.panels![0]!.title = 'Else';
  edited.panels.splice(0, 1);
  assert.deepEqual(differing(ours, edited), [
    'title',
    'panel 1 "CPU" missing',
    'panel 3 "Inside" missing',
    'panel 3 "Else" added',
  ]);
  const turned = { ...ours, panels: [...ours.panels].reverse() };
  assert.deepEqual(differing(ours, turned), ['order of panels']);
});

test('selectors are found in real queries, grouping and functions are not', () => {
  const query =
    'sum by (instance) (rate(node_cpu_seconds_total{mode="idle",job=~"a|b"}[5m])) / on(job) group_left count without (cpu) (node_load5 offset 5m) > 0.5e3';
  assert.deepEqual(selectorsOf(query), [
    {
      metric: 'node_cpu_seconds_total',
      matchers: [
        { label: 'mode', operator: '=', value: 'idle' },
        { label: 'job', operator: '=~', value: 'a|b' },
      ],
    },
    { metric: 'node_load5', matchers: [] },
  ]);
  assert.deepEqual(selectorsOf('{__name__=~"x_.+", y="}"}'), []);
  assert.deepEqual(selectorsOf('label_replace(up, "a", "$1", "job", "(.*)")'), [
    { metric: 'up', matchers: [] },
  ]);
});

test('a metric leads to its collector, by the longest prefix', () => {
  assert.equal(collectorOf('node_hwmon_temp_celsius'), 'hwmon');
  assert.equal(collectorOf('node_network_receive_bytes_total'), 'netdev');
  assert.equal(collectorOf('node_network_up'), 'netclass');
  assert.equal(collectorOf('tailscaled_health_messages'), undefined);
});

test('variables have the values that Grafana would choose', async (t) => {
  if (!require(t, RECORDINGS)) return;
  const asked: string[] = [];
  const series: Record<string, string[]> = {
    'job node_uname_info': ['integrations/unix', 'node'],
    'instance node_uname_info{job="node"}': ['pi', 'droplet'],
    'job tailscaled_health_messages{cluster=""}': ['tailscale-clients', 'b.c'],
  };
  const values = async (_: string | undefined, label: string, match: string) => {
    asked.push(`${label} ${match}`);
    return series[`${label} ${match}`] ?? [];
  };
  const full = await resolveVariables(parseDashboard(recording(1860)), values);
  // The one that was chosen when it was exported, since it still exists; else the first.
  assert.equal(full.get('job')?.value, 'node');
  assert.equal(full.get('node')?.value, 'pi');
  assert.equal(
    fillIn('rate(x{i="$node",d=~"[[job]]"}[$__rate_interval])', full),
    'rate(x{i="pi",d=~"node"}[5m])',
  );
  const machine = await resolveVariables(parseDashboard(recording(24178)), values);
  assert.equal(machine.get('cluster')?.value, '');
  assert.equal(machine.get('cluster')?.missing, undefined, 'it is hidden, and may be empty');
  assert.equal(machine.get('job')?.value, '(tailscale-clients|b\\\\.c)');
  assert.deepEqual(machine.get('tailscale_machine')?.missing, {
    metric: 'tailscaled_health_messages',
    label: 'tailscale_machine',
  });
});

test('panels without data are told by their reason, the largest first', () => {
  const why = 'there is no metric a';
  const concern = panelsConcern({
    checked: 9,
    left: 2,
    empty: [
      { title: 'Z', why: 'its queries return nothing' },
      ...['A', 'B', 'C', 'D', 'E'].map((title) => ({ title, why })),
    ],
  });
  assert.equal(concern.status, 'True');
  assert.match(
    concern.message,
    /^6 of 9 panels show nothing \(2 more were not asked.*\)\. there is no metric a: "A", "B", "C" and 2 more; its queries return nothing: "Z"$/,
  );
  assert.equal(panelsConcern({ checked: 9, left: 0, empty: [] }).status, 'False');
});

test('the stand-in’s migration changes what the comparison would see', () => {
  const before = { title: 'x', schemaVersion: 30, panels: [{ type: 'stat' }] };
  const parts = differingParts(partsOf(normalise(before)), partsOf(normalise(migrated(before))));
  assert.ok(parts.length > 0, 'or the tests of migration would prove nothing');
});
