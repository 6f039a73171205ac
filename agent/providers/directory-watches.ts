// File events. A watched path hangs on every directory on its way (path-steps.ts), under the name of the entry that
// is looked up there: so a change of the file, of a link, of a directory above it or of where any link leads wakes.
// One watch a directory sees every change of what is in it, attributes included, costs one inotify watch however many
// paths lead through it, and survives the file being replaced (docs/decisions/0002-raw-file-events.md).
//
// Where the system has no watch left to give (ENOSPC, EMFILE), the paths that lead through a directory are polled
// until it has one again: drift is then seen within seconds instead of milliseconds.
import path from 'node:path';
import { errnoOf } from '../../api/errors.ts';
import type { Clock } from '../../kinds/ports.ts';
import { fitsGlob } from '../../kinds/shared/pattern.ts';
import { systemClock } from './clock.ts';
import { isSame, keyOf, lookAt, type Step, type Way, WILDCARD, wayTo } from './path-steps.ts';
import { firstOf, onAbort } from './waits.ts';
import { type DirectoryWatcher, ready, watchDirectory } from './watch-directory.ts';

/** One lstat a path, and one for each directory on the way; 1,000 paths take some milliseconds. */
const POLL_MS = 2_000;
/** How often a watch is asked for again. */
const RETRY_MS = 30_000;
const EXHAUSTED = ['ENOSPC', 'EMFILE', 'ENFILE'];
/**
 * Directories whose entries the system itself keeps from changing. On a Mac a watch of one is a watch of all that is
 * below it, which would be every file event of the machine.
 */
const UNCHANGING = process.platform === 'darwin' ? ['/', '/private'] : [];

interface Watched {
  readonly directory: string;
  /** By which it reports itself. */
  readonly name: string;
  readonly identity: string;
  /** Undefined while it is polled. */
  watcher: DirectoryWatcher | undefined;
  /** Settles when it is watched or polled, or can't be, for however many ask. */
  armed: Promise<void>;
  /** It is watched, and has been since that was settled. */
  isArmed: boolean;
  /** Why it can't be watched: the agent may not read it. */
  error: Error | undefined;
  /** By the entry's name, so that an event among a thousand files finds its own. */
  readonly subscriptions: Map<string, Set<Subscription>>;
  /** Those of the names that stand for several. */
  readonly patterns: Set<string>;
}

interface Subscription {
  /** The path that somebody cares about. */
  readonly target: string;
  readonly follow: boolean;
  readonly wake: () => void;
  readonly fail: (error: Error) => void;
  /** The way that it hangs on now, and its key. */
  way: Way;
  key: string;
  /** Nobody cares any more. */
  ended: boolean;
  /** What stood on the way when it was polled last; undefined while no part of it is polled. */
  seen: string | undefined;
}

export interface DirectoryWatchesOptions {
  /** The directories that are polled now, whenever that changes. */
  readonly onPolling?: (directories: readonly string[]) => void;
  readonly clock?: Pick<Clock, 'setTimeout' | 'monotonic'>;
  /** For tests. */
  readonly open?: typeof watchDirectory;
}

export class DirectoryWatches {
  readonly #watched = new Map<string, Watched>();
  readonly #options: DirectoryWatchesOptions;
  readonly #clock: Pick<Clock, 'setTimeout' | 'monotonic'>;
  #poll: { cancel(): void } | undefined;
  #retryAt = 0;

  constructor(options: DirectoryWatchesOptions = {}) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Directories watched now; for metrics and tests. */
  get size(): number {
    return this.#watched.size;
  }

  /** Directories that are polled, since there was no watch left for them. */
  get polled(): string[] {
    return this.#unwatched().map((w) => w.directory);
  }

  /**
   * See Files.watch in kinds/ports.ts; the path is a real one here.
   * @param follow whether what a link at the path leads to is read, and not the link itself
   */
  async watch(target: string, wake: () => void, signal: AbortSignal, follow = false): Promise<void> {
    if (signal.aborted) return;
    const { promise: failed, reject: fail } = Promise.withResolvers<never>();
    const way = { steps: [], endsAtPath: false };
    const state = { way, key: '', ended: false, seen: undefined };
    const subscription: Subscription = { target, follow, wake, fail, ...state };
    try {
      await firstOf<void>(
        (resolve) => onAbort(signal, () => resolve()),
        (_, reject) => {
          failed.catch(reject);
          this.#track(subscription).catch(reject);
          return () => undefined;
        },
      );
    } finally {
      subscription.ended = true;
      this.#detach(subscription, subscription.way.steps);
    }
  }

  async close(): Promise<void> {
    const all = [...this.#watched.values()];
    this.#watched.clear();
    this.#poll?.cancel();
    for (const { watcher } of all) watcher?.close();
  }

  /** Hangs the subscription on the way as it is now, if that is another than before, and wakes it once it hangs. */
  async #track(subscription: Subscription): Promise<void> {
    while (!subscription.ended) {
      const before = subscription.way.steps;
      const way = wayTo(subscription.target, subscription.follow);
      const { steps } = way;
      const key = keyOf(steps);
      if (key === subscription.key) return;
      Object.assign(subscription, { way, key, seen: undefined });
      const on = steps.map((step) => this.#attach(subscription, step));
      this.#detach(
        subscription,
        before.filter((step) => !steps.some((other) => isSame(step, other))),
      );
      const wasArmed = on.every(({ isArmed }) => isArmed);
      if (!wasArmed) await Promise.all(on.map(({ armed }) => armed));
      // It went another way meanwhile, and whoever saw that goes on with it.
      if (subscription.ended || subscription.key !== key) return;
      // Before it is woken: what changes from then on is seen to be another.
      if (on.some(isPolled)) subscription.seen = lookAt(steps);
      // Of the directories above only their names are looked up, which needs no permission to read them.
      const error = on.at(-1)?.error;
      if (error !== undefined) throw error;
      subscription.wake();
      if (wasArmed) return;
      // Once more, since what changed on the way while the watches were being armed gave no event.
    }
  }

  /** After an event on the way. */
  #retrack(subscription: Subscription): void {
    this.#track(subscription).catch(subscription.fail);
  }

  #attach(subscription: Subscription, { directory, identity, name }: Step): Watched {
    let watched = this.#watched.get(directory);
    if (watched?.identity !== identity) {
      const former = watched;
      watched = this.#open(directory, identity);
      this.#watched.set(directory, watched);
      if (former !== undefined) this.#abandon(former, subscription);
    }
    const named = watched.subscriptions.get(name) ?? new Set();
    watched.subscriptions.set(name, named.add(subscription));
    if (WILDCARD.test(name)) watched.patterns.add(name);
    return watched;
  }

  #detach(subscription: Subscription, steps: readonly Step[]): void {
    for (const { directory, identity, name } of steps) {
      const watched = this.#watched.get(directory);
      if (watched?.identity !== identity) continue;
      const named = watched.subscriptions.get(name);
      named?.delete(subscription);
      if (named?.size === 0) {
        watched.subscriptions.delete(name);
        watched.patterns.delete(name);
      }
      if (watched.subscriptions.size > 0) continue;
      this.#watched.delete(directory);
      this.#close(watched);
    }
  }

  #close(watched: Watched): void {
    if (isPolled(watched)) this.#tellPolling();
    watched.watcher?.close();
  }

  /** Another directory is at its path now, or may be: all that hang on it look for their way anew. */
  #abandon(watched: Watched, except?: Subscription): void {
    if (this.#watched.get(watched.directory) === watched) this.#watched.delete(watched.directory);
    const subscriptions = allOf(watched);
    watched.subscriptions.clear();
    watched.patterns.clear();
    this.#close(watched);
    for (const s of subscriptions) {
      if (s === except) continue;
      s.key = '';
      this.#retrack(s);
    }
  }

  #open(directory: string, identity: string): Watched {
    const watched: Watched = {
      directory,
      name: path.basename(directory),
      identity,
      watcher: undefined,
      armed: Promise.resolve(),
      isArmed: UNCHANGING.includes(directory),
      error: undefined,
      subscriptions: new Map(),
      patterns: new Set(),
    };
    if (watched.isArmed) return watched;
    const watcher = this.#watcherOn(watched);
    watched.watcher = watcher;
    watched.armed = ready(watcher).then(
      () => {
        watched.isArmed = watched.watcher === watcher;
      },
      () => undefined, // its listener for errors has seen to it
    );
    return watched;
  }

  #watcherOn(watched: Watched): DirectoryWatcher {
    const watcher = (this.#options.open ?? watchDirectory)(watched.directory);
    watcher.on('raw', (_event, name) => this.#onEvent(watched, name));
    watcher.on('error', (error) => {
      if (EXHAUSTED.includes(errnoOf(error))) return this.#fallBack(watched, watcher);
      watched.error = error as Error;
      for (const s of allOf(watched))
        if (s.way.steps.at(-1)?.directory === watched.directory) s.fail(watched.error);
    });
    return watcher;
  }

  /** No watch is to be had: what leads through it is polled. */
  #fallBack(watched: Watched, watcher: DirectoryWatcher): void {
    watcher.close();
    if (watched.watcher !== watcher) return; // a retry, which polling goes on without
    watched.watcher = undefined;
    watched.isArmed = false;
    for (const s of allOf(watched)) s.seen = lookAt(s.way.steps);
    this.#tellPolling();
    if (this.#poll !== undefined) return;
    this.#retryAt = this.#clock.monotonic() + RETRY_MS;
    this.#pollSoon();
  }

  #pollSoon(): void {
    this.#poll = this.#clock.setTimeout(() => {
      this.#poll = undefined;
      const directories = new Map<string, string>();
      for (const s of new Set(this.#unwatched().flatMap(allOf))) this.#look(s, directories);
      const polled = this.#unwatched();
      if (this.#clock.monotonic() >= this.#retryAt) {
        for (const watched of polled) void this.#retry(watched);
        this.#retryAt = this.#clock.monotonic() + RETRY_MS;
      }
      if (polled.length > 0) this.#pollSoon();
    }, POLL_MS);
  }

  #look(s: Subscription, directories: Map<string, string>): void {
    const seen = lookAt(s.way.steps, directories);
    if (seen === s.seen) return;
    s.seen = seen;
    s.wake();
    this.#retrack(s);
  }

  /** Asks for a watch again; what happened until it stands is looked for once more. */
  async #retry(watched: Watched): Promise<void> {
    const watcher = this.#watcherOn(watched);
    try {
      await ready(watcher);
    } catch {
      return watcher.close();
    }
    if (this.#watched.get(watched.directory) !== watched) return watcher.close();
    watched.watcher = watcher;
    watched.isArmed = true;
    this.#tellPolling();
    for (const s of allOf(watched)) {
      s.wake();
      this.#retrack(s);
    }
  }

  #unwatched(): Watched[] {
    return [...this.#watched.values()].filter(isPolled);
  }

  #tellPolling(): void {
    this.#options.onPolling?.(this.polled);
  }

  #onEvent(watched: Watched, name: string | null): void {
    // A directory reports itself by its own name: its attributes changed, or it is gone or elsewhere now.
    if (name === watched.name) return this.#abandon(watched);
    for (const s of name === null ? allOf(watched) : concernedBy(watched, name)) {
      s.wake();
      const last = s.way.steps.at(-1);
      const isThePath = s.way.endsAtPath && last?.name === name && last.directory === watched.directory;
      if (!isThePath) this.#retrack(s);
    }
  }
}

const NOBODY: readonly Subscription[] = [];

function isPolled(watched: Watched): boolean {
  return watched.watcher === undefined && !UNCHANGING.includes(watched.directory);
}

/** A copy, since whoever looks for its way anew leaves the set and comes back to it. */
function concernedBy({ subscriptions, patterns }: Watched, name: string): readonly Subscription[] {
  if (patterns.size === 0) {
    const named = subscriptions.get(name);
    // Of nearly all of them, in a directory such as /tmp.
    return named === undefined ? NOBODY : [...named];
  }
  const fitting = [...patterns].filter((pattern) => pattern !== name && fitsGlob(name, pattern));
  return [name, ...fitting].flatMap((key) => [...(subscriptions.get(key) ?? [])]);
}

function allOf(watched: Watched): Subscription[] {
  return [...new Set([...watched.subscriptions.values()].flatMap((named) => [...named]))];
}
