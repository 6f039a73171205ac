// What a PrometheusConfig has the agent touch on a host. promtool reads every file that the jobs and rules name, as root,
// and quotes what it can't parse: those files are a matter of the host's owner, too.
import path from 'node:path';
import { Stalled } from '../../api/errors.ts';
import type { Desired, Permission } from '../kind.ts';
import type { Files } from '../ports.ts';
import { placesOf, targetsOf } from '../shared/places.ts';
import { runPermissions } from '../shared/programs.ts';
import { unitPermissions } from '../shared/units.ts';
import { parseYaml, type Yaml, YamlError } from '../shared/yaml.ts';
import type { Io } from './connection.ts';
import { expand, rulePatterns } from './loaded.ts';
import { contentOf, directoryOf, mayHaveFile, pathOf } from './parts.ts';
import type { PrometheusConfigSpec } from './schema.ts';
import { promtoolOf } from './validate.ts';

const READ = 'promtool reads it, and quotes what it can’t parse';

export async function resolve(
  { spec }: Desired<PrometheusConfigSpec>,
  io: Pick<Io, 'files' | 'processes' | 'units'>,
  signal: AbortSignal,
): Promise<Permission[]> {
  const { unit } = spec;
  const { files } = io;
  const read = [...rulePatterns(spec), ...(await filesIn(spec))].flatMap((pattern) => {
    const found = expand(pattern, files).filter((file) => files.exists(file));
    return found.length > 0 ? found : [pattern];
  });
  const targets = new Map(targetsOf(files, read, READ).map((target) => [target.value, target]));
  return [
    ...placesOf(files, [pathOf(spec)]),
    ...(mayHaveFile(spec) ? [beside(files, directoryOf(pathOf(spec)))] : []),
    ...targets.values(),
    ...targetsOf(files, spec.caFile === undefined ? [] : [spec.caFile], 'whom it trusts'),
    ...runPermissions(io.processes, promtoolOf(spec), 'it checks the config'),
    ...(unit === undefined ? [] : await unitPermissions(io.units, unit, signal, 'it is reloaded')),
  ];
}

function beside(files: Files, directory: string): Permission {
  return { type: 'path', value: `${files.realPath(directory, true)}/`, why: 'files of ours stand there' };
}

/** Absolute; relative ones are found beside the config. */
async function filesIn(spec: PrometheusConfigSpec): Promise<string[]> {
  const directory = path.dirname(pathOf(spec));
  try {
    const documents = await parseYaml(contentOf(spec));
    return [...filesOf(documents)].map((file) => path.resolve(directory, file));
  } catch (error) {
    // Before anything is read: promtool would be shown it.
    if (error instanceof YamlError) throw new Stalled('Invalid', `scrapeConfigs: ${error.message}`);
    throw error;
  }
}

/** Values of `*_file`, `*_files` and `files`, wherever they stand. */
function filesOf(value: Yaml | readonly Yaml[], isFile = false): Set<string> {
  if (typeof value === 'string') return new Set(isFile && value !== '' ? [value] : []);
  const members = Array.isArray(value)
    ? value.map((item) => filesOf(item, isFile))
    : Object.entries(value).map(([name, item]) => filesOf(item, isFile || /(?:^|_)files?$/.test(name)));
  return new Set(members.flatMap((member) => [...member]));
}
