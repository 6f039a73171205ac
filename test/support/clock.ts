// A clock that stands still until a test moves it.
import { systemClock } from '../../agent/providers/clock.ts';
import type { Clock } from '../../kinds/ports.ts';

interface Timer {
  readonly at: number;
  readonly callback: () => void;
}

export class FakeClock implements Clock {
  #now: number;
  #timers = new Set<Timer>();

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#now = startMs;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  setTimeout(callback: () => void, ms: number): { cancel(): void } {
    const timer: Timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.setTimeout(resolve, ms);
      signal?.addEventListener('abort', () => {
        timer.cancel();
        reject(signal.reason);
      });
    });
  }

  /** Timers that wait, as milliseconds from now, soonest first. */
  pending(): number[] {
    return [...this.#timers].map((t) => t.at - this.#now).sort((a, b) => a - b);
  }

  /** Moves on by `ms`, firing what falls due in its order, and lets what follows from each run. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const next = [...this.#timers].filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
    }
    this.#now = end;
    await settle();
  }
}

/** A clock that runs faster: what takes minutes is tested in a second, in the order in which it happens. */
export function fastClock(times: number): Clock {
  const began = systemClock.monotonic();
  const startMs = systemClock.now();
  const elapsed = (): number => (systemClock.monotonic() - began) * times;
  return {
    now: () => startMs + elapsed(),
    monotonic: elapsed,
    setTimeout: (callback, ms) => systemClock.setTimeout(callback, ms / times),
    sleep: (ms, signal) => systemClock.sleep(ms / times, signal),
  };
}

/** Lets everything that is due in this turn of the event loop run. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}
