// What is looked at before anything is written.
import { errnoOf, Stalled, Waiting } from '../../api/errors.ts';
import type { Desired, Finding } from '../kind.ts';
import { withoutBlocks } from './block.ts';
import { jobsIn } from './jobs.ts';
import {
  type Form,
  jobsFileText,
  knowsScrapeFiles,
  type Other,
  pathOf,
  serverOf,
  withOurs,
} from './layout.ts';
import type { PrometheusConfigSpec } from './schema.ts';
import { type Io, identify } from './server.ts';

const JOB_MOVES_AGAIN_MS = 5_000;
const PROMTOOL_MS = 30_000;

const promtoolOf = (spec: PrometheusConfigSpec): string => spec.promtool ?? 'promtool';

/** Pure; for the controller. */
export function checkItems(content: string): Finding[] {
  const items = [...content.matchAll(/^-(?:\s|$)/gm)].length;
  const named = jobsIn(content);
  const path = ['scrapeConfigs'];
  if (items === 0) {
    const message = 'no job is found: each begins with "- job_name: NAME", without indentation';
    return [{ path, message }];
  }
  const twice = named.find(({ name }, i) => named.findIndex((other) => other.name === name) < i);
  if (twice !== undefined) {
    return [{ path, message: `line ${twice.line} of it: there are two jobs ${twice.name}: rename one` }];
  }
  if (named.length >= items) return [];
  return [{ path, message: `there are ${items} jobs and ${named.length} names: give each a job_name` }];
}

/**
 * @throws Stalled when somebody else's job has the name of one of ours; Waiting while it stands in what another
 * document keeps, which is about to give it up.
 */
export function refuseTakenJobs(
  d: Desired<PrometheusConfigSpec>,
  text: string,
  others: readonly Other[],
): void {
  const ours = new Set(jobsIn(d.spec.scrapeConfigs?.content ?? '').map(({ name }) => name));
  const taken = jobsIn(withoutBlocks(text)).find(({ name }) => ours.has(name));
  if (taken !== undefined) {
    throw new Stalled(
      'JobNameTaken',
      `${pathOf(d.spec)}:${taken.line}: there is a job ${taken.name} that is not ours: remove it there, or rename ours`,
    );
  }
  for (const { owner, jobs, isPredecessor } of others) {
    const moving = isPredecessor ? undefined : jobs.find((name) => ours.has(name));
    if (moving === undefined) continue;
    const message = `job ${moving} still stands in what ${owner} keeps here`;
    throw new Waiting('JobMoves', message, JOB_MOVES_AGAIN_MS);
  }
}

/** @throws Stalled where the jobs are to stand in a file and Prometheus is known to be too old for that. */
export async function refuseOld(spec: PrometheusConfigSpec, io: Io, signal: AbortSignal): Promise<void> {
  const found = await identify(serverOf(spec), promtoolOf(spec), io, signal);
  if (found === undefined || knowsScrapeFiles(found.version)) return;
  throw new Stalled(
    'TooOld',
    `Prometheus ${found.version} knows no scrape_config_files (2.43 does): use form: block, or auto`,
  );
}

/** @throws Stalled('Invalid') with promtool's words. Without promtool the reload is the judge. */
export async function promtool(
  d: Desired<PrometheusConfigSpec>,
  ours: string,
  form: Form,
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  const { spec } = d;
  const candidate = Buffer.from(form === 'block' ? ours : inOneFile(d, ours));
  await io.files.withCandidate(pathOf(spec), candidate, async (temporary) => {
    const real = io.files.hostPath?.(temporary) ?? temporary;
    const args = ['check', 'config', real];
    try {
      const result = await io.processes.run(promtoolOf(spec), args, { timeoutMs: PROMTOOL_MS, signal });
      if (result.exitCode === 0) return;
      const words = `${result.stderr}\n${result.stdout}`.replaceAll(real, pathOf(spec)).trim();
      const telling = words.split('\n').filter((l) => /FAILED|error|line \d+/i.test(l));
      throw new Stalled('Invalid', telling.join(' ') || words);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' || error instanceof Stalled) throw error;
    }
  });
}

/** The same jobs as a block, so that one file is all that is written to be looked at. */
function inOneFile(d: Desired<PrometheusConfigSpec>, ours: string): string {
  try {
    return withOurs(d.spec, d.key, 'block', ours, []);
  } catch (error) {
    // A list in one line takes no block; our jobs are looked at by themselves.
    if (error instanceof Stalled) return jobsFileText(d.spec, d.key);
    throw error;
  }
}
