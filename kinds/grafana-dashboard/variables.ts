// A dashboard's variables, given the values that Grafana would choose on opening it, and filled into its queries.
// Facts: grafana.com/docs/grafana/latest/dashboards/variables/variable-syntax/.
import { isObject, objectsIn } from '../grafana-api.ts';
import { loadRegExps } from '../shared/linear-regexp.ts';
import { variablesOf } from './model.ts';
import type { Dashboard } from './tree.ts';

export interface Variable {
  readonly name: string;
  /** As it goes into a query; several values as a regular expression. */
  readonly value: string;
  /** Why it has no value, where people would see that it has none. */
  readonly missing?: { readonly metric: string; readonly label: string };
}

/** What label values are asked with. */
export type LabelValues = (datasource: string | undefined, label: string, match: string) => Promise<string[]>;

/** Grafana's own, as on a dashboard that shows some hours. */
const GLOBAL: Readonly<Record<string, string>> = {
  __interval: '1m',
  __rate_interval: '5m',
  __range: '1h',
  __range_s: '3600',
  __interval_ms: '60000',
  __range_ms: '3600000',
};

export async function resolveVariables(
  dashboard: Dashboard,
  labelValues: LabelValues,
): Promise<Map<string, Variable>> {
  const known = new Map<string, Variable>();
  for (const [name, value] of Object.entries(GLOBAL)) known.set(name, { name, value });
  for (const variable of variablesOf(dashboard)) {
    const name = String(variable['name']);
    known.set(name, await resolve(name, variable, known, labelValues));
  }
  return known;
}

async function resolve(
  name: string,
  variable: Record<string, unknown>,
  known: ReadonlyMap<string, Variable>,
  labelValues: LabelValues,
): Promise<Variable> {
  const current = chosen(variable);
  if (variable['type'] !== 'query') {
    const options = objectsIn(variable['options']).map((o) => String(o['value'] ?? ''));
    const query = typeof variable['query'] === 'string' ? variable['query'] : '';
    const first = options[0] ?? (variable['type'] === 'custom' ? query.split(',')[0]!.trim() : query);
    return { name, value: current[0] ?? first };
  }
  const query = isObject(variable['query'])
    ? variable['query']['query']
    : (variable['query'] ?? variable['definition']);
  const asked = labelValuesOf(String(query).trim());
  // Another kind of query: what was chosen last is the best guess.
  if (asked === undefined) return { name, value: current.join('|') };
  const selector = fillIn(asked.selector, known);
  const { label } = asked;
  const values = await filtered(
    await labelValues(datasourceOf(variable, known), label, selector),
    variable['regex'],
  );
  if (values.length === 0) {
    const metric = /^[a-zA-Z_:][a-zA-Z0-9_:]*/.exec(selector)?.[0];
    // A variable that is hidden and may be empty (cluster, namespace) is nobody's mistake.
    const seen = variable['hide'] !== 2 && metric !== undefined;
    return { name, value: '', ...(seen ? { missing: { metric, label } } : {}) };
  }
  const all = variable['includeAll'] === true && (current.length === 0 || current.includes('$__all'));
  const still = current.filter((value) => values.includes(value));
  const picked = all ? values : still.length > 0 ? still : [values[0]!];
  return { name, value: picked.length === 1 ? picked[0]! : `(${picked.map(escapeRegex).join('|')})` };
}

/** Of `label_values(selector, label)` and `label_values(label)`. */
function labelValuesOf(query: string): { selector: string; label: string } | undefined {
  if (!query.startsWith('label_values(') || !query.endsWith(')')) return undefined;
  const inside = query.slice('label_values('.length, -1);
  const comma = inside.lastIndexOf(',');
  const label = inside.slice(comma + 1).trim();
  if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(label)) return undefined;
  return { selector: inside.slice(0, Math.max(0, comma)).trim(), label };
}

/** A dashboard may use a long value a thousand times: a query that gets longer stays without the rest. */
const LONGEST_FILLED = 100_000;

/** Variables of the text in their place; `$x`, `${x}`, `${x:format}` and `[[x]]`; unknown ones stay. */
export function fillIn(text: string, known: ReadonlyMap<string, Variable>): string {
  let room = LONGEST_FILLED - text.length;
  return text.replace(/\$\{(\w+)(?::\w+)?\}|\$(\w+)|\[\[(\w+)(?::\w+)?\]\]/g, (whole, a, b, c) => {
    const value = known.get(a ?? b ?? c)?.value ?? whole;
    room -= value.length;
    return room < 0 ? whole : value;
  });
}

/** Names of the variables that a text uses. */
export function variablesIn(text: string): string[] {
  return [...text.matchAll(/\$\{(\w+)(?::\w+)?\}|\$(\w+)|\[\[(\w+)(?::\w+)?\]\]/g)].map(
    (m) => (m[1] ?? m[2] ?? m[3])!,
  );
}

/** The uid of the data source that something of a dashboard asks; undefined for the default one. */
export function datasourceOf(
  thing: Record<string, unknown>,
  known: ReadonlyMap<string, Variable>,
): string | undefined {
  const { datasource } = thing;
  const uid = isObject(datasource) ? datasource['uid'] : datasource;
  if (typeof uid !== 'string' || uid === '') return undefined;
  const filled = fillIn(uid, known);
  return filled === 'default' || filled === '' ? undefined : filled;
}

function chosen(variable: Record<string, unknown>): string[] {
  const value = isObject(variable['current']) ? variable['current']['value'] : undefined;
  if (Array.isArray(value)) return value.map(String);
  return typeof value === 'string' && value !== '' ? [value] : [];
}

async function filtered(values: readonly string[], regex: unknown): Promise<string[]> {
  const pattern = typeof regex === 'string' ? /^\/(.*)\/[a-z]*$/s.exec(regex)?.[1] : undefined;
  if (pattern === undefined) return [...values];
  try {
    const fits = (await loadRegExps())(pattern);
    const kept: string[] = [];
    for (const value of values) if (await fits(value)) kept.push(value);
    return kept;
  } catch {
    return [...values]; // one of Grafana's that is not known here
  }
}

function escapeRegex(text: string): string {
  // Twice, since it stands in a PromQL string.
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\\\$&');
}
