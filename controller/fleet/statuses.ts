// What the agents say of themselves: a summary of each in memory, the whole of it in the store. Statuses are
// written in batches; the last seconds of them may be lost with the process, since agents repeat themselves.
import { type AgentStatus, findCondition, isTrue } from '../../api/status.ts';
import type { Store, StoredStatus } from '../store/store.ts';

/** What the fleet page, the metrics and the states are made from. */
export interface StatusSummary {
  readonly host: string;
  /** Unix milliseconds. */
  readonly receivedAt: number;
  readonly mode: AgentStatus['mode'];
  readonly sequence: AgentStatus['sequence'];
  readonly commit: AgentStatus['commit'];
  readonly version: string;
  readonly platform: string;
  readonly resources: { readonly total: number; readonly ready: number; readonly drifted: number };
  readonly healedTotal: number;
  /** Keys of what was undone and is kept from being tried again. */
  readonly rolledBack: readonly string[];
  /** Keys of what is broken, with the reason. */
  readonly failed: readonly string[];
  /** Keys of what is being worked on. */
  readonly busy: readonly string[];
  readonly suspended: number;
  readonly contended: number;
  /** The agent's own conditions, with their status. */
  readonly conditions: Readonly<Record<string, 'True' | 'False' | 'Unknown'>>;
}

/** Reasons for which a resource isn't Ready yet, and nothing is wrong. */
const IN_PROGRESS = new Set(['Pending', 'Progressing', 'Reconciling', 'Dependency', 'Waiting', 'Suspended']);

export function summarise(status: AgentStatus, receivedAt: number): StatusSummary {
  const rolledBack: string[] = [];
  const failed: string[] = [];
  const busy: string[] = [];
  let ready = 0;
  for (const { key, conditions } of status.resources) {
    const condition = findCondition(conditions, 'Ready');
    if (condition?.status === 'True') ready++;
    else if (condition?.reason === 'RolledBack') rolledBack.push(key);
    else if (condition?.status === 'False' && !IN_PROGRESS.has(condition.reason))
      failed.push(`${key} (${condition.reason})`);
    else busy.push(key);
  }
  return {
    host: status.host,
    receivedAt,
    mode: status.mode,
    sequence: status.sequence,
    commit: status.commit,
    version: status.agent.version,
    platform: status.agent.platform,
    resources: {
      total: status.resources.length,
      ready,
      drifted: status.resources.filter((r) => r.drift.length > 0).length,
    },
    healedTotal: status.resources.reduce((sum, r) => sum + r.healedTotal, 0),
    rolledBack,
    failed,
    busy,
    suspended: status.resources.filter((r) => isTrue(r.conditions, 'Suspended')).length,
    contended: status.resources.filter((r) => isTrue(r.conditions, 'Contended')).length,
    conditions: Object.fromEntries(status.conditions.map((c) => [c.type, c.status])),
  };
}

export class Statuses {
  readonly #store: Store;
  readonly #summaries = new Map<string, StatusSummary>();
  #unsaved = new Map<string, StoredStatus>();

  constructor(store: Store) {
    this.#store = store;
  }

  load(): void {
    for (const { host, receivedAt, text } of this.#store.statuses()) {
      this.#summaries.set(host, summarise(JSON.parse(text) as AgentStatus, receivedAt));
    }
  }

  record(status: AgentStatus, text: string, receivedAt: number): StatusSummary {
    const summary = summarise(status, receivedAt);
    this.#summaries.set(status.host, summary);
    this.#unsaved.set(status.host, { host: status.host, receivedAt, text });
    return summary;
  }

  summary(host: string): StatusSummary | undefined {
    return this.#summaries.get(host);
  }

  all(): IterableIterator<StatusSummary> {
    return this.#summaries.values();
  }

  whole(host: string): AgentStatus | undefined {
    const stored = this.#unsaved.get(host) ?? this.#store.status(host);
    return stored === undefined ? undefined : (JSON.parse(stored.text) as AgentStatus);
  }

  /** Writes what is new; what could not be written is kept for the next time. */
  flush(): void {
    if (this.#unsaved.size === 0) return;
    const batch = this.#unsaved;
    this.#unsaved = new Map();
    if (this.#store.saveStatuses(batch.values())) return;
    for (const [host, status] of batch) if (!this.#unsaved.has(host)) this.#unsaved.set(host, status);
  }
}
