// For how long something has failed without a break, as far as this process has seen. After a restart of the agent it
// counts anew, as alerts of Prometheus do: so it may only decide between "not yet" and "no", never yes.

export class Streaks {
  /** By the ports of an agent, and by key: one process may run several agents. */
  readonly #since = new WeakMap<object, Map<string, number>>();

  /** @returns milliseconds; 0 when it does not fail, or began to with this look. */
  failingForMs(ports: object, key: string, fails: boolean, nowMs: number): number {
    const mine = this.#since.get(ports) ?? new Map<string, number>();
    this.#since.set(ports, mine);
    const sinceMs = mine.get(key) ?? nowMs;
    if (fails) mine.set(key, sinceMs);
    else mine.delete(key);
    return fails ? nowMs - sinceMs : 0;
  }
}
