// PrometheusConfig: our scrape jobs and rule files in a prometheus.yml that people edit, each list one marked block,
// everything else byte for byte as it was; or the jobs in a file of ours beside it.
import { Stalled, Waiting } from '../../api/errors.ts';
import type { Json } from '../../api/json.ts';
import { type Change, type Desired, defineKind, type Finding, type Verdict } from '../kind.ts';
import type { Files } from '../ports.ts';
import { watchAll } from '../watch-all.ts';
import { readBlock, writeBlock } from './block.ts';
import { jobsIn } from './jobs.ts';
import {
  blocksOf,
  directoryOf,
  formOf,
  jobsFileOf,
  KEYS,
  type Other,
  othersIn,
  pathOf,
  serverOf,
  withOurs,
} from './layout.ts';
import { PrometheusConfigSpec } from './schema.ts';
import { type Io, reload, running, type Server, scraped } from './server.ts';
import { checkItems, promtool, refuseOld, refuseTakenJobs } from './validate.ts';
import { jobsFileWanted, type Layout, removeFiles, writeAll, writeConfig, writeJobsFile } from './write.ts';

type Needs = 'files' | 'processes' | 'http' | 'units' | 'docker' | 'clock';
interface Observed extends Layout {
  /** The file of ours, as far as it is there. */
  readonly jobsFile: string | undefined;
}

/** The way back; JSON. Items of each block as they were, null for no block; files by path, null for none. */
interface Before extends Server {
  readonly path: string;
  readonly inPlace: boolean;
  readonly blocks: readonly { readonly key: string; readonly owner: string; readonly items: string | null }[];
  readonly files?: readonly { readonly path: string; readonly content: string | null }[];
  readonly answered: boolean;
}

/** How long a file must stay as it is before it is written to, and how often that is looked for in one pass. */
const AT_REST_MS = 300;
const MOST_LOOKS = 20;
const AGAIN_MS = 10_000;
const ABSENT_AGAIN_MS = 30_000;

const namesIn = (spec: PrometheusConfigSpec) =>
  jobsIn(spec.scrapeConfigs?.content ?? '').map(({ name }) => name);

export const prometheusConfig = defineKind<PrometheusConfigSpec, Observed, Needs>({
  kind: 'PrometheusConfig',
  scope: 'host',
  spec: PrometheusConfigSpec,
  needs: ['files', 'processes', 'http', 'units', 'docker', 'clock'],

  // By job and by file: two documents may add to one config, and not the same job twice.
  owns: (spec) => [
    ...namesIn(spec).map((job) => `file:${pathOf(spec)}#scrape_configs/${job}`),
    ...(spec.ruleFiles ?? []).map((file) => `file:${pathOf(spec)}#rule_files/${file}`),
  ],
  // Documents of one config write the same file.
  locks: (spec) => [`prometheus:${pathOf(spec)}`],
  asks: (spec) => [
    { type: 'path', value: pathOf(spec) },
    ...(mayHaveFile(spec)
      ? [{ type: 'path' as const, value: directoryOf(pathOf(spec)), why: 'the jobs; not with form: block' }]
      : []),
    { type: 'exec', value: spec.promtool ?? 'promtool', why: 'it checks the config' },
    ...(spec.unit === undefined ? [] : [{ type: 'unit' as const, value: spec.unit, why: 'it is reloaded' }]),
    ...(spec.container === undefined
      ? []
      : [{ type: 'unit' as const, value: `container:${spec.container}`, why: 'it is sent SIGHUP' }]),
  ],

  check(spec) {
    const { scrapeConfigs, ruleFiles } = spec;
    const findings: Finding[] = [];
    if (scrapeConfigs === undefined && (ruleFiles ?? []).length === 0) {
      findings.push({ path: [], message: 'nothing is asked for; give scrapeConfigs or ruleFiles' });
    }
    if (spec.unit !== undefined && spec.container !== undefined) {
      const message = 'Prometheus is a unit or a container: unit is given, so leave one of them out';
      findings.push({ path: ['container'], message });
    }
    if (spec.inPlace === true && spec.form === 'file') {
      const message =
        'with inPlace the config alone is seen by Prometheus, and no file beside it: use form: block';
      findings.push({ path: ['form'], message });
    }
    if (scrapeConfigs === undefined) return findings;
    const { content, contentFrom } = scrapeConfigs;
    if ((content === undefined) === (contentFrom === undefined)) {
      const message = 'give either content or contentFrom: a file beside the manifest';
      findings.push({ path: ['scrapeConfigs'], message });
    }
    if (content !== undefined) findings.push(...checkItems(content));
    return findings;
  },

  async observe(d, io, signal) {
    const layout = await layoutOf(d, io, signal);
    return { ...layout, jobsFile: textOf(io.files, jobsFileOf(pathOf(d.spec), d.key)) };
  },

  diff(d, { text, form, jobsFile, others }) {
    const changes = blocksOf(d.spec, d.key, form).flatMap(({ block, items }): Change[] => {
      const now = readBlock(text, block);
      if (now === items) return [];
      const from = now === undefined ? 'no block' : 'another block';
      return [
        { what: block.key, from, to: items === undefined ? 'no block' : 'ours', text: shown(now, items) },
      ];
    });
    const wanted = jobsFileWanted(d, form);
    if (jobsFile !== wanted) {
      const from = jobsFile === undefined ? 'no file' : 'another file';
      const to = wanted === undefined ? 'no file' : 'ours';
      changes.push({ what: jobsFileOf(pathOf(d.spec), d.key), from, to, text: shown(jobsFile, wanted) });
    }
    for (const { owner } of predecessorsOf(others))
      changes.push({ what: `what ${owner} left`, from: 'there', to: 'ours' });
    return changes;
  },

  async prepare(d, observed, io, signal) {
    const { text, form, others } = observed;
    const ours = withOurs(d.spec, d.key, form, text, others);
    refuseTakenJobs(d, text, others);
    if (form === 'file') await refuseOld(d.spec, io, signal);
    await promtool(d, ours, form, io, signal);
    const owners = [d.key, ...predecessorsOf(others).map(({ owner }) => owner)];
    const before: Before = {
      ...serverOf(d.spec),
      path: pathOf(d.spec),
      inPlace: d.spec.inPlace === true,
      blocks: owners.flatMap((owner) =>
        KEYS.map((key) => ({ key, owner, items: readBlock(text, { key, owner }) ?? null })),
      ),
      files: owners.map((owner) => {
        const file = jobsFileOf(pathOf(d.spec), owner);
        return { path: file, content: textOf(io.files, file) ?? null };
      }),
      answered: (await running(serverOf(d.spec), io, signal)) !== undefined,
    };
    return { existed: before.blocks.some((b) => b.items !== null), data: before as unknown as Json };
  },

  async apply(changes, d, io, signal) {
    const { spec } = d;
    if (changes.length > 0) writeAll(d, await layoutAtRest(d, io, signal), io.files);
    const refused = await reload(serverOf(spec), io, signal);
    if (refused === undefined) return {};
    if (d.heal) throw new Error(`Prometheus refuses the confirmed config: ${refused}`);
    throw new Stalled('ReloadRefused', refused);
  },

  async confirm(d, snapshot, io, signal): Promise<Verdict> {
    const server = serverOf(d.spec);
    const state = await running(server, io, signal);
    const before = snapshot?.data as unknown as Before | undefined;
    if (state === undefined) {
      const evidence = `nobody answers at ${server.address}`;
      if (before?.answered === true) return { verdict: 'No', reason: 'PrometheusStopped', evidence };
      // A heal is in place, and whether Prometheus runs is somebody else's business.
      return before === undefined
        ? { verdict: 'Yes' }
        : { verdict: 'Unknown', reason: 'PrometheusNotRunning', evidence };
    }
    if (!state.successful) {
      const evidence = 'prometheus_config_last_reload_successful is 0';
      return { verdict: 'No', reason: 'ReloadFailed', evidence };
    }
    const inConfig = new Set(jobsIn(state.yaml).map(({ name }) => name));
    let missing = namesIn(d.spec).filter((job) => !inConfig.has(job));
    if (missing.length > 0 && state.yaml.includes('scrape_config_files:')) {
      const pools = await scraped(server, io, signal);
      missing = missing.filter((job) => !pools.includes(job));
    }
    if (missing.length === 0) return { verdict: 'Yes' };
    return {
      verdict: 'Unknown',
      reason: 'NotLoadedYet',
      evidence: `it does not scrape ${missing.join(', ')} yet: does it read ${pathOf(d.spec)}?`,
    };
  },

  async undo(snapshot, record, io, signal) {
    const before = snapshot.data as unknown as Before;
    const { path: file, inPlace } = before;
    const now = io.files.read(file);
    if (now.type !== 'file') return removeFiles(io.files, file, [jobsFileOf(file, record.key)]);
    // What the record was handed over to has blocks of its own, which were not there originally.
    const known = new Set(before.blocks.map(({ owner }) => owner));
    const ours = known.has(record.key) ? [] : KEYS.map((key) => ({ key, owner: record.key, items: null }));
    const text = [...before.blocks, ...ours].reduce(
      (t, { key, owner, items }) => writeBlock(t, { key, owner }, items ?? undefined),
      now.content.toString(),
    );
    const files = before.files ?? [];
    for (const { path: p, content } of files) {
      if (content !== null) writeJobsFile(io.files, p, content, now, true);
    }
    if (text !== now.content.toString()) writeConfig(io.files, file, now, text, inPlace, true);
    const absent = files.filter(({ content }) => content === null).map(({ path: p }) => p);
    removeFiles(io.files, file, known.has(record.key) ? absent : [...absent, jobsFileOf(file, record.key)]);
    // Also when the file is right already: an agent that was killed may not have come to this.
    const refused = await reload(before, io, signal);
    if (refused !== undefined)
      throw new Error(`our part is out again, and Prometheus refuses the rest: ${refused}`);
  },

  watch(d, io, wake, signal) {
    const { unit } = d.spec;
    const others = [
      ...(mayHaveFile(d.spec) ? [jobsFileOf(pathOf(d.spec), d.key)] : []).map(
        (file) => (w: () => void, s: AbortSignal) => io.files.watch(file, w, s),
      ),
      ...(unit === undefined ? [] : [(w: () => void, s: AbortSignal) => io.units.watch(unit, w, s)]),
    ];
    return watchAll(io.clock, wake, signal, (w, s) => io.files.watch(pathOf(d.spec), w, s), others);
  },
});

const predecessorsOf = (others: readonly Other[]) => others.filter(({ isPredecessor }) => isPredecessor);

/** @throws Waiting when there is no config, Stalled when it is no file. */
async function layoutOf(d: Desired<PrometheusConfigSpec>, io: Io, signal: AbortSignal): Promise<Layout> {
  const config = io.files.read(pathOf(d.spec));
  if (config.type === 'absent') {
    throw new Waiting(
      'NoConfig',
      `${pathOf(d.spec)} is not there: is Prometheus installed?`,
      ABSENT_AGAIN_MS,
    );
  }
  if (config.type !== 'file') throw new Stalled('NotAFile', `${pathOf(d.spec)} is no regular file`);
  const text = config.content.toString();
  const form = await formOf(d, text, io, signal);
  return { config, text, form, others: othersIn(d.spec, d.key, text, io.files) };
}

/**
 * People edit this file, and an editor empties it before it fills it, perhaps in steps. What stands there in between is
 * never built upon: the rest of what they write would be lost, or mixed with ours.
 * @throws Waiting while it changes, while it is empty, and for a heal while promtool refuses what they wrote.
 */
async function layoutAtRest(d: Desired<PrometheusConfigSpec>, io: Io, signal: AbortSignal): Promise<Layout> {
  const file = pathOf(d.spec);
  let layout = await layoutOf(d, io, signal);
  for (let looks = 0; ; looks++) {
    if (looks === MOST_LOOKS) throw new Waiting('BeingEdited', `${file} keeps changing`, AT_REST_MS);
    await io.clock.sleep(AT_REST_MS, signal);
    const before = layout;
    layout = await layoutOf(d, io, signal);
    if (layout.text === before.text && layout.config.mtimeMs === before.config.mtimeMs) break;
  }
  const { text, form, others } = layout;
  if (text.trim() === '') {
    throw new Waiting('Empty', `${file} is empty: is it being edited, or has it been lost?`, AGAIN_MS);
  }
  if (!d.heal) return layout; // prepare has asked promtool
  try {
    await promtool(d, withOurs(d.spec, d.key, form, text, others), form, io, signal);
  } catch (error) {
    if (!(error instanceof Stalled)) throw error;
    throw new Waiting(error.reason, error.message, AGAIN_MS);
  }
  return layout;
}

function mayHaveFile({ form, inPlace, scrapeConfigs }: PrometheusConfigSpec): boolean {
  return form !== 'block' && inPlace !== true && scrapeConfigs !== undefined;
}

function textOf(files: Files, file: string): string | undefined {
  const state = files.read(file);
  return state.type === 'file' ? state.content.toString() : undefined;
}

function shown(before: string | undefined, after: string | undefined): NonNullable<Change['text']> {
  return { before: before ?? '', after: after ?? '', secret: false };
}
