// Dashboards of schema v2 in the stand-in: what Grafana 13 refuses, what Go's structs make of them, and how they look in
// the classic schema and back. It follows grafana/grafana: apps/dashboard/kinds/v2/dashboard_spec.cue (members, enums),
// apps/dashboard/pkg/apis/dashboard/v2/dashboard_spec_gen.go (absent lists come back as null, absent flags as false,
// unknown members not at all), and pull requests 118665 (v2 sent to v1) and 100845 (status.conversion). Of the
// conversions it does as much as tests see: panels, their queries, variables; a layout other than a grid is lost.
import { type Obj, Refusal } from './refusal.ts';

export function isV2(json: Obj): boolean {
  return 'elements' in json && 'layout' in json;
}

/** What /api and v1 say to a body of schema v2. */
export function refuseV2(json: Obj): void {
  if (!isV2(json)) return;
  throw new Refusal(
    400,
    'dashboard appears to be in v2 format. Please use the /apis/dashboard.grafana.app/v2 API',
    'BadRequest',
  );
}

const LAYOUTS = ['GridLayout', 'RowsLayout', 'AutoGridLayout', 'TabsLayout'];

/** @throws Refusal, as validation by CUE does, with every cause. */
export function validateV2(name: string, spec: Obj): void {
  const causes: string[] = [];
  if (typeof spec['title'] !== 'string') causes.push('spec.title: Required value');
  if (!LAYOUTS.includes(String(objectIn(spec['layout'])['kind']))) causes.push('spec.layout: Invalid value');
  for (const [key, element] of Object.entries(objectIn(spec['elements']))) {
    const at = `spec.elements.${key}`;
    const { kind, spec: panel } = objectIn(element);
    if (kind !== 'Panel' && kind !== 'LibraryPanel') causes.push(`${at}.kind: Invalid value`);
    if (kind !== 'Panel') continue;
    if (objectIn(objectIn(panel)['vizConfig'])['kind'] !== 'VizConfig')
      causes.push(`${at}.spec.vizConfig.kind: Invalid value`);
    for (const query of queriesOf(objectIn(panel)))
      if (objectIn(query['query'])['kind'] !== 'DataQuery')
        causes.push(`${at}.spec.data.spec.queries.spec.query.kind: Invalid value`);
  }
  for (const [i, variable] of listIn(spec['variables']).entries()) {
    const { current } = objectIn(variable['spec']);
    if (typeof current === 'object' && !('text' in objectIn(current) && 'value' in objectIn(current)))
      causes.push(`spec.variables.${i}.spec.current: Invalid value`);
  }
  if (causes.length === 0) return;
  const message = `Dashboard.dashboard.grafana.app "${name}" is invalid: [${causes.join(', ')}]`;
  throw new Refusal(422, message, 'Invalid');
}

const TIME_SETTINGS = {
  from: '',
  to: '',
  autoRefresh: '',
  autoRefreshIntervals: null,
  hideTimepicker: false,
  fiscalYearStartMonth: 0,
};
const SPEC = {
  annotations: null,
  cursorSync: '',
  elements: null,
  layout: null,
  links: null,
  preload: false,
  tags: null,
  timeSettings: TIME_SETTINGS,
  title: '',
  variables: null,
};
const OPTIONAL = ['description', 'editable', 'liveNow', 'revision', 'preferences'];
const VARIABLE = { hide: '', skipUrlSync: false };

/** As Go reads it into its structs and writes them. */
export function typed(spec: Obj): Obj {
  const known = Object.entries(spec).filter(([key]) => key in SPEC || OPTIONAL.includes(key));
  const out: Obj = { ...SPEC, ...Object.fromEntries(known) };
  out['timeSettings'] = { ...TIME_SETTINGS, ...objectIn(out['timeSettings']) };
  out['elements'] = Object.fromEntries(
    Object.entries(objectIn(out['elements'])).map(([name, element]) => [
      name,
      typedElement(objectIn(element)),
    ]),
  );
  if (Array.isArray(out['variables']))
    out['variables'] = listIn(out['variables']).map((v) => ({
      ...v,
      spec: { ...VARIABLE, ...objectIn(v['spec']) },
    }));
  return out;
}

function typedElement(element: Obj): Obj {
  const spec = objectIn(element['spec']);
  if (element['kind'] !== 'Panel') return element;
  const data = objectIn(spec['data']);
  const group = {
    queries: null,
    transformations: null,
    queryOptions: {},
    ...objectIn(data['spec']),
  } as Obj;
  if (Array.isArray(group['queries']))
    group['queries'] = listIn(group['queries']).map((query) => ({
      ...query,
      spec: { refId: '', hidden: false, ...objectIn(query['spec']) },
    }));
  return { ...element, spec: { links: null, ...spec, data: { ...data, spec: group } } };
}

/** In the classic schema; what has no place there is lost. */
export function classicOf(json: Obj): Obj {
  const places = new Map(
    listIn(objectIn(objectIn(json['layout'])['spec'])['items']).map(({ spec }) => {
      const { element, x, y, width: w, height: h } = objectIn(spec);
      return [objectIn(element)['name'], { x, y, w, h }];
    }),
  );
  const panels = Object.entries(objectIn(json['elements'])).map(([name, element]) => {
    const spec = objectIn(objectIn(element)['spec']);
    const place = places.get(name);
    const common = {
      id: spec['id'],
      title: spec['title'],
      ...(place === undefined ? {} : { gridPos: place }),
    };
    if (objectIn(element)['kind'] === 'LibraryPanel')
      return { ...common, libraryPanel: spec['libraryPanel'] };
    const { group, spec: config } = objectIn(spec['vizConfig']);
    return {
      ...common,
      type: group,
      ...objectIn(config),
      targets: queriesOf(spec).map(({ query, refId, hidden }) => {
        const { group: type, datasource, spec: target } = objectIn(query);
        return {
          ...objectIn(target),
          refId,
          hide: hidden,
          datasource: { type, uid: objectIn(datasource)['name'] },
        };
      }),
    };
  });
  return {
    title: json['title'],
    schemaVersion: 42,
    panels,
    templating: {
      list: listIn(json['variables']).map(({ kind, spec }) => ({
        type: String(kind)
          .replace(/Variable$/, '')
          .toLowerCase(),
        name: objectIn(spec)['name'],
      })),
    },
  };
}

/** A classic dashboard in schema v2: one grid. */
export function v2Of(json: Obj): Obj {
  const panels = listIn(json['panels']);
  const elements = Object.fromEntries(
    panels.map((panel) => [
      `panel-${panel['id']}`,
      {
        kind: 'Panel',
        spec: {
          id: panel['id'],
          title: panel['title'] ?? '',
          links: [],
          data: {
            kind: 'QueryGroup',
            spec: {
              queries: listIn(panel['targets']).map(({ refId, hide, datasource, ...target }) => ({
                kind: 'PanelQuery',
                spec: {
                  refId,
                  hidden: hide === true,
                  query: {
                    kind: 'DataQuery',
                    group: objectIn(datasource)['type'] ?? 'prometheus',
                    version: 'v0',
                    spec: target,
                  },
                },
              })),
              transformations: [],
              queryOptions: {},
            },
          },
          vizConfig: {
            kind: 'VizConfig',
            group: panel['type'],
            version: '',
            spec: { options: {}, fieldConfig: { defaults: {}, overrides: [] } },
          },
        },
      },
    ]),
  );
  const items = Object.keys(elements).map((name, i) => ({
    kind: 'GridLayoutItem',
    spec: { x: 0, y: 8 * i, width: 12, height: 8, element: { kind: 'ElementReference', name } },
  }));
  const layout = { kind: 'GridLayout', spec: { items } };
  return typed({ title: json['title'], elements, layout, variables: [], annotations: [] });
}

function queriesOf(panel: Obj): Obj[] {
  const group = objectIn(objectIn(panel['data'])['spec']);
  return listIn(group['queries']).map(({ spec }) => objectIn(spec));
}

function objectIn(value: unknown): Obj {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Obj) : {};
}

function listIn(value: unknown): Obj[] {
  return Array.isArray(value) ? value.map(objectIn) : [];
}
