// Files that survive a crash whole: written beside, flushed, renamed, and the directory flushed.
import fs from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../../api/errors.ts';

/** @throws system errors; the file is then what it was before. */
export function writeDurably(file: string, content: string | Uint8Array, mode = 0o600): void {
  const temporary = `${file}.new`;
  try {
    const fd = fs.openSync(temporary, 'w', mode);
    try {
      fs.writeFileSync(fd, content);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(temporary, file);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
  flushDirectory(path.dirname(file));
}

/** What a kill left of `writeDurably` in a directory; to be called before anything is written there. */
export function removeUnfinished(directory: string): void {
  for (const name of fs.readdirSync(directory)) {
    if (name.endsWith('.new')) fs.rmSync(path.join(directory, name), { force: true });
  }
}

export function removeDurably(file: string): void {
  try {
    fs.unlinkSync(file);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  flushDirectory(path.dirname(file));
}

/** The file's text, or undefined when there is none. */
export function readIfThere(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function flushDirectory(directory: string): void {
  const fd = fs.openSync(directory, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}
