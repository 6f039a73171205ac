// For how long something has failed without a break, as far as this process has seen. After a restart of the agent it
// counts anew, as alerts of Prometheus do. So it may only decide when a failure counts: what was never seen to be well
// by this process is not Ready by it.

export interface Streak {
  /** Milliseconds; 0 when it does not fail, or began to with this look. */
  readonly failingForMs: number;
  /** It was well at some look, this one included. */
  readonly wasWell: boolean;
}

interface Seen {
  readonly of: string;
  readonly sinceMs: number | undefined;
  readonly wasWell: boolean;
}

export class Streaks {
  /** By the ports of an agent, and by key: one process may run several agents. */
  readonly #seen = new WeakMap<object, Map<string, Seen>>();

  /** @param of what is looked at, where that may change: of something else it counts anew. */
  look(ports: object, key: string, fails: boolean, nowMs: number, of = ''): Streak {
    const mine = this.#seen.get(ports) ?? new Map<string, Seen>();
    this.#seen.set(ports, mine);
    const last = mine.get(key);
    const before = last?.of === of ? last : undefined;
    const sinceMs = fails ? (before?.sinceMs ?? nowMs) : undefined;
    const wasWell = !fails || before?.wasWell === true;
    mine.set(key, { of, sinceMs, wasWell });
    return { failingForMs: sinceMs === undefined ? 0 : nowMs - sinceMs, wasWell };
  }
}
