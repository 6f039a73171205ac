// PrometheusConfig: our scrape jobs and rule files in a prometheus.yml that people edit, each list one marked block,
// everything else byte for byte as it was.
import path from 'node:path';
import { errnoOf, Stalled, Waiting } from '../../api/errors.ts';
import type { Json } from '../../api/json.ts';
import { type Change, type Desired, defineKind, type Verdict } from '../kind.ts';
import type { FileState, Files, Ports } from '../ports.ts';
import { watchAll } from '../watch-all.ts';
import { type Block, BlockError, linesOutside, readBlock, writeBlock } from './block.ts';
import { PrometheusConfigSpec } from './schema.ts';

type Needs = 'files' | 'processes' | 'http' | 'units' | 'clock';
type Io = Pick<Ports, Needs>;
type Observed = Extract<FileState, { type: 'file' }>;

/** The way back; JSON. Items of each block as they were, null for no block. */
interface Before {
  readonly path: string;
  readonly inPlace: boolean;
  readonly address: string;
  readonly unit: string | null;
  readonly blocks: readonly { readonly key: string; readonly owner: string; readonly items: string | null }[];
  readonly answered: boolean;
}

const ABSENT_AGAIN_MS = 30_000;
const TIMEOUT_MS = 30_000;

const pathOf = (spec: PrometheusConfigSpec) => spec.path ?? '/etc/prometheus/prometheus.yml';
const addressOf = (spec: PrometheusConfigSpec) => spec.address ?? '127.0.0.1:9090';

export const prometheusConfig = defineKind<PrometheusConfigSpec, Observed, Needs>({
  kind: 'PrometheusConfig',
  scope: 'host',
  spec: PrometheusConfigSpec,
  needs: ['files', 'processes', 'http', 'units', 'clock'],

  // By job and by file: two documents may add to one config, and not the same job twice.
  owns: (spec) => [
    ...jobsIn(spec).map((job) => `file:${pathOf(spec)}#scrape_configs/${job}`),
    ...(spec.ruleFiles ?? []).map((file) => `file:${pathOf(spec)}#rule_files/${file}`),
  ],
  // Documents of one config write the same file.
  locks: (spec) => [`prometheus:${pathOf(spec)}`],
  asks: (spec) => [
    { type: 'path', value: pathOf(spec) },
    { type: 'exec', value: spec.promtool ?? 'promtool', why: 'it checks the config' },
    ...(spec.unit === undefined ? [] : [{ type: 'unit' as const, value: spec.unit, why: 'it is reloaded' }]),
  ],

  check(spec) {
    const { scrapeConfigs, ruleFiles } = spec;
    if (scrapeConfigs === undefined && (ruleFiles ?? []).length === 0) {
      return [{ path: [], message: 'nothing is asked for; give scrapeConfigs or ruleFiles' }];
    }
    if (scrapeConfigs === undefined) return [];
    const { content, contentFrom } = scrapeConfigs;
    if ((content === undefined) === (contentFrom === undefined)) {
      return [
        {
          path: ['scrapeConfigs'],
          message: 'give either content or contentFrom: a file beside the manifest',
        },
      ];
    }
    if (content !== undefined && jobsIn(spec).length === 0) {
      return [
        {
          path: ['scrapeConfigs'],
          message: 'no job is found: each begins with "- job_name: NAME", without indentation',
        },
      ];
    }
    return [];
  },

  async observe(d, { files }) {
    const state = files.read(pathOf(d.spec));
    if (state.type === 'file') return state;
    if (state.type !== 'absent') throw new Stalled('NotAFile', `${pathOf(d.spec)} is no regular file`);
    throw new Waiting(
      'NoConfig',
      `${pathOf(d.spec)} is not there: is Prometheus installed?`,
      ABSENT_AGAIN_MS,
    );
  },

  diff(d, observed) {
    const text = observed.content.toString();
    return blocksOf(d).flatMap(({ block, items }): Change[] => {
      const now = readBlock(text, block);
      if (now === items) return [];
      const what = block.key;
      const from = now === undefined ? 'no block' : 'another block';
      return [
        {
          what,
          from,
          to: items === undefined ? 'no block' : 'ours',
          text: { before: now ?? '', after: items ?? '', secret: false },
        },
      ];
    });
  },

  async prepare(d, observed, io, signal) {
    const text = observed.content.toString();
    refuseTakenJobs(d, text);
    await promtool(d.spec, wanted(d, text), io, signal);
    const before: Before = {
      path: pathOf(d.spec),
      inPlace: d.spec.inPlace === true,
      address: addressOf(d.spec),
      unit: d.spec.unit ?? null,
      blocks: blocksOf(d).map(({ block }) => ({ ...block, items: readBlock(text, block) ?? null })),
      answered: (await lastReload(addressOf(d.spec), io, signal)) !== undefined,
    };
    return { existed: before.blocks.some((b) => b.items !== null), data: before as unknown as Json };
  },

  async apply(changes, d, io, signal) {
    const { spec } = d;
    if (changes.length > 0) {
      const now = io.files.read(pathOf(spec));
      if (now.type !== 'file') throw new Error(`${pathOf(spec)} went away`);
      write(io.files, pathOf(spec), now, wanted(d, now.content.toString()), spec.inPlace === true, !d.heal);
    }
    const refused = await reload(addressOf(spec), spec.unit ?? null, io, signal);
    if (refused === undefined) return {};
    if (d.heal) throw new Error(`Prometheus refuses the confirmed config: ${refused}`);
    throw new Stalled('ReloadRefused', refused);
  },

  async confirm(d, snapshot, io, signal): Promise<Verdict> {
    const state = await lastReload(addressOf(d.spec), io, signal);
    const before = snapshot?.data as unknown as Before | undefined;
    if (state === undefined) {
      const evidence = `nobody answers at ${addressOf(d.spec)}`;
      if (before?.answered === true) return { verdict: 'No', reason: 'PrometheusStopped', evidence };
      // A heal is in place, and whether Prometheus runs is somebody else's business.
      return before === undefined
        ? { verdict: 'Yes' }
        : { verdict: 'Unknown', reason: 'PrometheusNotRunning', evidence };
    }
    if (!state.successful) {
      return {
        verdict: 'No',
        reason: 'ReloadFailed',
        evidence: 'prometheus_config_last_reload_successful is 0',
      };
    }
    const missing = jobsIn(d.spec).filter((job) => !state.yaml.includes(`job_name: ${job}`));
    if (missing.length === 0) return { verdict: 'Yes' };
    return {
      verdict: 'Unknown',
      reason: 'NotLoadedYet',
      evidence: `its config has no ${missing.join(', ')} yet`,
    };
  },

  async undo(snapshot, _record, io, signal) {
    const before = snapshot.data as unknown as Before;
    const now = io.files.read(before.path);
    if (now.type !== 'file') return;
    let text = now.content.toString();
    for (const { key, owner, items } of before.blocks)
      text = writeBlock(text, { key, owner }, items ?? undefined);
    if (text !== now.content.toString()) write(io.files, before.path, now, text, before.inPlace, true);
    // Also when the file is right already: an agent that was killed may not have come to this.
    const refused = await reload(before.address, before.unit, io, signal);
    if (refused !== undefined)
      throw new Error(`our part is out again, and Prometheus refuses the rest: ${refused}`);
  },

  watch(d, io, wake, signal) {
    const { unit } = d.spec;
    const others = unit === undefined ? [] : [(w: () => void, s: AbortSignal) => io.units.watch(unit, w, s)];
    return watchAll(io.clock, wake, signal, (w, s) => io.files.watch(pathOf(d.spec), w, s), others);
  },
});

function blocksOf(d: Desired<PrometheusConfigSpec>): { block: Block; items: string | undefined }[] {
  const owner = d.key;
  const jobs = d.spec.scrapeConfigs?.content?.replace(/\s+$/, '');
  const rules = d.spec.ruleFiles?.map((file) => `- ${JSON.stringify(file)}`).join('\n');
  return [
    { block: { key: 'scrape_configs', owner }, items: jobs === '' ? undefined : jobs },
    { block: { key: 'rule_files', owner }, items: rules === '' ? undefined : rules },
  ];
}

function wanted(d: Desired<PrometheusConfigSpec>, text: string): string {
  try {
    return blocksOf(d).reduce((t, { block, items }) => writeBlock(t, block, items), text);
  } catch (error) {
    if (error instanceof BlockError) throw new Stalled('Unplaceable', `${pathOf(d.spec)}: ${error.message}`);
    throw error;
  }
}

function jobsIn(spec: PrometheusConfigSpec): string[] {
  const text = spec.scrapeConfigs?.content ?? '';
  return [...text.matchAll(/^-\s+job_name:\s*(['"]?)([^'"#\n]+?)\1\s*(?:#.*)?$/gm)].map((m) => m[2]!.trim());
}

/** @throws Stalled when somebody else's job has the name of one of ours. */
function refuseTakenJobs(d: Desired<PrometheusConfigSpec>, text: string): void {
  const block: Block = { key: 'scrape_configs', owner: d.key };
  for (const job of jobsIn(d.spec)) {
    const [line] = linesOutside(text, block, 'job_name', job);
    if (line === undefined) continue;
    throw new Stalled(
      'JobNameTaken',
      `${pathOf(d.spec)}:${line}: there is a job ${job} that is not ours: remove it there, or rename ours`,
    );
  }
}

/** @throws Stalled('Invalid') with promtool's words. Without promtool the reload is the judge. */
async function promtool(
  spec: PrometheusConfigSpec,
  text: string,
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  // Beside the config: rule_files are relative to it.
  const temporary = path.join(
    path.dirname(pathOf(spec)),
    `.${path.basename(pathOf(spec))}.homeostat-validate`,
  );
  const real = io.files.hostPath?.(temporary) ?? temporary;
  try {
    io.files.replaceAtomic(temporary, Buffer.from(text), { mode: 0o600 });
    const result = await io.processes.run(spec.promtool ?? 'promtool', ['check', 'config', real], {
      timeoutMs: TIMEOUT_MS,
      signal,
    });
    if (result.exitCode === 0) return;
    const words = `${result.stderr}\n${result.stdout}`.replaceAll(real, pathOf(spec)).trim();
    throw new Stalled(
      'Invalid',
      words
        .split('\n')
        .filter((l) => /FAILED|error|line \d+/i.test(l))
        .join(' ') || words,
    );
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' || error instanceof Stalled) throw error;
  } finally {
    io.files.remove(temporary);
  }
}

function write(
  files: Files,
  file: string,
  now: Observed,
  text: string,
  inPlace: boolean,
  durable: boolean,
): void {
  const { mode, uid, gid } = now;
  if (inPlace) files.rewriteInPlace(file, Buffer.from(text), { mode, uid, gid });
  else files.replaceAtomic(file, Buffer.from(text), { mode, uid, gid }, { durable });
}

/** Reloads by HTTP, else by SIGHUP through the unit. @returns why Prometheus refuses, if it does. */
async function reload(
  address: string,
  unit: string | null,
  io: Io,
  signal: AbortSignal,
): Promise<string | undefined> {
  let answer: { status: number; body: string };
  try {
    answer = await io.http.request(`http://${address}/-/reload`, {
      method: 'POST',
      timeoutMs: TIMEOUT_MS,
      signal,
    });
  } catch {
    signal.throwIfAborted();
    return undefined; // not running: it reads the file when it starts
  }
  if (answer.status === 200) return undefined;
  if (answer.status === 500) return answer.body.trim();
  if (unit !== null) {
    await io.units.run('reload', unit, signal);
    return undefined;
  }
  throw new Error(
    `Prometheus at ${address} does not reload over HTTP (${answer.status}): start it with --web.enable-lifecycle, or name its unit here`,
  );
}

/** What Prometheus says of its running config; undefined when it does not answer. */
async function lastReload(address: string, io: Io, signal: AbortSignal) {
  try {
    const options = { timeoutMs: 5000, signal };
    const metrics = await io.http.request(`http://${address}/metrics`, options);
    const config = await io.http.request(`http://${address}/api/v1/status/config`, options);
    const { data } = JSON.parse(config.body) as { data: { yaml: string } };
    return {
      successful: /^prometheus_config_last_reload_successful 1$/m.test(metrics.body),
      yaml: data.yaml,
    };
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}
