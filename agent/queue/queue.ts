// The work queue. Its promises are the names of the tests in test/unit/agent/queue.test.ts.
//
// There are two lanes. Events and people come first, so that a heal never waits behind a thousand new files: the fast
// lane is looked at in the same turn of the event loop, the slow one in turns of its own (turns.ts), since many passes
// are synchronous up to their first flush and no event is read meanwhile.
import type { Clock } from '../../kinds/ports.ts';
import { Turns } from './turns.ts';

/**
 * What made a pass necessary; `resync` alone means that no watch saw it. `armed`: a watch has just begun, and nobody
 * knows what happened before.
 */
export type Cause = 'watch' | 'armed' | 'resync' | 'bundle' | 'dependency' | 'retry' | 'request';

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
  /** Shared with passes that ask for a turn of their own before they block the process. */
  readonly turns?: Turns;
  readonly backoff?: { readonly baseMs: number; readonly maxMs: number };
}

interface Pending {
  readonly causes: Set<Cause>;
  wokenAt: number;
}

interface Running {
  readonly locks: readonly string[];
  readonly isSlow: boolean;
  readonly beganAt: number;
  readonly done: Promise<void>;
}

/** Events and people. A retry is no event: what made it necessary has been tried already. */
const FAST: ReadonlySet<Cause> = new Set(['watch', 'request']);
const NO_EVENT: ReadonlySet<Cause> = new Set(['resync', 'bundle', 'dependency', 'retry', 'request']);
/** A key that fails is looked at after an event in this time, however long its backoff is by then. */
const EVENTS_WAIT_AT_MOST_MS = 30_000;

export class Queue {
  readonly #options: QueueOptions;
  readonly #turns: Turns;
  readonly #slowLimit: number;
  // Insertion order is the order of work. A key is in one of these three.
  readonly #fast = new Map<string, Pending>();
  readonly #slow = new Map<string, Pending>();
  readonly #held = new Map<string, { readonly pending: Pending; readonly timer?: { cancel(): void } }>();
  readonly #running = new Map<string, Running>();
  readonly #delayed = new Map<string, { readonly dueAt: number; readonly timer: { cancel(): void } }>();
  readonly #failures = new Map<string, { readonly count: number; readonly eventsFrom: number }>();
  #idle: (() => void)[] = [];
  #stopped = true;
  #fastScheduled = false;
  #slowScheduled = false;

  constructor(options: QueueOptions) {
    this.#options = options;
    this.#turns = options.turns ?? new Turns(() => options.clock.monotonic());
    const { concurrency } = options;
    // A quarter of the workers is kept free for events.
    this.#slowLimit = Math.max(1, concurrency - Math.ceil(concurrency / 4));
  }

  /** Keys that wait for a worker; what is delayed or waits out its backoff is not counted. */
  get depth(): number {
    return this.#fast.size + this.#slow.size;
  }

  /** How long the oldest of the running passes has been running, milliseconds; undefined when none runs. */
  oldestPassAgeMs(): number | undefined {
    // A map keeps the order in which the passes began.
    const [oldest] = this.#running.values();
    return oldest && this.#options.clock.monotonic() - oldest.beganAt;
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
    for (const { timer } of [...this.#delayed.values(), ...this.#held.values()]) timer?.cancel();
    for (const keys of [this.#delayed, this.#held, this.#fast, this.#slow]) keys.clear();
    this.#checkIdle();
    await Promise.all([...this.#running.values()].map((r) => r.done));
  }

  add(key: string, cause: Cause): void {
    this.#enqueue(key, { causes: new Set([cause]), wokenAt: this.#options.clock.monotonic() });
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

  /**
   * Adds the key after its next backoff. Until then an event alone does not bring it back, since a pass that fails may
   * cause such events itself. @returns the delay, milliseconds.
   */
  addRateLimited(key: string): number {
    const { clock, random, backoff } = this.#options;
    const { baseMs, maxMs } = backoff ?? { baseMs: 200, maxMs: 300_000 };
    const count = this.#failures.get(key)?.count ?? 0;
    const full = Math.min(maxMs, baseMs * 2 ** Math.min(count, 30));
    const ms = Math.round(full * (0.75 + 0.5 * random()));
    this.addAfter(key, 'retry', ms);
    const eventsFrom = clock.monotonic() + Math.min(ms, EVENTS_WAIT_AT_MOST_MS);
    this.#failures.set(key, { count: count + 1, eventsFrom });
    return ms;
  }

  /** The key succeeded (or is parked): its next failure backs off from the beginning, and its events count at once. */
  forget(key: string): void {
    this.#failures.delete(key);
    const held = this.#released(key);
    if (held !== undefined) this.#enqueue(key, held);
  }

  /** The key is gone: neither pending nor delayed any more. */
  remove(key: string): void {
    this.#failures.delete(key);
    this.#released(key);
    this.#fast.delete(key);
    this.#slow.delete(key);
    this.#delayed.get(key)?.timer.cancel();
    this.#delayed.delete(key);
    this.#checkIdle();
  }

  /** Resolves when nothing runs and nothing is ready; what is delayed or waits out its backoff does not count. */
  async idle(): Promise<void> {
    if (this.#isIdle()) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Joins what waits for the key already; in a lane it keeps its place, unless it moves to the fast one. */
  #enqueue(key: string, added: Pending): void {
    if (this.#stopped) return;
    const pending = this.#fast.get(key) ?? this.#slow.get(key) ?? this.#released(key) ?? added;
    if (pending !== added) {
      for (const cause of added.causes) pending.causes.add(cause);
      pending.wokenAt = Math.min(pending.wokenAt, added.wokenAt);
    }
    if (hasOneOf(FAST, pending.causes)) {
      this.#slow.delete(key);
      this.#fast.set(key, pending);
    } else {
      this.#slow.set(key, pending);
    }
    this.#schedule();
  }

  /** What waited out the key's backoff, and does no more. */
  #released(key: string): Pending | undefined {
    const held = this.#held.get(key);
    held?.timer?.cancel();
    this.#held.delete(key);
    return held?.pending;
  }

  #schedule(): void {
    if (this.#fastScheduled || this.#stopped) return;
    this.#fastScheduled = true;
    // Not queueMicrotask: Node makes an asynchronous resource for each of those.
    void Promise.resolve().then(() => {
      this.#fastScheduled = false;
      this.#dispatchFast();
    });
  }

  #dispatchFast(): void {
    if (this.#stopped) return;
    for (const [key, pending] of this.#fast) {
      if (this.#running.has(key) || this.#holdBack(key, pending)) continue;
      // The slow lane always moves: one worker is its own.
      const kept = this.#options.concurrency > 1 && this.#slow.size > 0 && this.#slowRunning() === 0 ? 1 : 0;
      if (this.#running.size >= this.#options.concurrency - kept) break;
      this.#tryToStart(key, pending, false);
    }
    this.#scheduleSlow();
    this.#checkIdle();
  }

  /** Before each pass it asks for a turn, so that the event loop reads what has happened. */
  #scheduleSlow(): void {
    if (this.#slowScheduled || this.#slow.size === 0) return;
    this.#slowScheduled = true;
    void this.#turns.next().then(() => {
      this.#slowScheduled = false;
      if (!this.#stopped && this.#startSlow()) this.#scheduleSlow();
    });
  }

  /** @returns whether a pass began */
  #startSlow(): boolean {
    if (this.#running.size >= this.#options.concurrency || this.#slowRunning() >= this.#slowLimit)
      return false;
    const waitedFor = [...this.#fast.keys()].flatMap((key) =>
      this.#running.has(key) ? [] : this.#options.locksOf(key),
    );
    for (const [key, pending] of this.#slow) {
      if (!this.#running.has(key) && this.#tryToStart(key, pending, true, waitedFor)) return true;
    }
    return false;
  }

  /** An event alone waits until a key that fails has waited out its backoff. @returns whether it does */
  #holdBack(key: string, pending: Pending): boolean {
    const { clock } = this.#options;
    const eventsFrom = this.#failures.get(key)?.eventsFrom;
    if (eventsFrom === undefined) return false;
    const ms = eventsFrom - clock.monotonic();
    if (hasOneOf(NO_EVENT, pending.causes) || ms <= 0) return false;
    this.#fast.delete(key);
    const delayed = this.#delayed.get(key);
    // Joined by the retry, where that comes as soon: one pass, not two.
    if (delayed !== undefined && delayed.dueAt <= eventsFrom) this.#held.set(key, { pending });
    else {
      const timer = clock.setTimeout(() => this.#enqueue(key, pending), ms);
      this.#held.set(key, { pending, timer });
    }
    return true;
  }

  /** @param waitedFor locks that are not held and yet not free. @returns whether the pass began */
  #tryToStart(key: string, pending: Pending, isSlow: boolean, waitedFor: readonly string[] = []): boolean {
    const locks = this.#options.locksOf(key);
    if (this.#overlap(locks, waitedFor)) return false;
    for (const running of this.#running.values()) if (this.#overlap(locks, running.locks)) return false;
    (isSlow ? this.#slow : this.#fast).delete(key);
    const beganAt = this.#options.clock.monotonic();
    const done = this.#options.work({ key, ...pending }).finally(() => {
      this.#running.delete(key);
      this.#schedule();
      this.#checkIdle();
    });
    this.#running.set(key, { locks, isSlow, beganAt, done });
    return true;
  }

  #overlap(a: readonly string[], b: readonly string[]): boolean {
    return a.some((x) => b.some((y) => this.#options.locksOverlap(x, y)));
  }

  #slowRunning(): number {
    let count = 0;
    for (const { isSlow } of this.#running.values()) if (isSlow) count += 1;
    return count;
  }

  #isIdle(): boolean {
    return this.#running.size === 0 && this.depth === 0;
  }

  #checkIdle(): void {
    if (!this.#isIdle()) return;
    const waiters = this.#idle;
    this.#idle = [];
    for (const resolve of waiters) resolve();
  }
}

function hasOneOf(those: ReadonlySet<Cause>, causes: ReadonlySet<Cause>): boolean {
  for (const cause of causes) if (those.has(cause)) return true;
  return false;
}
