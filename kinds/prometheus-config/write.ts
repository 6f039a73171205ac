// Writing: the config, and the file of ours beside it. Order matters to a Prometheus that reads them at any moment:
// what is listed is there before it is listed, and goes after.
import { errnoOf } from '../../api/errors.ts';
import type { Desired } from '../kind.ts';
import type { FileState, Files } from '../ports.ts';
import { directoryOf, type Form, jobsFileOf, jobsFileText, type Other, pathOf, withOurs } from './layout.ts';
import type { PrometheusConfigSpec } from './schema.ts';

export type Config = Extract<FileState, { type: 'file' }>;

export interface Layout {
  readonly config: Config;
  readonly text: string;
  readonly form: Form;
  readonly others: readonly Other[];
}

/** The text of the file of ours; undefined where there is to be none. */
export function jobsFileWanted({ spec, key }: Desired<PrometheusConfigSpec>, form: Form): string | undefined {
  const hasJobs = (spec.scrapeConfigs?.content ?? '').trim() !== '';
  return form === 'file' && hasJobs ? jobsFileText(spec, key) : undefined;
}

export function writeAll(d: Desired<PrometheusConfigSpec>, layout: Layout, files: Files): void {
  const { spec, key, heal } = d;
  const { config, text, form, others } = layout;
  const file = jobsFileOf(pathOf(spec), key);
  const jobs = jobsFileWanted(d, form);
  if (jobs !== undefined) writeJobsFile(files, file, jobs, config, !heal);
  const ours = withOurs(spec, key, form, text, others);
  if (ours !== text) writeConfig(files, pathOf(spec), config, ours, spec.inPlace === true, !heal);
  removeFiles(files, pathOf(spec), [
    ...others.filter((o) => o.isPredecessor && o.hasFile).map(({ owner }) => jobsFileOf(pathOf(spec), owner)),
    ...(jobs === undefined ? [file] : []),
  ]);
}

/** Whoever may read the config may read it, too. */
export function writeJobsFile(
  files: Files,
  file: string,
  text: string,
  like: Config,
  durable: boolean,
): void {
  const { mode, uid, gid } = like;
  files.replaceAtomic(file, Buffer.from(text), { mode, uid, gid }, { durable });
}

export function writeConfig(
  files: Files,
  file: string,
  now: Config,
  text: string,
  inPlace: boolean,
  durable: boolean,
): void {
  const { mode, uid, gid } = now;
  if (inPlace) files.rewriteInPlace(file, Buffer.from(text), { mode, uid, gid });
  else files.replaceAtomic(file, Buffer.from(text), { mode, uid, gid }, { durable });
}

/** Their directory goes with the last of them. */
export function removeFiles(files: Files, configFile: string, gone: readonly string[]): void {
  const directory = directoryOf(configFile);
  if (gone.length === 0 || files.read(directory).type !== 'directory') return;
  for (const file of gone) {
    files.tidy?.(file);
    files.remove(file);
  }
  try {
    files.remove(directory);
  } catch (error) {
    if (errnoOf(error) !== 'ENOTEMPTY') throw error;
  }
}
