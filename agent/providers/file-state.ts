// What stands at a path: read through a handle that no link at the path itself redirects.
import fs from 'node:fs';
import { errnoOf } from '../../api/errors.ts';
import type { FileState } from '../../kinds/ports.ts';

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = fs.constants;
const MAX_BYTES = 16 * 1024 * 1024;

/** @param refuse what a file with several names is shown to; throws where one of them is not to be read */
export function readState(full: string, refuse?: (stat: fs.Stats) => void): FileState {
  let fd: number;
  try {
    // An error takes Node longer than all the rest of a look, and what is gone is to be back soon.
    if (!fs.existsSync(full) && fs.lstatSync(full, { throwIfNoEntry: false }) === undefined)
      return { type: 'absent' };
    fd = fs.openSync(full, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    switch (errnoOf(error)) {
      case 'ENOENT':
      case 'ENOTDIR':
        return { type: 'absent' };
      case 'ELOOP': // a link
        return { type: 'symlink', target: fs.readlinkSync(full) };
      case 'ENXIO': // a socket
        return { type: 'other' };
      default:
        throw error;
    }
  }
  try {
    const stat = fs.fstatSync(fd);
    const attributes = { mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid };
    if (stat.isDirectory()) return { type: 'directory', ...attributes };
    if (!stat.isFile()) return { type: 'other' };
    if (stat.size > MAX_BYTES) {
      throw Object.assign(new Error(`${full} has ${stat.size} bytes; at most ${MAX_BYTES} are compared`), {
        code: 'EFBIG',
      });
    }
    if (stat.nlink > 1) refuse?.(stat);
    return {
      type: 'file',
      content: readAll(fd, stat.size),
      ...attributes,
      ...times(stat),
      ...(stat.nlink > 1 ? { links: stat.nlink } : {}),
    };
  } finally {
    fs.closeSync(fd);
  }
}

function times({ mtimeMs, ctimeMs }: fs.Stats): { mtimeMs: number; ctimeMs: number } {
  return { mtimeMs, ctimeMs };
}

/** Reads what is there now; a file that shrinks or grows meanwhile is read as it is found. */
function readAll(fd: number, size: number): Buffer {
  const buffer = Buffer.allocUnsafe(size);
  let length = 0;
  while (length < size) {
    const n = fs.readSync(fd, buffer, length, size - length, length);
    if (n === 0) break;
    length += n;
  }
  return buffer.subarray(0, length);
}
