// The work queue. Its promises, which test/unit/agent/queue.test.ts states one by one: a key that is added
// often before it is worked on is worked on once; a key is never worked on twice at a time; a key that is added
// while it is being worked on is worked on again afterwards; keys whose locks overlap never run together;
// failures come back with exponential backoff and jitter, key by key.
import type { Clock } from '../../kinds/ports.ts';

/** What made a pass necessary; `resync` alone means that no watch saw it. */
export type Cause = 'watch' | 'resync' | 'bundle' | 'dependency' | 'retry' | 'request';

export interface Item {
  readonly key: string;
  readonly causes: ReadonlySet<Cause>;
  /** When the first of the causes came, on the clock's monotonic scale. */
  readonly wokenAt: number;
}

export interface QueueOptions {
  readonly clock: Clock;
  readonly concurrency: number;
  /** Does one pass; must not throw (it is the pass that knows what an error means). */
  readonly work: (item: Item) => Promise<void>;
  readonly locksOf: (key: string) => readonly string[];
  readonly locksOverlap: (a: string, b: string) => boolean;
  /** In [0, 1); for the jitter. */
  readonly random: () => number;
  readonly backoff?: { readonly baseMs: number; readonly maxMs: number };
}

interface Pending {
  causes: Set<Cause>;
  wokenAt: number;
}

interface Running {
  readonly locks: readonly string[];
  readonly done: Promise<void>;
  readonly beganAt: number;
}

export class Queue {
  readonly #options: QueueOptions;
  readonly #ready = new Map<string, Pending>(); // insertion order is the order of work
  readonly #running = new Map<string, Running>();
  readonly #delayed = new Map<string, { readonly dueAt: number; readonly timer: { cancel(): void } }>();
  readonly #failures = new Map<string, number>();
  #idle: (() => void)[] = [];
  #stopped = true;
  #scheduled = false;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  /** Keys that wait for a worker, delayed ones not counted. */
  get depth(): number {
    return this.#ready.size;
  }

  /** How long the pass over this key has run, milliseconds; undefined when none runs. */
  runningMs(key: string): number | undefined {
    const running = this.#running.get(key);
    return running === undefined ? undefined : this.#options.clock.monotonic() - running.beganAt;
  }

  start(): void {
    this.#stopped = false;
    this.#schedule();
  }

  /** Takes up no more keys; resolves when the running passes have ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const { timer } of this.#delayed.values()) timer.cancel();
    this.#delayed.clear();
    this.#ready.clear();
    await Promise.all([...this.#running.values()].map((r) => r.done));
  }

  add(key: string, cause: Cause): void {
    this.#addWoken(key, cause, this.#options.clock.monotonic());
  }

  /** Adds the key in `ms`, unless it is to come sooner anyway. */
  addAfter(key: string, cause: Cause, ms: number): void {
    if (this.#stopped) return;
    const { clock } = this.#options;
    const dueAt = clock.monotonic() + ms;
    const earlier = this.#delayed.get(key);
    if (earlier !== undefined) {
      if (earlier.dueAt <= dueAt) return;
      earlier.timer.cancel();
    }
    const timer = clock.setTimeout(() => {
      this.#delayed.delete(key);
      this.add(key, cause);
    }, ms);
    this.#delayed.set(key, { dueAt, timer });
  }

  /** Adds the key after its next backoff. @returns the delay, milliseconds. */
  addRateLimited(key: string): number {
    const { baseMs, maxMs } = this.#options.backoff ?? { baseMs: 200, maxMs: 300_000 };
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    const full = Math.min(maxMs, baseMs * 2 ** Math.min(failures, 30));
    const ms = Math.round(full * (0.75 + 0.5 * this.#options.random()));
    this.addAfter(key, 'retry', ms);
    return ms;
  }

  /** The key succeeded (or is parked): its next failure backs off from the beginning. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** The key is gone: neither pending nor delayed any more. */
  remove(key: string): void {
    this.forget(key);
    this.#ready.delete(key);
    this.#delayed.get(key)?.timer.cancel();
    this.#delayed.delete(key);
    this.#checkIdle();
  }

  /** Resolves when nothing runs and nothing is ready; what is delayed does not count. */
  async idle(): Promise<void> {
    if (this.#isIdle()) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #addWoken(key: string, cause: Cause, wokenAt: number): void {
    if (this.#stopped) return;
    const pending = this.#ready.get(key);
    if (pending !== undefined) {
      pending.causes.add(cause);
      return;
    }
    this.#ready.set(key, { causes: new Set([cause]), wokenAt });
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#stopped) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#dispatch();
    });
  }

  #dispatch(): void {
    if (this.#stopped) return;
    for (const [key, pending] of this.#ready) {
      if (this.#running.size >= this.#options.concurrency) return;
      if (this.#running.has(key)) continue;
      const locks = this.#options.locksOf(key);
      if (this.#isLocked(locks)) continue;
      this.#ready.delete(key);
      const item: Item = { key, causes: pending.causes, wokenAt: pending.wokenAt };
      const done = this.#options.work(item).finally(() => {
        this.#running.delete(key);
        this.#schedule();
        this.#checkIdle();
      });
      this.#running.set(key, { locks, done, beganAt: this.#options.clock.monotonic() });
    }
  }

  #isLocked(locks: readonly string[]): boolean {
    if (locks.length === 0) return false;
    for (const running of this.#running.values()) {
      if (running.locks.some((held) => locks.some((asked) => this.#options.locksOverlap(held, asked))))
        return true;
    }
    return false;
  }

  #isIdle(): boolean {
    return this.#running.size === 0 && this.#ready.size === 0;
  }

  #checkIdle(): void {
    if (!this.#isIdle()) return;
    const waiters = this.#idle;
    this.#idle = [];
    for (const resolve of waiters) resolve();
  }
}
