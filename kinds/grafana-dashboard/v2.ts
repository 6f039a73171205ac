// Dashboards of schema v2, which Grafana 13 saves and exports: elements by name, a layout that places them, and a
// `kind` at each part. Pure.
// Facts: grafana/grafana, apps/dashboard/kinds/v2/dashboard_spec.cue, v2alpha1/dashboard_spec.cue beside it, and
// public/app/features/dashboard/components/DashExportModal/DashboardExporter.ts for what an export leaves.
import { isObject, objectsIn } from '../grafana-api.ts';
import { type Dashboard, mapObjects, objectsOf } from './tree.ts';

type Obj = Record<string, unknown>;

export function isV2(dashboard: Dashboard): boolean {
  return isObject(dashboard['elements']) || isObject(dashboard['layout']);
}

const objectIn = (value: unknown): Obj => (isObject(value) ? value : {});
const specOf = (node: unknown): Obj => objectIn(objectIn(node)['spec']);

/** The early form v2alpha1 (Grafana 12) as v2: there, `kind` is the plugin, and a data source is a reference beside the query. */
export function asV2(dashboard: Dashboard): Dashboard {
  return mapObjects(dashboard, (node) => {
    const spec = node['spec'];
    if (!isObject(spec)) return node;
    switch (node['kind']) {
      case 'PanelQuery':
      case 'QueryVariable':
      case 'AnnotationQuery':
        return { ...node, spec: withDataQuery(spec) };
      case 'Panel':
        return { ...node, spec: withVizConfig(spec) };
      case 'QueryGroup':
        return Array.isArray(spec['transformations'])
          ? { ...node, spec: { ...spec, transformations: spec['transformations'].map(withGroup) } }
          : node;
      case 'AdhocVariable':
      case 'GroupByVariable': {
        if (!isObject(spec['datasource'])) return node;
        const { datasource, ...rest } = spec;
        return { ...node, ...referenceOf(datasource), spec: rest };
      }
      default:
        return node;
    }
  }) as Dashboard;
}

function withDataQuery(spec: Obj): Obj {
  const { datasource, query, ...rest } = spec;
  if (objectIn(query)['kind'] === 'DataQuery' || !(isObject(query) || isObject(datasource))) return spec;
  const plugin = objectIn(query)['kind'];
  const reference = referenceOf(datasource);
  return {
    ...rest,
    query: {
      kind: 'DataQuery',
      version: 'v0',
      ...reference,
      group: typeof plugin === 'string' && plugin !== '' ? plugin : (reference.group ?? ''),
      spec: specOf(query),
    },
  };
}

function referenceOf(datasource: unknown): { group?: string; datasource?: { name: string } } {
  const { type, uid } = objectIn(datasource);
  return {
    ...(typeof type === 'string' ? { group: type } : {}),
    ...(typeof uid === 'string' ? { datasource: { name: uid } } : {}),
  };
}

function withVizConfig(spec: Obj): Obj {
  const config = objectIn(spec['vizConfig']);
  if (config['kind'] === 'VizConfig' || typeof config['kind'] !== 'string') return spec;
  const { pluginVersion, ...rest } = specOf(config);
  return {
    ...spec,
    vizConfig: {
      kind: 'VizConfig',
      group: config['kind'],
      version: typeof pluginVersion === 'string' ? pluginVersion : '',
      spec: rest,
    },
  };
}

function withGroup(transformation: unknown): unknown {
  if (!isObject(transformation) || transformation['kind'] === 'Transformation') return transformation;
  const { id, ...rest } = specOf(transformation);
  return { kind: 'Transformation', group: transformation['kind'] ?? id ?? '', spec: rest };
}

const LABEL = 'grafana.app/export-label';
const LABELS: readonly string[] = [LABEL, 'grafana.app/export-datasource-name'];
/** What Grafana has by itself, so that nothing is to be bound. */
const BUILT_IN = new Set(['grafana', 'datasource', 'dashboard', 'mixed', '__expr__']);

/**
 * Names that "share externally" put in the place of data sources (`prometheus-1`), as labels of what asks them.
 * @returns those that need a data source, and those that Grafana itself answers.
 */
export function exportLabels(dashboard: Dashboard): { required: string[]; optional: string[] } {
  const labelled = objectsOf(dashboard).flatMap((node) => {
    const label = labelOf(node);
    return label === undefined ? [] : [{ label, builtIn: BUILT_IN.has(String(node['group'])) }];
  });
  return {
    required: labelled.filter(({ builtIn }) => !builtIn).map(({ label }) => label),
    optional: labelled.filter(({ builtIn }) => builtIn).map(({ label }) => label),
  };
}

/** With a data source where a label stood for one. */
export function bindLabels(dashboard: Dashboard, values: ReadonlyMap<string, string>): Dashboard {
  return mapObjects(dashboard, (node) => {
    const name = values.get(labelOf(node) ?? '');
    if (name === undefined) return node;
    const { labels, ...rest } = node;
    const others = Object.entries(objectIn(labels)).filter(([key]) => !LABELS.includes(key));
    return {
      ...rest,
      datasource: { name },
      ...(others.length === 0 ? {} : { labels: Object.fromEntries(others) }),
    };
  }) as Dashboard;
}

/** Of a node that has lost its data source by an export. */
function labelOf(node: Obj): string | undefined {
  const label = objectIn(node['labels'])[LABEL];
  const hasSource = typeof objectIn(node['datasource'])['name'] === 'string';
  return typeof label === 'string' && label !== '' && !hasSource ? label : undefined;
}

/** Those of the dashboard, and of its rows and tabs. */
function variables(dashboard: Dashboard): Obj[] {
  const sections = objectsOf(dashboard['layout']);
  return [dashboard, ...sections].flatMap((section) => objectsIn(section['variables']));
}

export function datasourceVariablesOf(dashboard: Dashboard): string[] {
  return variables(dashboard)
    .filter(({ kind }) => kind === 'DatasourceVariable')
    .map((variable) => String(specOf(variable)['name']));
}

/** Without data source variables of these names, in rows and tabs too. */
export function withoutVariables(dashboard: Dashboard, names: ReadonlySet<string>): Dashboard {
  const without = (section: Obj): Obj =>
    Array.isArray(section['variables'])
      ? {
          ...section,
          variables: section['variables'].filter(
            (v) =>
              !isObject(v) || v['kind'] !== 'DatasourceVariable' || !names.has(String(specOf(v)['name'])),
          ),
        }
      : section;
  return without({ ...dashboard, layout: mapObjects(dashboard['layout'], without) });
}

/** What Grafana fills in, or leaves out, for a member that says nothing else. */
export const V2_DEFAULTS: Readonly<Record<string, unknown>> = {
  annotations: [],
  cursorSync: 'Off',
  editable: true,
  elements: {},
  links: [],
  liveNow: false,
  preload: false,
  tags: [],
  variables: [],
};

export function withoutBuiltInAnnotations(annotations: unknown): unknown {
  return Array.isArray(annotations)
    ? annotations.filter((annotation) => specOf(annotation)['builtIn'] !== true)
    : annotations;
}

/** In the order of their ids. */
export function elementsOf(dashboard: Dashboard): Obj[] {
  const id = (element: Obj) => Number(specOf(element)['id'] ?? 0);
  return Object.values(objectIn(dashboard['elements']))
    .filter(isObject)
    .sort((a, b) => id(a) - id(b));
}

/** As a panel is named and told apart, of either schema. */
export function titleOf(element: Obj): { id: unknown; title: unknown } {
  const { id, title } = specOf(element);
  return { id, title };
}

/** In the data source's place of a query that names none: Grafana then takes the default one of its type. */
export const DEFAULT_PROMETHEUS = 'default:prometheus';

/** Its panels and variables in the classic form, as far as queries need them. */
export function classicView(dashboard: Dashboard): Dashboard {
  return {
    title: dashboard['title'],
    panels: elementsOf(dashboard).map(classicPanel),
    templating: { list: variables(dashboard).map(classicVariable) },
  };
}

function classicPanel(element: Obj): Obj {
  const spec = specOf(element);
  const { id, title } = spec;
  if (element['kind'] === 'LibraryPanel') return { id, title, libraryPanel: spec['libraryPanel'] };
  const targets = objectsIn(specOf(spec['data'])['queries']).map((panelQuery) => {
    const { query, refId, hidden } = specOf(panelQuery);
    return { ...specOf(query), refId, hide: hidden === true, datasource: classicSource(query) };
  });
  return { id, title, type: objectIn(spec['vizConfig'])['group'], targets };
}

function classicSource(query: unknown): Obj {
  const { group, datasource } = objectIn(query);
  const { name } = objectIn(datasource);
  const uid = typeof name === 'string' && name !== '' ? name : undefined;
  return { type: group, uid: uid ?? (group === 'prometheus' ? DEFAULT_PROMETHEUS : undefined) };
}

const TYPES: Readonly<Record<string, string>> = {
  ConstantVariable: 'constant',
  CustomVariable: 'custom',
  DatasourceVariable: 'datasource',
  IntervalVariable: 'interval',
  QueryVariable: 'query',
  SwitchVariable: 'switch',
  TextVariable: 'textbox',
};

function classicVariable(variable: Obj): Obj {
  const spec = specOf(variable);
  const { name, current, regex, includeAll, options, definition } = spec;
  const type = TYPES[String(variable['kind'])] ?? 'adhoc';
  const common = {
    name,
    type,
    regex,
    includeAll,
    options,
    current: typeof current === 'string' ? { value: current } : current,
    hide: spec['hide'] === 'hideVariable' ? 2 : 0,
  };
  if (type !== 'query') return { ...common, query: spec['pluginId'] ?? spec['query'] };
  const query = specOf(spec['query']);
  // What was a text in the classic form is kept under this name.
  const text = query['query'] ?? query['__legacyStringValue'] ?? definition;
  return { ...common, query: { query: text }, definition, datasource: classicSource(spec['query']) };
}
