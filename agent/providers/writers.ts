// Who has a file open for writing, from what the kernel shows of each process (proc(5), /proc/PID/fd and fdinfo). Node's
// file events do not tell when a writer closes.
import fs from 'node:fs';
import path from 'node:path';

/**
 * The first process that has it open for writing, as `scp (pid 7)`. Undefined where none has, and where that is not
 * shown: of other users' processes to who is not root, of those in another process namespace, on other systems.
 */
export function writerOf(file: string): string | undefined {
  const wanted = fs.statSync(file, { throwIfNoEntry: false });
  if (wanted === undefined) return undefined;
  const name = path.basename(file);
  for (const pid of entries('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const directory = `/proc/${pid}/fd`;
    if (!entries(directory).some((fd) => isWriting(pid, fd, wanted, name))) continue;
    return `${read(`/proc/${pid}/comm`).trim() || 'a process'} (pid ${pid})`;
  }
  return undefined;
}

function isWriting(pid: string, fd: string, wanted: fs.Stats, name: string): boolean {
  const link = `/proc/${pid}/fd/${fd}`;
  try {
    const target = fs.readlinkSync(link);
    if (!target.startsWith('/') || target.startsWith('/dev/')) return false; // a socket, a terminal
    const info = read(`/proc/${pid}/fdinfo/${fd}`);
    // Its last digit: 0 reads, 1 writes, 2 does both (O_ACCMODE).
    if (!/^flags:\s*\d*[12]$/m.test(info)) return false;
    // The file itself is looked at only where it may be this one: of a share that hangs it would hang, too.
    const ino = /^ino:\s*(\d+)$/m.exec(info)?.[1];
    if (ino === undefined ? path.basename(target) !== name : Number(ino) !== wanted.ino) return false;
    const opened = fs.statSync(link);
    return opened.ino === wanted.ino && opened.dev === wanted.dev;
  } catch {
    return false; // closed, or ended meanwhile
  }
}

function entries(directory: string): string[] {
  try {
    return fs.readdirSync(directory);
  } catch {
    return [];
  }
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
