// apt's lists of what there is. They are the host's, not one package's, so when they were fetched last is known once
// for all packages; and nothing is fetched while nothing has to be installed.
import { type AptIo, type UpdateResult, update } from '../apt.ts';
import type { Clock, Processes } from '../ports.ts';

/** By host; what this process did, and forgotten with it. */
const refreshes = new WeakMap<Processes, { readonly atMs: number; readonly result: UpdateResult }>();

/**
 * Fetches the lists unless that was done at most `maxAgeMs` ago.
 * @returns how the last fetch ended. @throws Waiting('DpkgLocked')
 */
export async function refresh(
  io: AptIo & { readonly clock: Clock },
  maxAgeMs: number,
  signal: AbortSignal,
): Promise<UpdateResult> {
  const last = refreshes.get(io.processes);
  if (last?.result.result === 'done' && io.clock.now() - last.atMs <= maxAgeMs) return last.result;
  const result = await update(io, [], signal);
  refreshes.set(io.processes, { atMs: io.clock.now(), result });
  return result;
}

/** The lists name what is no longer there. */
export function outdated({ processes }: AptIo): void {
  refreshes.delete(processes);
}
