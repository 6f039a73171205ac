// What the agents say of themselves: a summary of each in memory, the whole of it in the store. Statuses are
// written in batches; the last seconds of them may be lost with the process, since agents repeat themselves.
import { type HostReport, reportOf } from '../../api/health.ts';
import { AgentStatus } from '../../api/status.ts';
import type { Store, StoredStatus } from '../store/store.ts';

/** What the fleet page, the metrics and the states are made from. */
export interface StatusSummary {
  readonly host: string;
  /** Unix milliseconds. */
  readonly receivedAt: number;
  readonly sequence: AgentStatus['sequence'];
  readonly commit: AgentStatus['commit'];
  readonly version: string;
  readonly kinds: readonly string[];
  readonly platform: string;
  readonly report: HostReport;
}

/** A report that was not taken, from a host that is known to have sent it. */
export interface Refusal {
  /** Unix milliseconds. */
  readonly at: number;
  readonly reason: string;
}

function summarise(status: AgentStatus, receivedAt: number): StatusSummary {
  return {
    host: status.host,
    receivedAt,
    sequence: status.sequence,
    commit: status.commit,
    version: status.agent.version,
    kinds: status.agent.kinds,
    platform: status.agent.platform,
    report: reportOf(status),
  };
}

export class Statuses {
  readonly #store: Store;
  readonly #summaries = new Map<string, StatusSummary>();
  readonly #refusals = new Map<string, Refusal>();
  readonly #unsaved = new Map<string, StoredStatus>();

  constructor(store: Store) {
    this.#store = store;
  }

  load(): void {
    for (const host of this.#summaries.keys()) if (!this.#unsaved.has(host)) this.#summaries.delete(host);
    for (const { host, receivedAt, text } of this.#store.statuses()) {
      const status = parse(text);
      // One that an earlier version wrote and this one can't read: the host reports again within its heartbeat.
      if (status !== undefined && !this.#summaries.has(host))
        this.#summaries.set(host, summarise(status, receivedAt));
    }
  }

  forget(host: string): void {
    this.#summaries.delete(host);
    this.#refusals.delete(host);
    this.#unsaved.delete(host);
  }

  /** Whose status another process removed from the store. */
  removed(): string[] {
    const stored = this.#store.statusHosts();
    if (stored === undefined) return [];
    return [...this.#summaries.keys()].filter((host) => !stored.has(host) && !this.#unsaved.has(host));
  }

  record(status: AgentStatus, text: string, receivedAt: number): StatusSummary {
    const summary = summarise(status, receivedAt);
    this.#summaries.set(status.host, summary);
    this.#refusals.delete(status.host);
    this.#unsaved.set(status.host, { host: status.host, receivedAt, text });
    return summary;
  }

  /** @returns whether this is another reason than before. */
  refuse(host: string, reason: string, at: number): boolean {
    const before = this.#refusals.get(host);
    this.#refusals.set(host, { at, reason });
    return before?.reason !== reason;
  }

  /** Why the newest report was not taken, if so. */
  refusal(host: string): Refusal | undefined {
    return this.#refusals.get(host);
  }

  summary(host: string): StatusSummary | undefined {
    return this.#summaries.get(host);
  }

  all(): IterableIterator<StatusSummary> {
    return this.#summaries.values();
  }

  whole(host: string): AgentStatus | undefined {
    const stored = this.#unsaved.get(host) ?? this.#store.status(host);
    return stored === undefined ? undefined : parse(stored.text);
  }

  /**
   * Writes some of what is new; what could not be written is kept for the next time.
   * @returns whether there is more that can be written.
   */
  flush(most: number): boolean {
    if (this.#unsaved.size === 0) return false;
    const batch = [...this.#unsaved.values()].slice(0, most);
    if (!this.#store.saveStatuses(batch)) return false;
    for (const { host } of batch) this.#unsaved.delete(host);
    return this.#unsaved.size > 0;
  }
}

function parse(text: string): AgentStatus | undefined {
  try {
    return AgentStatus.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
