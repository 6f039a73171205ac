// Which panels of a dashboard show nothing, and why, as far as Prometheus can tell. Asked through Grafana's data
// source proxy, so that what is found is what Grafana would show; at most MAX_QUERIES of it at a time.
import { Stalled, Waiting } from '../../api/errors.ts';
import { type Grafana, isObject, objectsIn } from '../grafana-api.ts';
import type { Concern, Desired } from '../kind.ts';
import type { Ports } from '../ports.ts';
import { panelsOf } from './model.ts';
import { collectorOf, type Selector, selectorsOf } from './promql.ts';
import type { Dashboard } from './tree.ts';
import { classicView, DEFAULT_PROMETHEUS, isV2 } from './v2.ts';
import { datasourceOf, fillIn, resolveVariables, type Variable, variablesIn } from './variables.ts';

export interface PanelReport {
  readonly checked: number;
  /** More than could be asked in one go. */
  readonly left: number;
  readonly empty: readonly { readonly title: string; readonly why: string }[];
}

const MAX_QUERIES = 200;
const MAX_TIME_MS = 20_000;
const QUERY_TIMEOUT_MS = 5_000;
const DATASOURCE_AGAIN_MS = 60_000;
const NAMED = 12;

/** The cost of one check is bounded, in requests and in time. */
class Prometheus {
  readonly #grafana: Grafana;
  readonly #endMs: number;
  readonly #now: () => number;
  #queries = 0;
  /** By what is looked for; asked once each, and only when something names no data source. */
  readonly #defaults = new Map<string, Promise<string | undefined>>();

  constructor(grafana: Grafana, now: () => number) {
    this.#grafana = grafana;
    this.#now = now;
    this.#endMs = now() + MAX_TIME_MS;
  }

  get spent(): boolean {
    return this.#queries >= MAX_QUERIES || this.#now() > this.#endMs;
  }

  /** @returns the `data` of Prometheus's answer; undefined when the query was refused. @throws Waiting */
  async ask(datasource: string | undefined, path: string, params: Record<string, string>): Promise<unknown> {
    const uid =
      datasource === undefined || datasource === DEFAULT_PROMETHEUS
        ? await this.#default(datasource === undefined ? undefined : 'prometheus')
        : datasource;
    if (uid === undefined) return undefined;
    this.#queries += 1;
    const query = new URLSearchParams(params);
    const at = `/api/datasources/proxy/uid/${encodeURIComponent(uid)}/api/v1/${path}`;
    const answer = await this.#grafana
      .request('GET', `${at}?${query}`, undefined, QUERY_TIMEOUT_MS)
      .catch((error: unknown) => {
        // Also what looks like a refusal of Grafana's: the data source's server may ask for a login of its own.
        if (!(error instanceof Waiting || error instanceof Stalled)) throw error;
        const message = `data source ${uid} can't be asked: ${error.message}`;
        throw new Waiting('DatasourceAway', message, DATASOURCE_AGAIN_MS);
      });
    const { status, body } = answer;
    return status === 200 && isObject(body) ? body['data'] : undefined;
  }

  /** Whether an instant query has any result; undefined when it can't be asked. */
  async hasData(datasource: string | undefined, query: string): Promise<boolean | undefined> {
    const data = await this.ask(datasource, 'query', { query });
    if (!isObject(data) || !Array.isArray(data['result'])) return undefined;
    return data['resultType'] === 'scalar' || data['result'].length > 0;
  }

  #default(type: string | undefined): Promise<string | undefined> {
    const known = this.#defaults.get(type ?? '');
    if (known !== undefined) return known;
    const asked = this.#defaultUid(type);
    this.#defaults.set(type ?? '', asked);
    return asked;
  }

  /** The default data source; of a type, where one is given: that or the first. */
  async #defaultUid(type: string | undefined): Promise<string | undefined> {
    const { body } = await this.#grafana.request('GET', '/api/datasources');
    const list = objectsIn(body).filter((d) => type === undefined || d['type'] === type);
    const found = list.find((d) => d['isDefault'] === true) ?? list.find((d) => d['type'] === 'prometheus');
    return typeof found?.['uid'] === 'string' ? found['uid'] : undefined;
  }
}

/** @throws Waiting when Grafana or its data source can't be asked. */
async function checkPanels(stored: Dashboard, grafana: Grafana, now: () => number): Promise<PanelReport> {
  const dashboard = isV2(stored) ? classicView(stored) : stored;
  const prometheus = new Prometheus(grafana, now);
  const variables = await resolveVariables(dashboard, async (datasource, label, match) => {
    const data = await prometheus.ask(
      datasource,
      `label/${label}/values`,
      match === '' ? {} : { 'match[]': match },
    );
    return Array.isArray(data) ? data.map(String) : [];
  });
  const empty: { title: string; why: string }[] = [];
  let checked = 0;
  let left = 0;
  for (const reference of panelsOf(dashboard)) {
    const panel = prometheus.spent ? reference : await libraryPanel(reference, grafana);
    if (panel === undefined) {
      checked += 1;
      empty.push({ title: titleOf(reference), why: 'its library panel is not in this Grafana' });
      continue;
    }
    const targets = objectsIn(panel['targets']).filter((t) => isPrometheus(panel, t) && t['hide'] !== true);
    if (panel['type'] === 'row' || targets.length === 0) continue;
    if (prometheus.spent) {
      left += 1;
      continue;
    }
    const why = await emptiness(panel, targets, variables, prometheus);
    checked += 1;
    if (why !== undefined) empty.push({ title: titleOf(panel), why });
  }
  return { checked, left, empty };
}

const titleOf = (panel: Record<string, unknown>) => String(panel['title'] || `panel ${panel['id']}`);

/**
 * What a panel that only names a library panel shows.
 * @returns the panel itself where it is none, or nobody may look; undefined where there is no such library panel.
 */
async function libraryPanel(
  panel: Record<string, unknown>,
  grafana: Grafana,
): Promise<Record<string, unknown> | undefined> {
  const uid = isObject(panel['libraryPanel']) ? panel['libraryPanel']['uid'] : undefined;
  if (typeof uid !== 'string' || uid === '' || objectsIn(panel['targets']).length > 0) return panel;
  try {
    const { status, body } = await grafana.request('GET', `/api/library-elements/${encodeURIComponent(uid)}`);
    if (status === 404) return undefined;
    const result = isObject(body) && isObject(body['result']) ? body['result'] : {};
    return isObject(result['model']) ? { ...result['model'], id: panel['id'], title: titleOf(panel) } : panel;
  } catch (error) {
    if (!(error instanceof Stalled)) throw error;
    return panel; // this token may not see it, and people may
  }
}

/** @returns why the panel shows nothing; undefined when it shows something, or nobody can tell. */
async function emptiness(
  panel: Record<string, unknown>,
  targets: readonly Record<string, unknown>[],
  variables: ReadonlyMap<string, Variable>,
  prometheus: Prometheus,
): Promise<string | undefined> {
  const text = targets.map((t) => t['expr']).join('\n');
  const without = variablesIn(text)
    .map((name) => variables.get(name))
    .find((v) => v?.missing !== undefined);
  if (without?.missing !== undefined) {
    const { metric, label } = without.missing;
    return `$${without.name} has no value: no series of ${metric} has the label ${label}`;
  }
  for (const target of targets) {
    const datasource =
      datasourceOf(target, variables) === undefined
        ? datasourceOf(panel, variables)
        : datasourceOf(target, variables);
    const hasData = await prometheus.hasData(datasource, fillIn(String(target['expr']), variables));
    if (hasData !== false) return undefined;
  }
  const first = targets[0]!;
  const datasource = datasourceOf(first, variables) ?? datasourceOf(panel, variables);
  return explain(selectorsOf(fillIn(String(first['expr']), variables)), datasource, prometheus);
}

async function explain(
  selectors: readonly Selector[],
  datasource: string | undefined,
  prometheus: Prometheus,
): Promise<string> {
  for (const { metric, matchers } of selectors) {
    if (prometheus.spent) break;
    if ((await prometheus.hasData(datasource, `count({__name__="${metric}"})`)) === false) {
      const collector = collectorOf(metric);
      return collector === undefined
        ? `there is no metric ${metric}`
        : `there is no metric ${metric}: its collector "${collector}" does not run`;
    }
    for (const { label, operator, value } of matchers) {
      if (operator === '!=' || operator === '!~' || value === '' || prometheus.spent) continue;
      const labelled = `count({__name__="${metric}",${label}!=""})`;
      if ((await prometheus.hasData(datasource, labelled)) === false)
        return `no series of ${metric} has the label ${label}`;
      const matching = `count({__name__="${metric}",${label}${operator}"${value}"})`;
      if ((await prometheus.hasData(datasource, matching)) === false)
        return `no series of ${metric} has ${label}${operator}"${value}"`;
    }
  }
  return 'its queries return nothing';
}

function isPrometheus(panel: Record<string, unknown>, target: Record<string, unknown>): boolean {
  if (typeof target['expr'] !== 'string' || target['expr'].trim() === '') return false;
  const type = [target, panel]
    .map(({ datasource }) => (isObject(datasource) ? datasource['type'] : undefined))
    .find((t) => t !== undefined);
  return type === undefined || type === 'prometheus';
}

interface Checked {
  readonly atMs: number;
  readonly digest: string;
  readonly result: PanelReport | Waiting;
}

/** The last check of each dashboard, by the agent's HTTP port and the key; a restart asks again. */
const checks = new WeakMap<object, Map<string, Checked>>();

/** The last check's result, where nothing is to be asked now. */
export function panelsBefore(
  d: Pick<Desired<unknown>, 'key'>,
  { http }: Pick<Ports, 'http'>,
): PanelReport | Waiting | undefined {
  return checks.get(http)?.get(d.key)?.result;
}

/** The last check's result, or a new one's when that is older than `everyMs`. */
export async function panelsNow(
  d: Pick<Desired<unknown>, 'key' | 'digest'>,
  dashboard: Dashboard,
  grafana: Grafana,
  io: Pick<Ports, 'http' | 'clock'>,
  everyMs: number,
): Promise<PanelReport | Waiting> {
  let known = checks.get(io.http);
  if (known === undefined) {
    known = new Map();
    checks.set(io.http, known);
  }
  const last = known.get(d.key);
  const now = io.clock.monotonic();
  if (last?.digest === d.digest && now - last.atMs < everyMs) return last.result;
  let result: PanelReport | Waiting;
  try {
    result = await checkPanels(dashboard, grafana, () => io.clock.monotonic());
  } catch (error) {
    // No gate: a data source that is away, or that this token must not ask, is told and changes nothing else.
    if (!(error instanceof Waiting || error instanceof Stalled)) throw error;
    result = new Waiting(error.reason, error.message, everyMs);
  }
  known.set(d.key, { atMs: now, digest: d.digest, result });
  return result;
}

/** What is told of a check; of one that failed, why. */
export function panelsConcern(report: PanelReport | Waiting): Concern {
  const type = 'PanelsEmpty';
  if (report instanceof Waiting)
    return { type, status: 'Unknown', reason: report.reason, message: report.message };
  const { checked, left, empty } = report;
  const unchecked =
    left === 0 ? '' : ` (${left} more were not asked: one check asks ${MAX_QUERIES} queries at most)`;
  if (empty.length === 0) {
    const message = `${checked === 1 ? 'the one panel has' : `all ${checked} panels have`} data${unchecked}`;
    return { type, status: 'False', reason: 'AllHaveData', message };
  }
  const byWhy = new Map<string, string[]>();
  for (const { title, why } of empty) byWhy.set(why, [...(byWhy.get(why) ?? []), `"${title}"`]);
  const reasons = [...byWhy]
    .sort(([, a], [, b]) => b.length - a.length)
    .map(([why, titles]) => `${why}: ${listed(titles)}`);
  const more = reasons.length > NAMED ? [`${reasons.length - NAMED} more reasons`] : [];
  return {
    type,
    status: 'True',
    reason: 'NoData',
    message: `${empty.length} of ${checked} panels show nothing${unchecked}. ${[...reasons.slice(0, NAMED), ...more].join('; ')}`,
  };
}

function listed(titles: readonly string[]): string {
  return titles.length <= 4
    ? titles.join(', ')
    : `${titles.slice(0, 3).join(', ')} and ${titles.length - 3} more`;
}
