// Making directories, and putting files into them so that they stay. Node's own `recursive` never ends below /proc, whose
// mkdir says that there is no parent.
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
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

export function isThere(path: string): boolean {
  try {
    statSync(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Gives what was written the name that it is to have, never over what is there. @throws EEXIST */
export function putInPlace(from: string, file: string): void {
  try {
    linkSync(from, file);
    rmSync(from);
  } catch (error) {
    // A file system without hard links.
    if (!['EPERM', 'ENOTSUP', 'ENOSYS'].includes(errnoOf(error)) || existsSync(file)) throw error;
    renameSync(from, file);
  }
  flush(dirname(file));
}

/** Of a directory, too: a name that a power cut takes is a file that is lost. */
export function flush(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
