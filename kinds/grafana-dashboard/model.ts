// A dashboard as JSON: read from a manifest, its inputs bound, and brought to a form in which what we want and what
// Grafana made of it can be compared, part by part. Pure.
// Facts: grafana.com/docs/grafana/latest/visualizations/dashboards/build-dashboards/view-dashboard-json-model/.
import { digestOf } from '../../api/json.ts';
import { isObject, objectsIn } from '../grafana-api.ts';
import { type Dashboard, mapText, withoutNulls } from './tree.ts';
import * as v2 from './v2.ts';

/** By name (`title`, `panel 7 "CPU"`), the digest of that part. */
export type Parts = Readonly<Record<string, string>>;

/** What is wrong with a dashboard's text; with its place where JSON says it. */
export class DashboardError extends Error {
  override readonly name = 'DashboardError';
  readonly place: { readonly line: number; readonly column: number } | undefined;
  constructor(message: string, place?: { line: number; column: number }) {
    super(message);
    this.place = place;
  }
}

/**
 * The dashboard in a text: bare, as the API gives it (`dashboard` and `meta`), or as a resource of
 * dashboard.grafana.app; of the classic schema, or of v2.
 * @throws DashboardError
 */
export function parseDashboard(text: string): Dashboard {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const { message } = error as Error;
    const at = /\(line (\d+) column (\d+)\)/.exec(message);
    const place = at === null ? undefined : { line: Number(at[1]), column: Number(at[2]) };
    throw new DashboardError(`it is not JSON: ${message.replace(/ \(line .*\)$/, '')}`, place);
  }
  if (isObject(value) && isObject(value['dashboard'])) value = value['dashboard'];
  let apiVersion: unknown;
  if (isObject(value) && value['kind'] === 'Dashboard' && isObject(value['spec'])) {
    apiVersion = value['apiVersion'];
    value = value['spec'];
  }
  if (!isObject(value)) throw new DashboardError('a dashboard is a JSON object');
  refuseOtherSchema(value, apiVersion);
  if (typeof value['title'] !== 'string' || value['title'] === '') {
    throw new DashboardError('it has no title: is it the JSON of a dashboard?');
  }
  return v2.isV2(value) ? v2.asV2(value) : value;
}

/** @throws DashboardError for what is of no schema that is known here, or only half of one. */
function refuseOtherSchema(spec: Dashboard, apiVersion: unknown): void {
  const version = typeof apiVersion === 'string' ? apiVersion.replace(/^dashboard\.grafana\.app\//, '') : '';
  if (/^v([3-9]|\d\d)/.test(version))
    throw new DashboardError(`it is of ${apiVersion}, which is not known here: v1 and v2 are`);
  if (!v2.isV2(spec) && !version.startsWith('v2')) return;
  const missing = ['elements', 'layout'].filter((member) => !isObject(spec[member]));
  if (missing.length > 0) {
    throw new DashboardError(
      `a dashboard of schema v2 has elements and layout, each an object: ${missing.join(' and ')} ${missing.length === 1 ? 'is' : 'are'} missing`,
    );
  }
}

/** Names that are to be bound, and those that may be. */
export function inputsOf(dashboard: Dashboard): { required: string[]; optional: string[] } {
  const declared = objectsIn(dashboard['__inputs']);
  const variables = datasourceVariables(dashboard);
  const text = JSON.stringify(dashboard);
  const named = [...text.matchAll(/\$\{(DS_[A-Za-z0-9_-]+)\}/g)].map((m) => m[1]!);
  const required = new Set<string>();
  const optional = new Set<string>(variables);
  for (const input of declared) {
    const name = String(input['name']);
    // A constant brings its value along.
    (input['type'] === 'constant' && input['value'] !== undefined ? optional : required).add(name);
  }
  const labels = v2.exportLabels(dashboard);
  for (const name of labels.optional) optional.add(name);
  for (const name of [...labels.required, ...named]) if (!optional.has(name)) required.add(name);
  return { required: [...required], optional: [...optional] };
}

/** With its inputs filled in and gone, and what a Grafana counts for itself left out. */
export function bindInputs(dashboard: Dashboard, inputs: Readonly<Record<string, string>>): Dashboard {
  const values = new Map<string, string>();
  for (const input of objectsIn(dashboard['__inputs'])) {
    if (input['type'] === 'constant' && typeof input['value'] === 'string')
      values.set(String(input['name']), input['value']);
  }
  for (const [name, value] of Object.entries(inputs)) values.set(name, value);
  const variables = new Set(datasourceVariables(dashboard).filter((name) => values.has(name)));
  const fill = (text: string): string => {
    let out = text;
    for (const [name, value] of values) {
      out = out.replaceAll(`\${${name}}`, () => value);
      if (variables.has(name) && (out === `$${name}` || out === `[[${name}]]`)) out = value;
    }
    return out;
  };
  const bound = mapText(dashboard, fill) as Record<string, unknown>;
  for (const key of ['__inputs', '__requires', '__elements', 'id', 'version', 'iteration']) delete bound[key];
  if (v2.isV2(dashboard)) return v2.withoutVariables(v2.bindLabels(bound, values), variables);
  if (variables.size > 0) {
    const templating = bound['templating'] as Record<string, unknown>;
    // A variable that nothing asks any more would only be a menu that does nothing.
    const list = objectsIn(templating['list']).filter((v) => !variables.has(String(v['name'])));
    bound['templating'] = { ...templating, list };
  }
  return bound;
}

const COUNTED = new Set(['id', 'uid', 'version', 'iteration', '__inputs', '__requires', '__elements']);
/** What Grafana fills in, or leaves out, for a member that says nothing else. */
const DEFAULTS: Readonly<Record<string, unknown>> = {
  annotations: { list: [] },
  editable: true,
  fiscalYearStartMonth: 0,
  graphTooltip: 0,
  links: [],
  liveNow: false,
  preload: false,
  refresh: '',
  style: 'dark',
  tags: [],
  templating: { list: [] },
  timepicker: {},
  timezone: '',
  weekStart: '',
};

/** Without what Grafana counts and fills in by itself, in whichever generation of its API. */
export function normalise(dashboard: Dashboard): Dashboard {
  const out: Record<string, unknown> = {};
  const defaults = v2.isV2(dashboard) ? v2.V2_DEFAULTS : DEFAULTS;
  for (const [key, raw] of Object.entries(dashboard)) {
    if (COUNTED.has(key)) continue;
    let value = withoutNulls(raw);
    if (key === 'annotations' && isObject(value)) {
      value = { ...value, list: objectsIn(value['list']).filter((a) => a['builtIn'] !== 1) };
    }
    if (key === 'annotations') value = v2.withoutBuiltInAnnotations(value);
    if (value === undefined) continue;
    if (Object.hasOwn(defaults, key) && digestOf(value) === digestOf(defaults[key])) continue;
    out[key] = value;
  }
  return out;
}

/** @param dashboard normalised. */
export function partsOf(dashboard: Dashboard): Parts {
  const isV2 = v2.isV2(dashboard);
  const parts: Record<string, string> = {};
  const digest = (value: unknown) => digestOf(value).slice(0, 16);
  for (const [key, value] of Object.entries(dashboard))
    if (key !== (isV2 ? 'elements' : 'panels')) parts[key] = digest(value);
  const names: string[] = [];
  for (const [i, panel] of (isV2 ? v2.elementsOf(dashboard) : panelsOf(dashboard)).entries()) {
    const { panels: _, ...own } = panel;
    const { id, title } = isV2 ? v2.titleOf(panel) : (own as { id?: unknown; title?: unknown });
    let name = `panel ${id ?? `#${i + 1}`}${title ? ` "${title}"` : ''}`;
    while (Object.hasOwn(parts, name)) name += "'";
    parts[name] = digest(own);
    names.push(name);
  }
  // Of v2, the layout says it.
  if (!isV2) parts['order of panels'] = digest(names);
  return parts;
}

/** Names of the parts that differ, in words. */
export function differingParts(wanted: Parts, found: Parts): string[] {
  const names = [...new Set([...Object.keys(wanted), ...Object.keys(found)])];
  return names
    .filter((name) => wanted[name] !== found[name])
    .map((name) =>
      wanted[name] === undefined ? `${name} added` : found[name] === undefined ? `${name} missing` : name,
    )
    .filter((name, _, all) => name !== 'order of panels' || all.length === 1);
}

/** Every panel, those of collapsed rows too, in order. */
export function panelsOf(dashboard: Dashboard): Record<string, unknown>[] {
  return objectsIn(dashboard['panels']).flatMap((panel) => [panel, ...panelsOf(panel)]);
}

export function variablesOf(dashboard: Dashboard): Record<string, unknown>[] {
  const templating = dashboard['templating'];
  return isObject(templating) ? objectsIn(templating['list']) : [];
}

function datasourceVariables(dashboard: Dashboard): string[] {
  if (v2.isV2(dashboard)) return v2.datasourceVariablesOf(dashboard);
  return variablesOf(dashboard)
    .filter((v) => v['type'] === 'datasource')
    .map((v) => String(v['name']));
}
