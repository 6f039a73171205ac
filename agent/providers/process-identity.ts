// Whether a process id still means the process that was meant: ids are used again, their start times are not.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { errnoOf } from '../../api/errors.ts';

/**
 * When a process started, as text that only that process has: kernel ticks since boot on Linux (proc(5), field
 * 22 of stat, with the boot's id), `ps -o lstart` elsewhere. undefined: there is no such process, or a zombie.
 */
export function startTimeOf(pid: number): string | undefined {
  if (pid <= 0) return undefined;
  if (process.platform !== 'linux') return startTimeFromPs(pid);
  const fields = statOf(pid);
  if (fields === undefined || fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return `${bootID()}/${fields[19]}`;
}

/** Whether a process was stopped by a signal, and does nothing until SIGCONT; false where that can't be told. */
export function isStoppedBySignal(pid: number): boolean {
  return pid > 0 && process.platform === 'linux' && statOf(pid)?.[0] === 'T';
}

/** Path of the program that a process runs, where another file stands there by now; proc(5), exe. */
export function replacedProgram(pid: number): string | undefined {
  if (pid <= 0 || process.platform !== 'linux') return undefined;
  try {
    const link = fs.readlinkSync(`/proc/${pid}/exe`);
    const program = /^(.*?)(?:\.dpkg-(?:tmp|new))? \(deleted\)$/s.exec(link)?.[1];
    return program !== undefined && fs.existsSync(program) ? program : undefined;
  } catch {
    return undefined; // it has just ended, or is another account's
  }
}

/** proc(5), cmdline; undefined where there is no such process, or none that we may see. */
export function commandLineOf(pid: number): string[] | undefined {
  if (pid <= 0) return undefined;
  try {
    const words = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
    return words.length === 0 ? undefined : words;
  } catch {
    return undefined;
  }
}

/** proc(5), stat from field 3 on; undefined where there is no such process. */
function statOf(pid: number): string[] | undefined {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name, in parentheses, may hold spaces and parentheses itself; field 3 follows the last ')'.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

function startTimeFromPs(pid: number): string | undefined {
  try {
    const options = { encoding: 'utf8', timeout: 5000, env: { LC_ALL: 'C', PATH: '/bin:/usr/bin' } } as const;
    const [state, ...started] = execFileSync('ps', ['-o', 'state=,lstart=', '-p', String(pid)], options)
      .trim()
      .split(/\s+/);
    return state === undefined || state.startsWith('Z') ? undefined : started.join(' ');
  } catch {
    return undefined;
  }
}

/** systemd's units that a process runs in, by its control group (cgroups(7)); none where that can't be told. */
export function unitsOf(pid: number | 'self'): string[] {
  try {
    const groups = fs.readFileSync(`/proc/${pid}/cgroup`, 'utf8');
    return [...new Set([...groups.matchAll(/\/([^/\n]+\.service)(?=\/|$)/gm)].map(([, unit]) => unit!))];
  } catch {
    return [];
  }
}

let boot: string | undefined;
function bootID(): string {
  boot ??= fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return boot;
}

/** Processes whose environment holds this entry; Linux only, and only those that we may look into. */
export function processesWithEnvironment(entry: string): number[] {
  if (process.platform !== 'linux') return [];
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return fs.readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(entry);
      } catch {
        return false;
      }
    });
}

/** Whether any process of a group is left, zombies included. */
export function groupExists(pgid: number): boolean {
  try {
    process.kill(-pgid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Signals a whole group; one that is gone is fine (macOS says EPERM where only zombies are left). */
export function signalGroup(pgid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pgid, signal);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno !== 'ESRCH' && errno !== 'EPERM') throw error;
  }
}
