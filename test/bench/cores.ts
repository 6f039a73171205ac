// Whoever looks for what others do should not take their processor. The kernel wakes a process on the core of the one
// that woke it where two cores share no cache (most virtual machines), even if another is idle: a keeper that is woken
// by a tamperer's write would run on the tamperer's core, and the tamperer would see what it did only when it sleeps
// again, its log written and all. That measures the sum of two programs, and no latency of either.
import { spawnSync } from 'node:child_process';
import os from 'node:os';

/**
 * This process on the first core, those on the others.
 * @returns what undoes it for this process; undefined where there is but one core, or no taskset(1)
 */
export function onCoresOfTheirOwn(pids: readonly number[]): (() => void) | undefined {
  const cores = os.cpus().length;
  if (cores < 2 || !pin(process.pid, '0')) return undefined;
  for (const pid of pids) pin(pid, `1-${cores - 1}`);
  return () => void pin(process.pid, `0-${cores - 1}`);
}

/** All threads of a process. */
function pin(pid: number, cores: string): boolean {
  return spawnSync('taskset', ['-a', '-p', '-c', cores, String(pid)], { stdio: 'ignore' }).status === 0;
}
