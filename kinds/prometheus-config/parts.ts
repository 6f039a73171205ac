// What stands of each document in a prometheus.yml: as blocks in the config itself, or, from Prometheus 2.43 on, with
// the jobs in a file of ours beside it that one block lists (scrape_config_files). Pure, but for reading that file.
import path from 'node:path';
import { Stalled } from '../../api/errors.ts';
import type { Claim } from '../kind.ts';
import type { Files } from '../ports.ts';
import { BlockError, ownersIn, readBlock, writeBlock } from './block.ts';
import { jobsIn, withoutJobs } from './jobs.ts';
import type { PrometheusConfigSpec } from './schema.ts';

export type Form = 'block' | 'file';

export const KEYS = ['scrape_configs', 'rule_files', 'scrape_config_files'] as const;

/** The items of a document's blocks, without indentation, and the text of its jobs file. */
export type Part = Readonly<Record<(typeof KEYS)[number] | 'file', string | undefined>>;

export const NO_PART: Part = {
  scrape_configs: undefined,
  rule_files: undefined,
  scrape_config_files: undefined,
  file: undefined,
};

/** By document. */
export type Parts = ReadonlyMap<string, Part>;

export const pathOf = (spec: PrometheusConfigSpec): string => spec.path ?? '/etc/prometheus/prometheus.yml';

export const contentOf = (spec: PrometheusConfigSpec): string => spec.scrapeConfigs?.content?.trimEnd() ?? '';

export const namesIn = (items: string): string[] => jobsIn(items).map(({ name }) => name);

/** Whether its jobs may stand in a file of ours. */
export function mayHaveFile({ form, inPlace, scrapeConfigs }: PrometheusConfigSpec): boolean {
  const mayBeBeside = form === 'file' || (form !== 'block' && inPlace !== true);
  return mayBeBeside && scrapeConfigs !== undefined;
}

/** Of the files of ours; below the config's directory, since their place in the config is relative to that. */
export const directoryOf = (configFile: string): string => path.join(path.dirname(configFile), 'homeostat.d');
const listed = (owner: string): string => `homeostat.d/${owner.replace('/', '.')}.yml`;
export const jobsFileOf = (configFile: string, owner: string): string =>
  path.join(path.dirname(configFile), listed(owner));

function jobsFileText(items: string, owner: string): string {
  const indented = items.split('\n').map((line) => (line.trim() === '' ? '' : `  ${line}`));
  return [
    `# Written by homeostat (${owner}): edit in git, not here.`,
    'scrape_configs:',
    ...indented,
    '',
  ].join('\n');
}

/** The items of a jobs file. */
const itemsOf = (file: string): string =>
  file
    .replace(/^[\s\S]*?^scrape_configs:.*\n/m, '')
    .replace(/^ {2}/gm, '')
    .trimEnd();

/** By job and by rule file: two documents may add to one config, and not the same twice. */
export const claimsOf = (spec: PrometheusConfigSpec): Claim[] => [
  ...namesIn(contentOf(spec)).map((job) => `file:${pathOf(spec)}#scrape_configs/${job}`),
  ...(spec.ruleFiles ?? []).map((file) => `file:${pathOf(spec)}#rule_files/${file}`),
];

export function readPart(files: Files, configFile: string, text: string, owner: string): Part {
  const file = files.read(jobsFileOf(configFile, owner));
  return {
    scrape_configs: readBlock(text, { key: 'scrape_configs', owner }),
    rule_files: readBlock(text, { key: 'rule_files', owner }),
    scrape_config_files: readBlock(text, { key: 'scrape_config_files', owner }),
    file: file.type === 'file' ? file.content.toString() : undefined,
  };
}

/** Of this document and of all others that have blocks in the text. */
export function readParts(files: Files, configFile: string, text: string, owner: string): Parts {
  const owners = new Set([...ownersIn(text), owner]);
  return new Map([...owners].map((name) => [name, readPart(files, configFile, text, name)]));
}

export function ownPart(spec: PrometheusConfigSpec, owner: string, form: Form): Part {
  const jobs = contentOf(spec) === '' ? undefined : contentOf(spec);
  const isFile = form === 'file' && jobs !== undefined;
  return {
    scrape_configs: isFile ? undefined : jobs,
    rule_files: spec.ruleFiles?.map((file) => `- ${JSON.stringify(file)}`).join('\n') || undefined,
    scrape_config_files: isFile ? `- ${JSON.stringify(listed(owner))}` : undefined,
    file: isFile ? jobsFileText(jobs, owner) : undefined,
  };
}

/**
 * What is to stand: this document's part, and what others are left with. Claims are exclusive, so that what this
 * document wants and another one still has is what that one is about to give up, or has left behind.
 * @param held of a document that has no part yet, what it came by from one that was renamed: that goes, too.
 */
export function wantedParts(
  now: Parts,
  spec: PrometheusConfigSpec,
  owner: string,
  form: Form,
  held: readonly Claim[],
): Map<string, Part> {
  const wanted = new Map<string, Part>();
  const inherited = held.filter((claim) => claim.startsWith(`file:${pathOf(spec)}#`));
  const taken = [...claimsOf(spec), ...(isNothing(now.get(owner)) ? inherited : [])];
  for (const [other, part] of now) {
    const left = other === owner ? part : withoutClaims(part, other, taken);
    if (left !== part) wanted.set(other, left);
  }
  return wanted.set(owner, ownPart(spec, owner, form));
}

const isNothing = (part: Part = NO_PART): boolean => KEYS.every((key) => part[key] === undefined);

/** The part without these jobs and rule files; the same object where it has none of them. */
export function withoutClaims(part: Part, owner: string, claims: readonly Claim[]): Part {
  const named = (key: string) =>
    new Set(claims.map((claim) => claim.split(`#${key}/`)[1]).filter((name) => name !== undefined));
  const [jobs, rules] = [named('scrape_configs'), named('rule_files')];
  const has = (items: string | undefined) => namesIn(items ?? '').some((name) => jobs.has(name));
  let left = part;
  if (has(part.scrape_configs)) {
    left = { ...left, scrape_configs: withoutJobs(part.scrape_configs!, jobs) };
  }
  if (has(part.file)) {
    const items = withoutJobs(itemsOf(part.file!), jobs);
    left =
      items === undefined
        ? { ...left, file: undefined, scrape_config_files: undefined }
        : { ...left, file: jobsFileText(items, owner) };
  }
  const lines = part.rule_files?.split('\n') ?? [];
  const kept = lines.filter((line) => !rules.has(ruleIn(line)));
  if (kept.length < lines.length) left = { ...left, rule_files: kept.join('\n') || undefined };
  return left;
}

const ruleIn = (line: string): string => line.replace(/^- "(.*)"$/, (_, text) => JSON.parse(`"${text}"`));

/** The config with these parts in it, and everything else as it is. @throws Stalled('Unplaceable') */
export function withParts(configFile: string, text: string, parts: Parts): string {
  try {
    let edited = text;
    for (const [owner, part] of parts) {
      for (const key of KEYS) edited = writeBlock(edited, { key, owner }, part[key]);
    }
    return edited;
  } catch (error) {
    if (error instanceof BlockError) throw new Stalled('Unplaceable', `${configFile}: ${error.message}`);
    throw error;
  }
}
