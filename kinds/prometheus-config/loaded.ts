// Whether Prometheus runs what is on disk. Its answer has defaults filled in and leaves files of jobs out, so texts can't
// be compared: it must have been loaded after the last change of every file, and have our jobs as we have them.
import path from 'node:path';
import { milliseconds } from '../fields.ts';
import type { Desired } from '../kind.ts';
import type { FileState, Files } from '../ports.ts';
import { isMapping, listOf, parseYaml, type Yaml } from '../shared/yaml.ts';
import { contentOf, type Form, jobsFileOf, namesIn, pathOf } from './parts.ts';
import type { PrometheusConfigSpec } from './schema.ts';
import type { Running } from './server.ts';

type D = Desired<PrometheusConfigSpec>;

const WILDCARD = /[*?[]/;
const MOST_LINKS = 8;

/** The document's rule files and patterns of them, as absolute paths. */
export const rulePatterns = (spec: PrometheusConfigSpec): string[] =>
  (spec.ruleFiles ?? []).map((file) => path.resolve(path.dirname(pathOf(spec)), file));

/** The files that fit a pattern, as Prometheus finds them. */
export function expand(pattern: string, files: Files): string[] {
  const steps = pattern.split('/').slice(1);
  return steps.reduce<string[]>(
    (found, step) =>
      WILDCARD.test(step)
        ? found.flatMap((directory) =>
            (files.list?.(directory || '/') ?? [])
              .filter((name) => path.matchesGlob(name, step))
              .map((name) => `${directory}/${name}`),
          )
        : found.map((directory) => `${directory}/${step}`),
    [''],
  );
}

/** Why what is on disk can't be what runs; undefined when nothing says so. */
export function staleBecause(
  d: D,
  running: Running,
  form: Form,
  files: Files,
  nowMs: number,
): string | undefined {
  if (!running.isReloadGood) return 'its last reload failed';
  const { spec } = d;
  const read = [
    pathOf(spec),
    ...(form === 'file' ? [jobsFileOf(pathOf(spec), d.key)] : []),
    ...rulePatterns(spec).flatMap((pattern) => expand(pattern, files)),
  ];
  const since = (atMs: number) => atMs > running.loadedAtMs && atMs <= nowMs;
  const newer = read.find((file) => since(changedAtMs(file, files)));
  const after = newer ?? (spec.reloadOn ?? []).find((ref) => since(d.inputs[ref]?.appliedAtMs ?? 0));
  return after && `${after} changed after ${timeOf(running.loadedAtMs)}, when it was last loaded`;
}

export const timeOf = (ms: number): string => new Date(ms).toISOString();

/** Of a link, what changed last: the link, or what it leads to. */
function changedAtMs(file: string, files: Files, links = 0): number {
  const state: FileState = files.read(file);
  if (state.type === 'file') return Math.max(state.mtimeMs ?? 0, state.ctimeMs ?? 0);
  if (state.type !== 'symlink' || links === MOST_LINKS) return 0;
  return changedAtMs(path.resolve(path.dirname(file), state.target), files, links + 1);
}

/** What of ours it does not run as we have it, in words; of jobs in a file of ours it shows nothing here. */
export async function notRunning(spec: PrometheusConfigSpec, form: Form, yaml: string): Promise<string[]> {
  const [config] = await parseYaml(yaml);
  const rules = listOf(config, 'rule_files').map(String);
  const missing = (spec.ruleFiles ?? [])
    // It shows them relative to itself; by their last part they are told apart well enough.
    .filter((file) => !rules.some((rule) => path.basename(rule) === path.basename(file)))
    .map((file) => `rule file ${file}`);
  if (form === 'file') return missing;
  const [ours = []] = await parseYaml(contentOf(spec));
  const theirs = new Map(listOf(config, 'scrape_configs').map((job) => [nameOf(job), job]));
  for (const job of Array.isArray(ours) ? ours : []) {
    const runs = theirs.get(nameOf(job));
    if (runs === undefined) missing.push(`job ${nameOf(job)}`);
    else if (!agrees(job, runs)) missing.push(`job ${nameOf(job)} as it stands here`);
  }
  return missing;
}

export function notScraped(spec: PrometheusConfigSpec, pools: readonly string[]): string[] {
  return namesIn(contentOf(spec))
    .filter((name) => !pools.includes(name))
    .map((name) => `job ${name}`);
}

const nameOf = (job: Yaml): string => (isMapping(job) ? String(job['job_name']) : '');

/** In what Prometheus shows just as it was written; it fills in, converts and hides the rest. */
function agrees(ours: Yaml, runs: Yaml): boolean {
  if (!isMapping(ours) || !isMapping(runs) || JSON.stringify(ours).includes('"<<"')) return true;
  const isEqual = (key: string, form: (value: Yaml) => unknown = (value) => value) =>
    ours[key] === undefined || JSON.stringify(form(ours[key])) === JSON.stringify(form(runs[key] ?? ''));
  return (
    isEqual('metrics_path') &&
    isEqual('scheme') &&
    isEqual('params', sorted) &&
    isEqual('scrape_interval', (value) => milliseconds(String(value))) &&
    isEqual('static_configs', (value) => (Array.isArray(value) ? value.map(groupOf) : []))
  );
}

function groupOf(group: Yaml): unknown {
  return isMapping(group) ? [group['targets'] ?? [], sorted(group['labels'] ?? {})] : group;
}

function sorted(value: Yaml): unknown {
  return isMapping(value) ? Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)) : [];
}
