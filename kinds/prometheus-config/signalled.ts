// A Prometheus that was sent SIGHUP. A signal has no answer: what came of it shows in its metrics, a moment later or, of a
// long config, some seconds. Nobody waits for that; the loop asks again, and what was seen so far is judged here.
import type { Verdict } from '../kind.ts';
import { no, unknown } from '../shared/verdicts.ts';
import type { Io, Server } from './connection.ts';
import type { Answer } from './server.ts';

interface Signalled {
  /** On the clock's monotonic scale. */
  readonly atMs: number;
  /** What it ran then; undefined when it did not answer. */
  readonly loadedAtMs: number | undefined;
  readonly wasGood: boolean;
}

/** A reload by signal takes as long as reading the config takes. */
const SIGNALLED_WITHIN_MS = 15_000;
/** What came to nothing is signalled again after this, for those who have mended it where no event says so. */
const AGAIN_AFTER_MS = 60_000;
const LOOK_AGAIN_MS = 100;
const SIGNALLED_IN_VAIN = 'it was signalled, and could not load the config: its log says why';

/** By address, of the host that these clocks and files are of. */
const signalled = new WeakMap<object, Map<string, Signalled>>();

export function noteSignal({ address }: Server, io: Io, before: Answer): void {
  const isRunning = before.state === 'running';
  const loadedAtMs = isRunning ? before.loadedAtMs : undefined;
  const of = signalled.get(io.http) ?? new Map<string, Signalled>();
  signalled.set(io.http, of);
  of.set(address, { atMs: io.clock.monotonic(), loadedAtMs, wasGood: isRunning && before.isReloadGood });
}

/** What is to be said of the last signal; undefined when that is over, or there was none. */
export function afterSignal({ address }: Server, io: Io, now: Answer): Verdict | undefined {
  const of = signalled.get(io.http);
  const last = of?.get(address);
  if (last === undefined || now.state !== 'running') return undefined;
  const verdict = judge(last, now, io.clock.monotonic() - last.atMs);
  if (verdict === undefined) of!.delete(address);
  return verdict;
}

/** Pure. */
function judge(
  last: Signalled,
  now: Extract<Answer, { state: 'running' }>,
  sinceMs: number,
): Verdict | undefined {
  if (now.loadedAtMs !== last.loadedAtMs || sinceMs >= AGAIN_AFTER_MS) return undefined;
  const isOver = sinceMs >= SIGNALLED_WITHIN_MS;
  // A failure after a failure shows in nothing until the time is over.
  if (!now.isReloadGood && (last.wasGood || isOver)) return no('ReloadRefused', SIGNALLED_IN_VAIN);
  if (!isOver) return unknown('Reloading', 'it was sent SIGHUP, and reads its config', LOOK_AGAIN_MS);
  const seconds = Math.round(SIGNALLED_WITHIN_MS / 1000);
  return no(
    'NotReloaded',
    `it was sent SIGHUP, and has not loaded its config for ${seconds} s: its log says why`,
  );
}
