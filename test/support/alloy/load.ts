/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): configuration files from
 * the disk to syntax trees.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { File } from './ast.ts';
import { blocksOf } from './check.ts';
import { parse } from './parser.ts';
import { ConfigError, type Diagnostic, Source } from './source.ts';

/** An error in the form of Alloy's command line: a first line for people, a last one for its log. */
export class Failure extends Error {}

/** The files of a path, a directory's *.alloy in order. @throws Error in Go's words when there is none */
export function readSources(path: string): Source[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) throw new Error(`stat ${path}: no such file or directory`);
  const names = stat.isDirectory()
    ? readdirSync(path)
        .filter((name) => name.endsWith('.alloy'))
        .sort()
    : undefined;
  const paths = names ? names.map((name) => join(path, name)) : [path];
  return paths.map((one) => new Source(one, readFileSync(one, 'utf8')));
}

/** @throws ConfigError with what is wrong in any of the files */
export function parseAll(sources: Source[]): File[] {
  const diagnostics: Diagnostic[] = [];
  const files = sources.flatMap((source) => {
    try {
      const file = parse(source);
      blocksOf([file]);
      return [file];
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      diagnostics.push(...error.diagnostics);
      return [];
    }
  });
  if (diagnostics.length > 0) throw new ConfigError(diagnostics);
  return files;
}
