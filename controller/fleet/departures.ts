// Hosts that are known here and that git does not name. They are forgotten after a time of grace, counted by a clock
// that nobody sets, and only while git can be read: a wrong clock or a refused commit must not revoke a key.
import type { Departed, Store } from '../store/store.ts';

/** How often the time of grace is written down. */
const SAVE_MS = 600_000;

export class Departures {
  readonly #store: Store;
  readonly #graceMs: number;
  #departed = new Map<string, Departed>();
  #lastMs: number | undefined;
  #savedMs = Number.NEGATIVE_INFINITY;

  /** @param graceMs Infinity for never. */
  constructor(store: Store, graceMs: number) {
    this.#store = store;
    this.#graceMs = graceMs;
  }

  /** @throws sqlite's error */
  load(): void {
    this.#departed = new Map(this.#store.departed().map((one) => [one.host, one]));
  }

  /**
   * @param known hosts that enrolled or reported, with whether git names them; undefined while that can't be said.
   * @param monotonicMs by a clock that nobody sets.
   * @returns whose time is over.
   */
  look(known: ReadonlyMap<string, boolean> | undefined, nowMs: number, monotonicMs: number): string[] {
    const elapsed = monotonicMs - (this.#lastMs ?? monotonicMs);
    this.#lastMs = monotonicMs;
    if (known === undefined) return [];
    let isChanged = false;
    const departed = new Map<string, Departed>();
    for (const [host, isInGit] of known) {
      if (isInGit) continue;
      const before = this.#departed.get(host);
      isChanged ||= before === undefined;
      departed.set(host, {
        host,
        since: before?.since ?? nowMs,
        seenMs: (before?.seenMs ?? -elapsed) + elapsed,
      });
    }
    isChanged ||= departed.size !== this.#departed.size;
    this.#departed = departed;
    const isDue = departed.size > 0 && monotonicMs - this.#savedMs >= SAVE_MS;
    if ((isChanged || isDue) && this.#store.saveDeparted(departed.values())) this.#savedMs = monotonicMs;
    return [...departed.values()].filter((one) => one.seenMs >= this.#graceMs).map((one) => one.host);
  }
}
