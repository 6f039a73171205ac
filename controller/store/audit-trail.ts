// The audit log's way into the store. What can't be written at the moment is kept and written later; what is
// counted is what was written.
import type { AuditEntry, Store } from './store.ts';

/** Of entries that wait. Beyond that the newest are dropped, and that is said in the log in their place. */
const MAX_WAITING = 1_000;

export class AuditTrail {
  readonly #store: Pick<Store, 'audit'>;
  readonly #onWritten: (entries: number) => void;
  #waiting: AuditEntry[] = [];
  #dropped = 0;

  constructor(store: Pick<Store, 'audit'>, onWritten: (entries: number) => void) {
    this.#store = store;
    this.#onWritten = onWritten;
  }

  record(entry: AuditEntry): void {
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push(entry);
    else this.#dropped += 1;
    this.flush();
  }

  flush(): void {
    const last = this.#waiting.at(-1);
    if (last === undefined) return;
    const gap: AuditEntry = {
      ...last,
      who: 'controller',
      action: 'audit-gap',
      subject: '',
      detail: `${this.#dropped} entries were dropped while the store could not be written`,
    };
    const entries = this.#dropped === 0 ? this.#waiting : [...this.#waiting, gap];
    if (!this.#store.audit(...entries)) return;
    this.#onWritten(entries.length);
    this.#waiting = [];
    this.#dropped = 0;
  }
}
