// Several things that wake one resource. The first is essential: when its watch dies, the whole watch dies, and
// whoever supervises it arms it again. The others are armed again here, so that a system bus that is unreachable
// does not leave a file unwatched.
import type { Clock } from './ports.ts';

type Arm = (wake: () => void, signal: AbortSignal) => Promise<void>;

const FIRST_BACKOFF_MS = 500;
const LONGEST_BACKOFF_MS = 60_000;

/** Settles when the signal aborts; rejects when the essential watch died. */
export async function watchAll(
  clock: Clock,
  wake: () => void,
  signal: AbortSignal,
  essential: Arm,
  others: readonly Arm[],
): Promise<void> {
  const ending = new AbortController();
  const either = AbortSignal.any([signal, ending.signal]);
  const kept = others.map((arm) => keep(clock, arm, wake, either));
  try {
    await essential(wake, either);
  } finally {
    ending.abort();
    await Promise.all(kept);
  }
}

async function keep(clock: Clock, arm: Arm, wake: () => void, signal: AbortSignal): Promise<void> {
  let backoffMs = FIRST_BACKOFF_MS;
  while (!signal.aborted) {
    const armed = (): void => {
      backoffMs = FIRST_BACKOFF_MS;
      wake();
    };
    await arm(armed, signal).catch(() => undefined);
    if (signal.aborted) return;
    // Aborted meanwhile, which the loop's condition sees.
    await clock.sleep(backoffMs, signal).catch(() => undefined);
    backoffMs = Math.min(LONGEST_BACKOFF_MS, backoffMs * 2);
  }
}
