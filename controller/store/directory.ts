// Making directories. Node's own `recursive` never ends below /proc, whose mkdir says that there is no parent.
import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { errnoOf } from '../../api/errors.ts';

/** With all that lead to it. @returns those that were made, the deepest first. @throws system errors */
export function makeDirectory(directory: string, mode: number): string[] {
  const missing: string[] = [];
  let at = resolve(directory);
  while (!isThere(at)) {
    missing.push(at);
    at = dirname(at);
  }
  for (const path of missing.toReversed()) {
    try {
      mkdirSync(path, { mode });
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
  }
  return missing;
}

function isThere(path: string): boolean {
  try {
    statSync(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}
