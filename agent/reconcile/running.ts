// The passes that run, and what ends those that run for too long. There is one timer for all of them, which outlives
// them: to make and end one for each pass took as long as a heal's reading of its file (docs/performance.md).
import type { Clock } from '../../kinds/ports.ts';

export class RunningPasses {
  readonly #clock: Pick<Clock, 'setTimeout' | 'monotonic'>;
  readonly #timeoutMs: number;
  readonly #stopping: AbortSignal;
  /** When each is to end, the first that began first. */
  readonly #dueAt = new Map<AbortController, number>();
  #timer: { cancel(): void } | undefined;

  /** @param stopping ends them all, and those that begin after it */
  constructor(clock: Pick<Clock, 'setTimeout' | 'monotonic'>, timeoutMs: number, stopping: AbortSignal) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#stopping = stopping;
    stopping.addEventListener('abort', () => {
      this.#timer?.cancel();
      for (const abort of this.#dueAt.keys()) abort.abort(stopping.reason);
    });
  }

  /**
   * Signals that are combined of others cost more than all the rest of a pass that finds nothing, and a listener for
   * each pass is not cheap either: so each has a controller of its own.
   * @param nowMs on the clock's monotonic scale
   */
  begin(nowMs: number): AbortController {
    const abort = new AbortController();
    if (this.#stopping.aborted) {
      abort.abort(this.#stopping.reason);
      return abort;
    }
    this.#dueAt.set(abort, nowMs + this.#timeoutMs);
    this.#timer ??= this.#clock.setTimeout(() => this.#endOverdue(), this.#timeoutMs);
    return abort;
  }

  ended(abort: AbortController): void {
    this.#dueAt.delete(abort);
  }

  #endOverdue(): void {
    this.#timer = undefined;
    const now = this.#clock.monotonic();
    for (const [abort, dueAt] of this.#dueAt) {
      if (dueAt > now) {
        this.#timer = this.#clock.setTimeout(() => this.#endOverdue(), dueAt - now);
        return;
      }
      abort.abort();
    }
  }
}
