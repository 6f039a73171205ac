// GrafanaDashboard's pure parts for schema v2: every form that Grafana 12 and 13 export is read, bound and compared.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { grafanaDashboard } from '../../../kinds/grafana-dashboard/index.ts';
import {
  bindInputs,
  differingParts,
  inputsOf,
  normalise,
  parseDashboard,
  partsOf,
} from '../../../kinds/grafana-dashboard/model.ts';
import { classicView } from '../../../kinds/grafana-dashboard/v2.ts';
import { resolveVariables } from '../../../kinds/grafana-dashboard/variables.ts';
import { CASES, require, SHARED_CASES } from '../../support/capabilities.ts';
import { typed } from '../../support/grafana/v2.ts';
import {
  datasourceVariable,
  exported,
  gridOf,
  labelValues,
  panel,
  query,
  specOf,
  tabOf,
} from '../../support/grafana/v2-dashboards.ts';

const GRAFANA = { url: 'http://127.0.0.1:3000', token: { secretFrom: { env: 'T' } } };

function findings(content: string, inputs?: Record<string, string>): string[] {
  const parsed = grafanaDashboard.spec.parse({ grafana: GRAFANA, uid: 'x', content, inputs });
  return (grafanaDashboard.check?.(parsed) ?? []).map(({ path, message }) => `${path.join('.')}|${message}`);
}

const differing = (a: object, b: object) =>
  differingParts(
    partsOf(normalise(a as Record<string, unknown>)),
    partsOf(normalise(b as Record<string, unknown>)),
  );

const LOAD = { 'panel-1': panel(1, 'Load', [query('node_load1', { datasource: { name: 'prom' } })]) };

test('the dashboards of case 30 are taken without a finding', (t) => {
  if (!require(t, CASES)) return;
  const directory = path.join(SHARED_CASES, '30-dashboard-exported-by-grafana-13', 'manifests');
  const files = fs.readdirSync(directory).filter((name) => name.endsWith('.json'));
  assert.ok(files.includes('v2.json'));
  for (const name of files)
    assert.deepEqual(findings(fs.readFileSync(path.join(directory, name), 'utf8')), [], name);
});

test('as a resource, bare as “Classic” of 13.0.2 gives it, and wrapped, it is the same dashboard', () => {
  const spec = specOf('Hosts', LOAD);
  for (const text of [
    exported(spec),
    exported(spec, 'v2beta1'),
    JSON.stringify(spec),
    JSON.stringify({ dashboard: spec, meta: {} }),
    JSON.stringify({ dashboard: JSON.parse(exported(spec)) }),
  ]) {
    assert.deepEqual(parseDashboard(text), spec);
    assert.deepEqual(findings(text), []);
  }
});

test('half a dashboard of v2, and a schema that is not known, are told', () => {
  assert.match(findings('{"title":"x","elements":{}}')[0]!, /schema v2 has elements and layout.*layout is/);
  assert.match(findings(exported({ title: 'x' }))[0]!, /elements and layout are missing/);
  assert.match(findings(exported({ title: 'x' }, 'v3alpha0'))[0]!, /v3alpha0, which is not known here/);
  assert.match(findings(exported({ ...specOf('', LOAD) }))[0]!, /no title/);
});

test('the early form v2alpha1 is read as v2', () => {
  const reference = { type: 'prometheus', uid: '${DS_PROMETHEUS}' };
  const early = {
    title: 'Early',
    annotations: [
      { kind: 'AnnotationQuery', spec: { name: 'a', datasource: { type: 'loki', uid: 'l' }, enable: true } },
    ],
    elements: {
      'panel-1': {
        kind: 'Panel',
        spec: {
          id: 1,
          title: 'Load',
          links: [],
          data: {
            kind: 'QueryGroup',
            spec: {
              queries: [
                {
                  kind: 'PanelQuery',
                  spec: {
                    refId: 'A',
                    hidden: false,
                    datasource: reference,
                    query: { kind: 'prometheus', spec: { expr: 'node_load1' } },
                  },
                },
              ],
              transformations: [{ kind: 'reduce', spec: { id: 'reduce', options: { a: 1 } } }],
              queryOptions: {},
            },
          },
          vizConfig: { kind: 'timeseries', spec: { pluginVersion: '12.0.0', options: {} } },
        },
      },
    },
    layout: gridOf(['panel-1']),
    variables: [
      {
        kind: 'QueryVariable',
        spec: {
          name: 'job',
          datasource: reference,
          query: { kind: 'prometheus', spec: { __legacyStringValue: 'label_values(job)' } },
        },
      },
      { kind: 'AdhocVariable', spec: { name: 'f', datasource: reference, filters: [] } },
    ],
  };
  const text = exported(early, 'v2alpha1');
  assert.deepEqual(findings(text, { DS_PROMETHEUS: 'prom' }), []);
  const bound = bindInputs(parseDashboard(text), { DS_PROMETHEUS: 'prom' });
  const source = {
    kind: 'DataQuery',
    version: 'v0',
    group: 'prometheus',
    datasource: { name: 'prom' },
  };
  const dashboard = bound as unknown as typeof early;
  const { data, vizConfig } = dashboard.elements['panel-1'].spec;
  assert.deepEqual(data.spec.queries[0]?.spec, {
    refId: 'A',
    hidden: false,
    query: { ...source, spec: { expr: 'node_load1' } },
  });
  assert.deepEqual(data.spec.transformations, [
    { kind: 'Transformation', group: 'reduce', spec: { options: { a: 1 } } },
  ]);
  assert.deepEqual(vizConfig, {
    kind: 'VizConfig',
    group: 'timeseries',
    version: '12.0.0',
    spec: { options: {} },
  });
  assert.deepEqual(dashboard.variables, [
    {
      kind: 'QueryVariable',
      spec: { name: 'job', query: { ...source, spec: { __legacyStringValue: 'label_values(job)' } } },
    },
    {
      kind: 'AdhocVariable',
      group: 'prometheus',
      datasource: { name: 'prom' },
      spec: { name: 'f', filters: [] },
    },
  ]);
  assert.deepEqual(dashboard.annotations[0]?.spec, {
    name: 'a',
    enable: true,
    query: { kind: 'DataQuery', version: 'v0', group: 'loki', datasource: { name: 'l' }, spec: {} },
  });
});

test('names, variables and the labels of an export for others are bound, in tabs too', () => {
  const label = { labels: { 'grafana.app/export-label': 'prometheus-1' } };
  const kept = { 'grafana.app/export-datasource-name': 'P', mine: 'x' };
  const elements = {
    'panel-1': panel(1, 'A', [query('a', { datasource: { name: '${DS_PROMETHEUS}' } })]),
    'panel-2': panel(2, 'B', [query('b', { datasource: { name: '$ds' } })]),
    'panel-3': panel(3, 'C', [query('c', { labels: { ...label.labels, ...kept } })]),
    'panel-4': {
      kind: 'LibraryPanel',
      spec: { id: 4, title: 'D', libraryPanel: { name: 'D', uid: 'lib' } },
    },
  };
  const builtIn = { kind: 'DataQuery', group: 'grafana', version: 'v0', spec: {} };
  const annotation = {
    kind: 'AnnotationQuery',
    spec: { query: { ...builtIn, labels: { 'grafana.app/export-label': 'grafana-1' } } },
  };
  const text = exported({
    ...specOf('Hosts', elements),
    layout: tabOf('T', gridOf(Object.keys(elements)), { variables: [datasourceVariable('inTab')] }),
    variables: [datasourceVariable('ds'), labelValues('job', 'label_values(job)', label)],
    annotations: [annotation],
  });
  assert.deepEqual(inputsOf(parseDashboard(text)), {
    required: ['prometheus-1', 'DS_PROMETHEUS'],
    optional: ['ds', 'inTab', 'grafana-1'],
  });
  assert.match(findings(text, { DS_PROMETHEUS: 'p' })[0]!, /prometheus-1 is not bound: write inputs/);
  assert.match(findings(text, { 'prometheus-1': 'p' })[0]!, /DS_PROMETHEUS is not bound/);
  assert.match(findings(text, { none: 'p', DS_PROMETHEUS: 'p', 'prometheus-1': 'p' })[0]!, /no input none/);
  const inputs = { DS_PROMETHEUS: 'p1', ds: 'p2', 'prometheus-1': 'p3', inTab: 'p4' };
  assert.deepEqual(findings(text, inputs), []);
  const bound = bindInputs(parseDashboard(text), inputs);
  const sources = [...JSON.stringify(bound).matchAll(/"datasource":\{"name":"([^"]*)"/g)].map((m) => m[1]);
  assert.deepEqual(sources.sort(), ['p1', 'p2', 'p3', 'p3']);
  assert.ok(JSON.stringify(bound).includes('"labels":{"mine":"x"}'), 'only the label of the export is gone');
  assert.ok(!JSON.stringify(bound).includes('DatasourceVariable'), 'nobody asks them any more');
  assert.ok(JSON.stringify(bound).includes('"libraryPanel":{"name":"D","uid":"lib"}'));
});

test('what Grafana fills in by itself is no difference; every edit is, and is named', () => {
  const ours = specOf('Hosts', { ...LOAD, 'panel-2': panel(2, '', []) });
  const theirs: Record<string, unknown> = structuredClone({
    ...ours,
    annotations: [{ kind: 'AnnotationQuery', spec: { builtIn: true, name: 'Annotations & Alerts' } }],
    cursorSync: 'Off',
    description: null,
    editable: true,
    liveNow: false,
    links: [],
    tags: null,
  });
  assert.deepEqual(differing(ours, theirs), []);
  const edited = structuredClone(theirs);
  edited['title'] = 'Mine';
  const elements = edited['elements'] as Record<string, { spec: Record<string, unknown> }>;
  elements['panel-1']!.spec['description'] = 'Mine';
  delete elements['panel-2'];
  elements['panel-3'] = panel(3, 'New', []) as never;
  assert.deepEqual(differing(ours, edited), [
    'title',
    'panel 1 "Load"',
    'panel 2 missing',
    'panel 3 "New" added',
  ]);
  const moved = { ...ours, layout: tabOf('T', ours['layout'] as Record<string, unknown>) };
  assert.deepEqual(differing(ours, moved), ['layout']);
});

test('the stand-in’s structs change what the comparison would see', () => {
  const ours = specOf('Hosts', LOAD);
  assert.ok(differing(ours, typed(ours)).length > 0, 'or the tests of drift would prove nothing');
});

test('variables have the values that Grafana would choose', async () => {
  const asked: string[] = [];
  const named = { datasource: { name: 'prom' } };
  const dashboard = parseDashboard(
    exported({
      ...specOf('Hosts', {}),
      variables: [
        {
          kind: 'CustomVariable',
          spec: { name: 'c', query: 'one, two', current: { text: 'two', value: 'two' } },
        },
        { kind: 'SwitchVariable', spec: { name: 's', current: 'true' } },
        { kind: 'TextVariable', spec: { name: 'text', query: 'words', current: { text: '', value: '' } } },
        labelValues('job', 'label_values(up, job)', named),
        labelValues('old', '', { spec: { __legacyStringValue: 'label_values(up{job="$job"}, instance)' } }),
        {
          ...labelValues('gone', 'label_values(none, x)'),
          spec: { ...(labelValues('gone', 'label_values(none, x)')['spec'] as object), hide: 'hideVariable' },
        },
      ],
    }),
  );
  const values = await resolveVariables(classicView(dashboard), async (source, label, match) => {
    asked.push(`${source} ${label} ${match}`);
    return label === 'x' ? [] : [`${label}-1`, `${label}-2`];
  });
  const value = (name: string) => values.get(name)?.value;
  assert.deepEqual(['c', 's', 'text', 'job', 'old', 'gone'].map(value), [
    'two',
    'true',
    'words',
    'job-1',
    'instance-1',
    '',
  ]);
  assert.equal(values.get('gone')?.missing, undefined, 'it is hidden, and may be empty');
  assert.deepEqual(asked, [
    'prom job up',
    'default:prometheus instance up{job="job-1"}',
    'default:prometheus x none',
  ]);
});
