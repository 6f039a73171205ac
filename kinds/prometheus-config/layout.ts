// Where our part stands: as blocks in the config itself, or, from Prometheus 2.43 on, with the jobs in a file of ours
// beside it that one block lists (scrape_config_files). Pure, but for asking which of the two it is.
import path from 'node:path';
import { Stalled } from '../../api/errors.ts';
import type { Desired } from '../kind.ts';
import type { Files } from '../ports.ts';
import { type Block, BlockError, ownersIn, readBlock, writeBlock } from './block.ts';
import { jobsIn } from './jobs.ts';
import type { PrometheusConfigSpec } from './schema.ts';
import { type Io, identify, type Server } from './server.ts';

export type Form = 'block' | 'file';

/** What stands here of another document. */
export interface Other {
  readonly owner: string;
  readonly jobs: readonly string[];
  /** Whether its jobs stand in a file of its own. */
  readonly hasFile: boolean;
  /**
   * All of it is ours: claims are exclusive, so it had our jobs before us (the document was renamed, or they moved to
   * this one), and what it left is taken over.
   */
  readonly isPredecessor: boolean;
}

export const KEYS = ['scrape_configs', 'rule_files', 'scrape_config_files'] as const;

export const pathOf = (spec: PrometheusConfigSpec): string => spec.path ?? '/etc/prometheus/prometheus.yml';

export const serverOf = (spec: PrometheusConfigSpec): Server => ({
  address: spec.address ?? '127.0.0.1:9090',
  unit: spec.unit ?? null,
  container: spec.container ?? null,
});

/** Of the file of ours; below the config's directory, since its place in the config is relative to that. */
export const directoryOf = (configFile: string): string => path.join(path.dirname(configFile), 'homeostat.d');
const listed = (owner: string): string => `homeostat.d/${owner.replace('/', '.')}.yml`;
export const jobsFileOf = (configFile: string, owner: string): string =>
  path.join(path.dirname(configFile), listed(owner));

const jobItems = (spec: PrometheusConfigSpec): string | undefined => {
  const items = spec.scrapeConfigs?.content?.replace(/\s+$/, '');
  return items === '' ? undefined : items;
};

/** The text of the file of ours. */
export function jobsFileText(spec: PrometheusConfigSpec, owner: string): string {
  const lines = jobItems(spec)!.split('\n');
  const indented = lines.map((line) => (line.trim() === '' ? '' : `  ${line}`));
  return [
    `# Written by homeostat (${owner}): edit in git, not here.`,
    'scrape_configs:',
    ...indented,
    '',
  ].join('\n');
}

export function blocksOf(
  spec: PrometheusConfigSpec,
  owner: string,
  form: Form,
): { block: Block; items: string | undefined }[] {
  const jobs = jobItems(spec);
  const rules = spec.ruleFiles?.map((file) => `- ${JSON.stringify(file)}`).join('\n');
  const files = jobs === undefined || form === 'block' ? undefined : `- ${JSON.stringify(listed(owner))}`;
  return [
    { block: { key: 'scrape_configs', owner }, items: form === 'block' ? jobs : undefined },
    { block: { key: 'rule_files', owner }, items: rules === '' ? undefined : rules },
    { block: { key: 'scrape_config_files', owner }, items: files },
  ];
}

/** The config with our part in it, and without what predecessors left. @throws Stalled('Unplaceable') */
export function withOurs(
  spec: PrometheusConfigSpec,
  owner: string,
  form: Form,
  text: string,
  others: readonly Other[],
): string {
  try {
    const gone = others
      .filter(({ isPredecessor }) => isPredecessor)
      .flatMap((other) => KEYS.map((key) => ({ block: { key, owner: other.owner }, items: undefined })));
    return [...gone, ...blocksOf(spec, owner, form)].reduce(
      (t, { block, items }) => writeBlock(t, block, items),
      text,
    );
  } catch (error) {
    if (error instanceof BlockError) throw new Stalled('Unplaceable', `${pathOf(spec)}: ${error.message}`);
    throw error;
  }
}

export function othersIn(spec: PrometheusConfigSpec, owner: string, text: string, files: Files): Other[] {
  const ours = new Set(jobsIn(spec.scrapeConfigs?.content ?? '').map(({ name }) => name));
  const rules = new Set(spec.ruleFiles?.map((file) => `- ${JSON.stringify(file)}`));
  return ownersIn(text)
    .filter((other) => other !== owner)
    .map((other) => {
      const block = (key: string) => readBlock(text, { key, owner: other }) ?? '';
      const file = files.read(jobsFileOf(pathOf(spec), other));
      const content = file.type === 'file' ? file.content.toString() : '';
      const jobs = jobsIn(`${block('scrape_configs')}\n${content}`).map(({ name }) => name);
      const theirRules = block('rule_files').split('\n').filter(Boolean);
      const isPredecessor =
        jobs.length + theirRules.length > 0 &&
        jobs.every((name) => ours.has(name)) &&
        theirRules.every((rule) => rules.has(rule));
      return { owner: other, jobs, hasFile: file.type === 'file', isPredecessor };
    });
}

/**
 * What stands there already stays in its form, so that an upgrade of Prometheus moves nothing; else it is a file
 * where Prometheus is 2.43 or newer and reads this very config, which a container may know by another path.
 */
export async function formOf(
  d: Desired<PrometheusConfigSpec>,
  text: string,
  io: Io,
  signal: AbortSignal,
): Promise<Form> {
  const { form = 'auto', inPlace, promtool } = d.spec;
  if (form !== 'auto') return form;
  if (jobItems(d.spec) === undefined) return 'block';
  if (readBlock(text, { key: 'scrape_config_files', owner: d.key }) !== undefined) return 'file';
  if (inPlace === true || readBlock(text, { key: 'scrape_configs', owner: d.key }) !== undefined)
    return 'block';
  const found = await identify(serverOf(d.spec), promtool ?? 'promtool', io, signal);
  if (found === undefined || !knowsScrapeFiles(found.version)) return 'block';
  const real = io.files.hostPath?.(pathOf(d.spec)) ?? pathOf(d.spec);
  return found.configFile === undefined || found.configFile === real ? 'file' : 'block';
}

/** scrape_config_files came with 2.43 (its changelog). */
export function knowsScrapeFiles(version: string): boolean {
  const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(version) ?? [];
  return major !== undefined && (Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 43));
}
