// What a PrometheusConfig has the agent touch on a host. promtool reads every file that the jobs and rules name, as root,
// and quotes what it can't parse: those files are a matter of the host's owner, too.
import path from 'node:path';
import { Stalled } from '../../api/errors.ts';
import type { Desired, Permission } from '../kind.ts';
import { placesOf, targetsOf } from '../shared/places.ts';
import { runPermissions } from '../shared/programs.ts';
import { unitPermissions } from '../shared/units.ts';
import { parseYaml, type Yaml, YamlError } from '../shared/yaml.ts';
import { expand, rulePatterns } from './loaded.ts';
import { contentOf, directoryOf, pathOf } from './parts.ts';
import type { PrometheusConfigSpec } from './schema.ts';
import type { Io } from './server.ts';
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
  return [
    ...placesOf(files, [pathOf(spec), directoryOf(pathOf(spec))]).slice(0, writesBeside(spec) ? 2 : 1),
    ...targetsOf(files, [...new Set(read)], READ),
    ...runPermissions(io.processes, promtoolOf(spec), 'it checks the config'),
    ...(unit === undefined ? [] : await unitPermissions(io.units, unit, signal, 'it is reloaded')),
  ];
}

const writesBeside = ({ form, inPlace }: PrometheusConfigSpec): boolean =>
  form !== 'block' && inPlace !== true;

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

/** Values of `*_file`, `*_files` and `files`, wherever they stand. An object that is used many times is looked at once. */
function filesOf(value: Yaml | readonly Yaml[], seen = new Set<unknown>()): Set<string> {
  const found = new Set<string>();
  const walk = (at: Yaml | readonly Yaml[], isFile: boolean): void => {
    if (typeof at === 'string') {
      if (isFile && at !== '') found.add(at);
      return;
    }
    // As a file and not as one, since its texts mean something else then.
    const key = isFile ? at : seenAs(at);
    if (seen.has(key)) return;
    seen.add(key);
    if (Array.isArray(at)) for (const item of at) walk(item, isFile);
    else for (const [name, item] of Object.entries(at)) walk(item, isFile || /(?:^|_)files?$/.test(name));
  };
  const others = new Map<unknown, object>();
  const seenAs = (at: unknown): object => {
    const known = others.get(at) ?? {};
    others.set(at, known);
    return known;
  };
  walk(value, false);
  return found;
}
