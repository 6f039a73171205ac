// What is looked at before anything is written, and before what others wrote is loaded.
import { errnoOf, Stalled, Waiting } from '../../api/errors.ts';
import { inspect } from '../docker-engine.ts';
import type { Desired, Finding } from '../kind.ts';
import { findings } from '../shared/findings.ts';
import { isMapping, listOf, mergedInto, parseYaml, YamlError } from '../shared/yaml.ts';
import { withoutBlocks } from './block.ts';
import { type Io, reachedBy } from './connection.ts';
import { jobsIn } from './jobs.ts';
import { contentOf, type Form, namesIn, ownPart, pathOf, withParts } from './parts.ts';
import { cannotReload } from './reload.ts';
import type { PrometheusConfigSpec } from './schema.ts';
import { type Answer, flags, identify } from './server.ts';

type D = Desired<PrometheusConfigSpec>;

const PROMTOOL_MS = 30_000;
const AGAIN_MS = 30_000;
const LONGEST_WORDS = 2_000;

export const promtoolOf = (spec: PrometheusConfigSpec): string => spec.promtool ?? 'promtool';

/** Pure; for the controller. */
export function checkItems(content: string): Finding[] {
  const items = [...content.matchAll(/^-(?:\s|$)/gm)].length;
  const named = jobsIn(content);
  const path = ['scrapeConfigs'];
  if (items === 0) {
    const message = 'no job is found: each begins with "- job_name: NAME", without indentation';
    return [{ path, message }];
  }
  const seen = new Set<string>();
  const twice = named.find(({ name }) => seen.size === seen.add(name).size);
  if (twice !== undefined) {
    return [{ path, message: `line ${twice.line} of it: there are two jobs ${twice.name}: rename one` }];
  }
  if (named.length >= items) return [];
  return [{ path, message: `there are ${items} jobs and ${named.length} names: give each a job_name` }];
}

/** Pure; for the controller. */
export function checkConnection(spec: PrometheusConfigSpec): Finding[] {
  const { address = '', user, password, bearerToken, caFile } = spec;
  const [hasUser, hasPassword] = [user !== undefined, password !== undefined];
  return findings(
    [hasUser && !hasPassword, ['user'], 'a user has a password: give password, by secretFrom'],
    [hasPassword && !hasUser, ['password'], 'a password is a user’s: give user'],
    [
      bearerToken !== undefined && (hasUser || hasPassword),
      ['bearerToken'],
      'give either bearerToken, or user and password',
    ],
    [user?.includes(':') === true, ['user'], 'a user’s name has no colon'],
    [
      caFile !== undefined && !address.startsWith('https://'),
      ['caFile'],
      'caFile is for TLS: begin address with https://',
    ],
  );
}

/** @throws Stalled when the jobs are not those that the document is known to own. */
export async function requireItems(spec: PrometheusConfigSpec): Promise<void> {
  if (contentOf(spec) === '') return;
  const where = 'scrapeConfigs';
  try {
    const jobs = (await parseYaml(contentOf(spec)))[0];
    const names = Array.isArray(jobs) ? jobs.map((job) => isMapping(job) && job['job_name']) : [];
    if (JSON.stringify(names) === JSON.stringify(namesIn(contentOf(spec)))) return;
    const message = 'write each job as "- job_name: NAME" at the margin, and the name in one line';
    throw new Stalled('Invalid', `${where} has other jobs for a parser than for a reader: ${message}`);
  } catch (error) {
    if (error instanceof YamlError) throw new Stalled('Invalid', `${where}: ${error.message}`);
    throw error;
  }
}

/** @throws Stalled when a job or a rule file of ours is there already, and nobody's block has it. */
export async function refuseTaken(spec: PrometheusConfigSpec, text: string): Promise<void> {
  const theirs = withoutBlocks(text);
  const [config] = await parseYaml(theirs).catch(() => []);
  const named = jobsIn(theirs);
  const taken = listOf(config, 'scrape_configs')
    .map((job) => (isMapping(job) ? String(job['job_name'] ?? mergedInto(job, 'job_name')) : ''))
    .find((name) => namesIn(contentOf(spec)).includes(name));
  if (taken !== undefined) {
    const line = named.find(({ name }) => name === taken)?.line ?? lineWith(theirs, taken);
    const at = line === 0 ? pathOf(spec) : `${pathOf(spec)}:${line}`;
    const message = `${at}: there is a job ${taken} that is not ours: remove it there, or rename ours`;
    throw new Stalled('JobNameTaken', message);
  }
  const rules = listOf(config, 'rule_files').map(String);
  const twice = spec.ruleFiles?.find((file) => rules.includes(file));
  if (twice === undefined) return;
  const message = `${pathOf(spec)}:${lineWith(theirs, twice)}: rule file ${twice} is listed already: remove it there, or from ruleFiles`;
  throw new Stalled('RuleFileTaken', message);
}

/** From 1; 0 where a name is written in another way. */
const lineWith = (text: string, name: string): number =>
  text.split('\n').findIndex((line) => !/^\s*#/.test(line) && line.includes(name)) + 1;

/** @throws Stalled where the jobs are to stand in a file and Prometheus is known to be too old for that. */
export async function refuseOld(d: D, io: Io, signal: AbortSignal): Promise<void> {
  const found = await identify(reachedBy(d), promtoolOf(d.spec), io, signal);
  if (found === undefined || knowsScrapeFiles(found.version)) return;
  throw new Stalled(
    'TooOld',
    `Prometheus ${found.version} knows no scrape_config_files (2.43 does): use form: block, or auto`,
  );
}

/** scrape_config_files came with 2.43 (its changelog). */
export function knowsScrapeFiles(version: string): boolean {
  const [, major, minor] = /^v?(\d+)\.(\d+)/.exec(version) ?? [];
  return major !== undefined && (Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 43));
}

/** @throws Waiting where what is written could not be loaded, or nobody would know whether it was. */
export async function requireReachable(d: D, answer: Answer, io: Io, signal: AbortSignal): Promise<void> {
  const server = reachedBy(d);
  if (answer.state === 'other') throw new Waiting(answer.reason, answer.words, AGAIN_MS);
  if (answer.state !== 'running' || server.unit !== null || server.container) return;
  const started = await flags(server, io, signal);
  if (started?.['web.enable-lifecycle'] !== 'false') return;
  throw new Waiting('CannotReload', cannotReload(server.address), AGAIN_MS);
}

/** @throws Waiting where the container would keep the old file: the mount of a single file is one of its inode. */
export async function requireSeen({ spec }: D, io: Io, signal: AbortSignal): Promise<void> {
  const { container, inPlace } = spec;
  if (container === undefined || inPlace === true) return;
  // Where no engine can be asked, the reload says so.
  const found = await inspect(io.docker, container, signal).catch(() => undefined);
  signal.throwIfAborted();
  const path = pathOf(spec);
  const places = [path, io.files.realPath(path, true)].map((place) => io.files.hostPath?.(place) ?? place);
  const mount = found?.Mounts?.find(({ Source = '' }) => places.includes(Source));
  if (mount === undefined) return;
  const message = `container ${container} has ${path} mounted as a single file, at ${mount.Destination}, and would keep the old one: set inPlace: true here, or have it mount the directory`;
  throw new Waiting('NeedsInPlace', message, AGAIN_MS);
}

/** Why promtool refuses, and whether that is for a rule file. */
export interface Refusal {
  readonly reason: 'ConfigRefused' | 'RulesRefused';
  readonly words: string;
}

/** Of a config with what it refers to. Undefined when it is right, and without promtool: then the reload says it. */
async function promtool(
  spec: PrometheusConfigSpec,
  file: string,
  io: Io,
  signal: AbortSignal,
): Promise<Refusal | undefined> {
  const real = io.files.hostPath?.(file) ?? file;
  const args = ['check', 'config', real];
  try {
    const options = { timeoutMs: PROMTOOL_MS, signal, chosen: true } as const;
    const { exitCode, stdout, stderr } = await io.processes.run(promtoolOf(spec), args, options);
    if (exitCode === 0) return undefined;
    const words = `${stderr}\n${stdout}`.replaceAll(real, pathOf(spec)).trim();
    const telling = words
      .split('\n')
      .filter((l) => /FAILED|error|line \d+/i.test(l))
      .join(' ');
    const isConfigRight = /SUCCESS: .* is valid prometheus config file/.test(words);
    return {
      reason: isConfigRight ? 'RulesRefused' : 'ConfigRefused',
      words: (telling || words).slice(0, LONGEST_WORDS),
    };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** What stands there. */
export const refusedOnDisk = (spec: PrometheusConfigSpec, io: Io, signal: AbortSignal) =>
  promtool(spec, pathOf(spec), io, signal);

/** What is going to stand there; with our jobs in the config itself, so that one file is all that is written for it. */
export async function refusedIfWritten(
  d: D,
  edited: string,
  form: Form,
  io: Io,
  signal: AbortSignal,
): Promise<Refusal | undefined> {
  const candidate = Buffer.from(form === 'block' ? edited : inOneFile(d, edited));
  return await io.files.withCandidate(pathOf(d.spec), candidate, (file) =>
    promtool(d.spec, file, io, signal),
  );
}

function inOneFile(d: D, edited: string): string {
  const part = ownPart(d.spec, d.key, 'block');
  try {
    return withParts(pathOf(d.spec), edited, new Map([[d.key, part]]));
  } catch (error) {
    // A list in one line takes no block; our jobs are looked at by themselves.
    if (error instanceof Stalled) return ownPart(d.spec, d.key, 'file').file ?? edited;
    throw error;
  }
}
