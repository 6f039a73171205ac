// A secret's file, read through one handle: what was judged is what is read, and nothing that could keep the agent
// waiting or fill its memory is read at all.
import fs from 'node:fs';
import path from 'node:path';
import { inWords, Stalled } from '../../api/errors.ts';
import { isAmong } from '../providers/parents.ts';

const { O_NONBLOCK, O_RDONLY } = fs.constants;
/** Far above any key, token or certificate chain. */
const MOST_BYTES = 1024 * 1024;

/**
 * @param judge gets where the file really is. @throws what it throws; Stalled('SecretMissing') for what can't be read, a
 * pipe, a device, or a file of more than 1 MiB; the value is in no message
 */
export function readSecretFile(file: string, judge: (real: string, stat: fs.Stats) => void): Buffer {
  let fd: number | undefined;
  try {
    fd = fs.openSync(file, O_RDONLY | O_NONBLOCK);
    const stat = fs.fstatSync(fd);
    judge(placeOf(fd, file), stat);
    if (!stat.isFile()) throw new Error(`${file} is no regular file`);
    if (stat.size > MOST_BYTES)
      throw new Error(`${file} has ${stat.size} bytes; a secret has at most ${MOST_BYTES}`);
    const bytes = Buffer.alloc(stat.size);
    return withoutLastNewline(bytes.subarray(0, fs.readSync(fd, bytes, 0, stat.size, 0)));
  } catch (error) {
    if (error instanceof Stalled) throw error;
    throw new Stalled('SecretMissing', `the secret's file can't be read: ${inWords(error)}`);
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

function placeOf(fd: number, file: string): string {
  return process.platform === 'linux' ? fs.readlinkSync(`/proc/self/fd/${fd}`) : fs.realpathSync.native(file);
}

/** Whether a file is one of these, or in one of these directories, whatever its name. */
export function isOneOf(paths: readonly string[], real: string, stat: fs.Stats): boolean {
  return paths.some((own) => {
    const place = realPath(own);
    if (real === place || real.startsWith(`${place}/`)) return true;
    return stat.nlink > 1 && isAmong([place], stat);
  });
}

/** Where symbolic links lead; the path itself where there is nothing. */
function realPath(file: string): string {
  try {
    return fs.realpathSync(file);
  } catch {
    return path.resolve(file);
  }
}

/** A newline at the end is the editor's, not the secret's. */
export function withoutLastNewline(bytes: Buffer): Buffer {
  if (bytes.at(-1) !== 0x0a) return bytes;
  return bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1);
}
