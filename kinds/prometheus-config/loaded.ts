// Whether Prometheus runs what is on disk. Its answer has defaults filled in and leaves files of jobs out, so texts can't
// be compared: it must have been loaded after the last change of every file, and have our jobs as we have them.
import path from 'node:path';
import type { Desired, Trial, Verdict } from '../kind.ts';
import type { FileState, Files } from '../ports.ts';
import { fitsGlob, fitsPathGlob } from '../shared/pattern.ts';
import { no, notYet, unknown, YES } from '../shared/verdicts.ts';
import { isMapping, listOf, parseYaml, type Yaml } from '../shared/yaml.ts';
import { agrees } from './agrees.ts';
import { type Io, reachedBy, serverOf } from './connection.ts';
import { contentOf, type Form, jobsFileOf, namesIn, pathOf } from './parts.ts';
import type { PrometheusConfigSpec } from './schema.ts';
import { type Answer, ask, flags, type Running, ruleFilesOf, scraped } from './server.ts';
import { afterSignal } from './signalled.ts';
import type { Before } from './undo.ts';
import { type Refusal, refusedOnDisk } from './validate.ts';

type D = Desired<PrometheusConfigSpec>;

export const WITHIN_MS = 30_000;
/** Until Prometheus scrapes the jobs of a new file (its discovery waits 5 s). */
const POOLS_WITHIN_MS = 15_000;

/** A clock that was set back by less is not seen; that of another machine may be ahead by so much. */
const FUTURE_MS = 60_000;
const ALONE =
  'A config that a container has as a single file needs inPlace: true here, or its directory mounted';
const REPLACED =
  'A container that has it as a single file keeps the old one where an editor put a new one in its place: restart the container, or have it mount the directory';
const WILDCARD = /[*?[]/;
const MOST_LINKS = 8;

/** What runs, asked once the files are right. */
export interface Runs {
  readonly answer: Answer;
  /** What is to be said of a reload by signal that is under way, or came to nothing: another one is no use yet. */
  readonly signalled: Verdict | undefined;
  /** Why what runs is not what is on disk, though a reload would mend it. */
  readonly stale: string | undefined;
  /** Why a reload would not. */
  readonly refused: Refusal | undefined;
  /** What of ours does not run, though what is on disk was loaded. */
  readonly missing: readonly string[];
  /** Since the last good reload. */
  readonly loadedForMs: number;
}

export async function whatRuns(d: D, form: Form, io: Io, signal: AbortSignal): Promise<Runs> {
  const { spec } = d;
  const server = reachedBy(d);
  const answer = await ask(server, io, signal);
  const signalled = afterSignal(server, io, answer);
  const nothing = { answer, signalled, stale: undefined, refused: undefined, missing: [], loadedForMs: 0 };
  if (answer.state !== 'running' || signalled !== undefined) return nothing;
  const nowMs = io.clock.now();
  const loadedForMs = nowMs - answer.loadedAtMs;
  const missing = await notRunning(spec, form, answer.yaml);
  const lags = [
    ...missing.map((what) => `it does not run ${what}`),
    ...(await goneRules(d, io, signal)).map((file) => `it runs the rules of ${file}, which is gone`),
  ];
  const stale =
    staleBecause(d, answer, form, io.files, nowMs) ??
    (lags.length > 0 && (await readsThis(d, io, signal)) ? lags.join(', ') : undefined);
  if (stale !== undefined) {
    const refused = await refusedOnDisk(spec, io, signal);
    return { ...nothing, stale, refused, loadedForMs };
  }
  if (form === 'file') missing.push(...notScraped(spec, await scraped(server, io, signal)));
  return { ...nothing, missing, loadedForMs };
}

/** Rule files of the document that it runs, and that are no longer there. */
async function goneRules(d: D, io: Io, signal: AbortSignal): Promise<string[]> {
  const real = (file: string) => io.files.hostPath?.(file) ?? file;
  const patterns = rulePatterns(d.spec);
  if (patterns.length === 0) return [];
  const there = patterns
    .flatMap((pattern) => expand(pattern, io.files))
    .filter((file) => io.files.read(file).type !== 'absent')
    .map(real);
  const run = await ruleFilesOf(reachedBy(d), io, signal);
  const isOurs = (file: string) => patterns.some((pattern) => fitsPathGlob(file, real(pattern)));
  return run.filter((file) => isOurs(file) && !there.includes(file));
}

/** Whether it was started with this very file; what a container calls it says nothing. */
async function readsThis(d: D, io: Io, signal: AbortSignal): Promise<boolean> {
  const { spec } = d;
  if (spec.container !== undefined) return false;
  const started = await flags(reachedBy(d), io, signal);
  return started?.['config.file'] === (io.files.hostPath?.(pathOf(spec)) ?? pathOf(spec));
}

export function verdictOf(d: D, form: Form, runs: Runs, trial: Trial<Before> | undefined): Verdict {
  const { answer, signalled, refused, missing, stale } = runs;
  if (signalled !== undefined) return signalled;
  switch (answer.state) {
    case 'silent':
      return trial?.before.answered === true
        ? notYet(trial, WITHIN_MS, 'PrometheusStopped', `it answered before the change; ${answer.words}`)
        : unknown(answer.reason, answer.words);
    case 'starting':
    case 'other':
      return unknown(answer.reason, answer.words);
    case 'running':
      if (refused !== undefined) {
        return notYet(trial, WITHIN_MS, refused.reason, `${stale}, and can't be loaded: ${refused.words}`);
      }
      if (missing.length === 0) return YES;
  }
  const since = `what it runs was loaded at ${timeOf(answer.loadedAtMs)}`;
  const evidence = `Prometheus at ${serverOf(d.spec).address} does not run ${missing.join(', ')}; ${since}`;
  if (form === 'file' && runs.loadedForMs < POOLS_WITHIN_MS) return unknown('NotLoadedYet', evidence);
  const doubt = `does it read ${pathOf(d.spec)}? ${d.spec.inPlace === true ? REPLACED : ALONE}`;
  return trial === undefined
    ? no('NotLoaded', `${evidence}: ${doubt}`)
    : notYet(trial, WITHIN_MS, 'NotLoaded', `${evidence}: ${doubt}`);
}

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
              .filter((name) => fitsGlob(name, step))
              .map((name) => `${directory}/${name}`),
          )
        : found.map((directory) => `${directory}/${step}`),
    [''],
  );
}

/** Why what is on disk can't be what runs; undefined when nothing says so. */
function staleBecause(d: D, running: Running, form: Form, files: Files, nowMs: number): string | undefined {
  if (!running.isReloadGood) return 'its last reload failed';
  const loadedAt = timeOf(running.loadedAtMs);
  if (running.loadedAtMs > nowMs + FUTURE_MS)
    return `it was last loaded at ${loadedAt}, which is in the future, so that later changes look older`;
  const { spec } = d;
  const read = [
    pathOf(spec),
    ...(form === 'file' ? [jobsFileOf(pathOf(spec), d.key)] : []),
    ...rulePatterns(spec).flatMap((pattern) => expand(pattern, files)),
  ];
  const since = (atMs: number) => atMs > running.loadedAtMs && atMs <= nowMs;
  const newer = read.find((file) => since(changedAtMs(file, files)));
  const after = newer ?? (spec.reloadOn ?? []).find((ref) => since(d.inputs[ref]?.appliedAtMs ?? 0));
  return after && `${after} changed after ${loadedAt}, when it was last loaded`;
}

const timeOf = (ms: number): string => new Date(ms).toISOString();

/** Of a link, what changed last: the link, or what it leads to. */
function changedAtMs(file: string, files: Files, links = 0): number {
  const state: FileState = files.read(file);
  if (state.type === 'file') return Math.max(state.mtimeMs ?? 0, state.ctimeMs ?? 0);
  if (state.type !== 'symlink' || links === MOST_LINKS) return 0;
  return changedAtMs(path.resolve(path.dirname(file), state.target), files, links + 1);
}

/** What of ours it does not run as we have it, in words; of jobs in a file of ours it shows nothing here. */
async function notRunning(spec: PrometheusConfigSpec, form: Form, yaml: string): Promise<string[]> {
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

function notScraped(spec: PrometheusConfigSpec, pools: readonly string[]): string[] {
  return namesIn(contentOf(spec))
    .filter((name) => !pools.includes(name))
    .map((name) => `job ${name}`);
}

const nameOf = (job: Yaml): string => (isMapping(job) ? String(job['job_name']) : '');
