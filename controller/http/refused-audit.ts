// The audit log's share of refused enrolments: each of the first, and then one line that counts the rest. Anybody can be
// refused as often as he likes, and each entry is a transaction on the disk.
import type { Clock } from '../../kinds/ports.ts';
import type { AuditEntry } from '../store/store.ts';
import type { ErrorCode } from './errors.ts';

const ACTION = 'enroll-refused';
const WINDOW_MS = 60_000;
/** Written one by one in each window. */
const MOST = 10;

type Entry = Omit<AuditEntry, 'at'>;

export class RefusedAudit {
  readonly #audit: (entry: Entry) => void;
  readonly #clock: Pick<Clock, 'now' | 'setTimeout'>;
  #windowEnds = Number.NEGATIVE_INFINITY;
  #written = 0;
  #more = new Map<ErrorCode, number>();
  #timer: { cancel(): void } | undefined;

  constructor(audit: (entry: Entry) => void, clock: Pick<Clock, 'now' | 'setTimeout'>) {
    this.#audit = audit;
    this.#clock = clock;
  }

  refused(who: string, subject: string, code: ErrorCode): void {
    const now = this.#clock.now();
    if (now >= this.#windowEnds) {
      this.flush();
      this.#windowEnds = now + WINDOW_MS;
      this.#written = 0;
    }
    if (this.#written < MOST) {
      this.#written += 1;
      this.#audit({ who, action: ACTION, subject, detail: code });
      return;
    }
    this.#more.set(code, (this.#more.get(code) ?? 0) + 1);
    this.#timer ??= this.#clock.setTimeout(() => this.flush(), this.#windowEnds - now);
  }

  /** Writes what was only counted; at the end of a window, and of the controller. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#more.size === 0) return;
    const counts = [...this.#more].map(([code, n]) => `${n} ${code}`).join(', ');
    this.#more = new Map();
    this.#audit({ who: 'several', action: ACTION, subject: '', detail: `and more: ${counts}` });
  }
}
