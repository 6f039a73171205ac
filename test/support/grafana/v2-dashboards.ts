// A dashboard of schema v2 in the forms in which people have it.
type Obj = Record<string, unknown>;

/** A query as v2 has it. */
export const query = (expr: string, more: Obj = {}): Obj => ({
  kind: 'PanelQuery',
  spec: {
    refId: 'A',
    hidden: false,
    query: { kind: 'DataQuery', group: 'prometheus', version: 'v0', spec: { expr }, ...more },
  },
});

export const panel = (id: number, title: string, queries: readonly Obj[]): Obj => ({
  kind: 'Panel',
  spec: {
    id,
    title,
    links: [],
    data: { kind: 'QueryGroup', spec: { queries, transformations: [], queryOptions: {} } },
    vizConfig: {
      kind: 'VizConfig',
      group: 'timeseries',
      version: '13.0.2',
      spec: { options: {}, fieldConfig: { defaults: {}, overrides: [] } },
    },
  },
});

export const gridOf = (names: readonly string[]): Obj => ({
  kind: 'GridLayout',
  spec: {
    items: names.map((name, i) => ({
      kind: 'GridLayoutItem',
      spec: { x: 0, y: 8 * i, width: 12, height: 8, element: { kind: 'ElementReference', name } },
    })),
  },
});

export const tabOf = (title: string, layout: Obj, more: Obj = {}): Obj => ({
  kind: 'TabsLayout',
  spec: { tabs: [{ kind: 'TabsLayoutTab', spec: { title, layout, ...more } }] },
});

export function specOf(title: string, elements: Record<string, Obj>, more: Obj = {}): Obj {
  return { title, elements, layout: gridOf(Object.keys(elements)), variables: [], ...more };
}

/** As Grafana 13 exports it. */
export const exported = (spec: Obj, version = 'v2'): string =>
  JSON.stringify({
    apiVersion: `dashboard.grafana.app/${version}`,
    kind: 'Dashboard',
    metadata: { name: 'theirs', annotations: { 'grafana.app/folder': 'theirs' }, resourceVersion: '5' },
    spec,
    status: {},
  });

export const datasourceVariable = (name: string): Obj => ({
  kind: 'DatasourceVariable',
  spec: { name, pluginId: 'prometheus', current: { text: 'x', value: 'x' }, options: [] },
});

export const labelValues = (name: string, text: string, more: Obj = {}): Obj => ({
  kind: 'QueryVariable',
  spec: {
    name,
    current: { text: '', value: '' },
    hide: 'dontHide',
    query: { kind: 'DataQuery', group: 'prometheus', version: 'v0', spec: { query: text }, ...more },
  },
});
