// Compiles a directory of manifests for the commands that need no controller: validate, render, plan, once.
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Option } from 'commander';
import { formatDiagnostic } from '../api/diagnostics.ts';
import { inWords } from '../api/errors.ts';
import { count } from '../api/words.ts';
import { type Compilation, compile } from '../controller/pipeline/compile.ts';
import { readDirectory } from '../controller/source/directory.ts';
import { DownloadStore, parseMirrors } from '../controller/source/downloads.ts';
import { kinds } from '../kinds/index.ts';
import { inputDirectory, MIRROR_VARIABLE } from './options.ts';

export const DIRECTORY_OPTION = new Option('--dir <dir>', 'directory of manifests')
  .default('.')
  .argParser(inputDirectory);

/**
 * @param unreachable how a download counts that can't be reached: `validate` goes on without it, what needs the
 * whole of a document does not.
 * @throws SourceError when the directory can't be read.
 */
export function compileDirectory(
  directory: string,
  { unreachable = 'error' }: { unreachable?: 'error' | 'warning' } = {},
): Promise<Compilation> {
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  const downloads = new DownloadStore({
    directory: join(cache, 'homeostat', 'downloads'),
    mirrors: mirrorsOfEnvironment(),
    unreachable,
  });
  return compile(readDirectory(directory), kinds, undefined, downloads);
}

function mirrorsOfEnvironment(): Map<string, string> {
  try {
    return parseMirrors(process.env[MIRROR_VARIABLE] ?? '');
  } catch (error) {
    throw new Error(`${MIRROR_VARIABLE} is wrong: ${inWords(error)}`);
  }
}

/** The diagnostics, one a line, and how many there are. */
export function report(compilation: Compilation): string {
  const errors = compilation.diagnostics.filter((d) => d.severity === 'error').length;
  const warnings = compilation.diagnostics.length - errors;
  const { files, documents, hosts } = compilation.counts;
  const found = [count(documents, 'document'), 'in', count(files, 'file'), 'for', count(hosts, 'host')].join(
    ' ',
  );
  const verdict = errors === 0 ? 'valid' : 'refused';
  const problems = [errors > 0 ? count(errors, 'error') : '', warnings > 0 ? count(warnings, 'warning') : ''];
  const summary = [`${verdict}: ${found}`, ...problems.filter(Boolean)].join(', ');
  return [...compilation.diagnostics.map(formatDiagnostic), summary].join('\n');
}
