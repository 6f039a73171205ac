// Compiles a directory of manifests for the commands that need no controller: validate, render, plan, once.
import { formatDiagnostic } from '../api/diagnostics.ts';
import { type Compilation, compile } from '../controller/pipeline/compile.ts';
import { readDirectory } from '../controller/source/directory.ts';
import { kinds } from '../kinds/index.ts';

/** @throws SourceError when the directory can't be read. */
export function compileDirectory(directory: string): Promise<Compilation> {
  return compile(readDirectory(directory), kinds);
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

export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}
