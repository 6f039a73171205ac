// File events, one watch a directory: it sees every change of what is in it, attributes included, costs one
// inotify watch however many files are managed there, and survives the file being replaced. The wakes rest on
// chokidar's raw events, since its tidied ones lose a file that is deleted, restored and deleted again within
// 50 ms (docs/decisions/0002-raw-file-events.md).
//
// Where the system has no watch left to give (ENOSPC, EMFILE), the directory is polled, target by target, until it
// has one again: drift is then seen within seconds instead of milliseconds.
import fs from 'node:fs';
import path from 'node:path';
import type { FSWatcher } from 'chokidar';
import { errnoOf } from '../../api/errors.ts';
import type { Clock } from '../../kinds/ports.ts';
import { systemClock } from './clock.ts';
import { watchDirectory } from './watch-directory.ts';

/** One lstat a target; 1,000 of them take some milliseconds. */
const POLL_MS = 2_000;
/** How often a watch is asked for again. */
const RETRY_MS = 30_000;
const WILDCARD = /[*?[]/;
const EXHAUSTED = ['ENOSPC', 'EMFILE', 'ENFILE'];

interface Watched {
  readonly directory: string;
  readonly identity: string;
  /** Undefined while it is polled. */
  watcher: FSWatcher | undefined;
  /** Settles when it is watched or polled, for however many ask. */
  armed: Promise<void>;
  /** By the entry's name, so that an event among a thousand files finds its own; '' for paths further down. */
  readonly subscriptions: Map<string, Set<Subscription>>;
  /** Those of the names that stand for several. */
  readonly patterns: Set<string>;
}

interface Subscription {
  /** The path that somebody cares about. */
  readonly target: string;
  readonly wake: () => void;
  readonly fail: (error: Error) => void;
  /** The watched directory it hangs on now: the parent, or the nearest ancestor that exists. */
  on: Watched | undefined;
  /** Nobody cares any more. */
  ended: boolean;
  /** What stood at the target when it was polled last. */
  seen: string;
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
    return [...this.#watched.values()].filter((w) => w.watcher === undefined).map((w) => w.directory);
  }

  /** See Files.watch in kinds/ports.ts; the path is a real one here. */
  async watch(target: string, wake: () => void, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const subscription: Subscription = { target, wake, fail: reject, on: undefined, ended: false, seen: '' };
    signal.addEventListener('abort', () => resolve(), { once: true });
    try {
      await Promise.race([this.#attach(subscription), promise]);
      if (!signal.aborted) wake();
      await promise;
    } finally {
      subscription.ended = true;
      this.#detach(subscription);
    }
  }

  async close(): Promise<void> {
    const all = [...this.#watched.values()];
    this.#watched.clear();
    this.#poll?.cancel();
    await Promise.all(all.map((w) => w.watcher?.close()));
  }

  async #attach(subscription: Subscription): Promise<void> {
    if (subscription.ended) return;
    const directory = nearestDirectory(path.dirname(subscription.target));
    const identity = identityOf(directory);
    let watched = this.#watched.get(directory);
    if (watched !== undefined && watched.identity !== identity) {
      this.#rearm(watched);
      watched = undefined;
    }
    if (watched === undefined) {
      watched = this.#open(directory, identity);
      this.#watched.set(directory, watched);
    }
    subscription.on = watched;
    const name = entryIn(watched, subscription);
    const named = watched.subscriptions.get(name) ?? new Set();
    watched.subscriptions.set(name, named.add(subscription));
    if (WILDCARD.test(name)) watched.patterns.add(name);
    subscription.seen = lookAt(subscription.target);
    await watched.armed;
    // What came into being while the watch was being armed gave no event.
    if (subscription.on === watched && misplaced(subscription)) this.#move(subscription);
  }

  #detach(subscription: Subscription): void {
    const watched = subscription.on;
    subscription.on = undefined;
    if (watched === undefined) return;
    const name = entryIn(watched, subscription);
    const named = watched.subscriptions.get(name);
    named?.delete(subscription);
    if (named?.size === 0) {
      watched.subscriptions.delete(name);
      watched.patterns.delete(name);
    }
    if (watched.subscriptions.size === 0) this.#drop(watched);
  }

  #drop(watched: Watched): void {
    if (this.#watched.get(watched.directory) === watched) this.#watched.delete(watched.directory);
    if (watched.watcher === undefined) this.#tellPolling();
    void watched.watcher?.close();
  }

  #open(directory: string, identity: string): Watched {
    const watched: Watched = {
      directory,
      identity,
      watcher: undefined,
      armed: Promise.resolve(),
      subscriptions: new Map(),
      patterns: new Set(),
    };
    const watcher = this.#watcherOn(watched);
    watched.watcher = watcher;
    watched.armed = ready(watcher).catch((error: Error) => {
      if (!EXHAUSTED.includes(errnoOf(error))) throw error;
    });
    watched.armed.catch(() => undefined); // whoever attaches is told; nobody may have come yet
    return watched;
  }

  #watcherOn(watched: Watched): FSWatcher {
    const { directory } = watched;
    const watcher = (this.#options.open ?? watchDirectory)(directory);
    watcher.on('raw', (_event, name) => this.#onEvent(watched, name));
    watcher.on('error', (error) => {
      if (EXHAUSTED.includes(errnoOf(error))) return this.#fallBack(watched, watcher);
      for (const s of allOf(watched)) s.fail(error as Error);
    });
    return watcher;
  }

  /** No watch is to be had: its targets are polled. */
  #fallBack(watched: Watched, watcher: FSWatcher): void {
    void watcher.close();
    if (watched.watcher !== watcher) return; // a retry, which polling goes on without
    watched.watcher = undefined;
    for (const s of allOf(watched)) s.seen = lookAt(s.target);
    this.#tellPolling();
    if (this.#poll !== undefined) return;
    this.#retryAt = this.#clock.monotonic() + RETRY_MS;
    this.#pollSoon();
  }

  #pollSoon(): void {
    this.#poll = this.#clock.setTimeout(() => {
      this.#poll = undefined;
      const polled = [...this.#watched.values()].filter((w) => w.watcher === undefined);
      for (const watched of polled) this.#look(watched);
      if (this.#clock.monotonic() >= this.#retryAt) {
        for (const watched of polled) void this.#retry(watched);
        this.#retryAt = this.#clock.monotonic() + RETRY_MS;
      }
      if (polled.length > 0) this.#pollSoon();
    }, POLL_MS);
  }

  #look(watched: Watched): void {
    if (identityOf(watched.directory) !== watched.identity) return this.#rearm(watched);
    for (const s of allOf(watched)) {
      const seen = lookAt(s.target);
      if (seen !== s.seen) s.wake();
      s.seen = seen;
      if (misplaced(s)) this.#move(s);
    }
  }

  /** Asks for a watch again; what happened until it stands is looked for once more. */
  async #retry(watched: Watched): Promise<void> {
    const watcher = this.#watcherOn(watched);
    try {
      await ready(watcher);
    } catch {
      return void watcher.close();
    }
    if (this.#watched.get(watched.directory) !== watched) return void watcher.close();
    watched.watcher = watcher;
    this.#tellPolling();
    for (const s of allOf(watched)) s.wake();
  }

  #tellPolling(): void {
    this.#options.onPolling?.(this.polled);
  }

  #onEvent(watched: Watched, name: string | null): void {
    // A directory reports itself by its own name: its attributes changed, or it is gone or elsewhere now.
    if (name === path.basename(watched.directory)) return this.#rearm(watched);
    const concerned = name === null ? allOf(watched) : concernedBy(watched, name);
    for (const s of concerned) s.wake();
    for (const s of [...(watched.subscriptions.get('') ?? [])]) if (misplaced(s)) this.#move(s);
  }

  /** A watch that may be on a directory that is no longer at its path is made anew for all that hang on it. */
  #rearm(watched: Watched): void {
    const subscriptions = allOf(watched);
    watched.subscriptions.clear();
    watched.patterns.clear();
    this.#drop(watched);
    for (const s of subscriptions) {
      s.on = undefined;
      this.#move(s);
    }
  }

  /** The directory it hung on is gone or has moved, or a nearer one has come into being. */
  #move(subscription: Subscription): void {
    this.#detach(subscription);
    this.#attach(subscription).then(
      () => subscription.on !== undefined && subscription.wake(),
      (error: Error) => subscription.fail(error),
    );
  }
}

function allOf(watched: Watched): Subscription[] {
  return [...watched.subscriptions.values()].flatMap((named) => [...named]);
}

function concernedBy({ subscriptions, patterns }: Watched, name: string): Subscription[] {
  const fitting = [...patterns].filter((pattern) => pattern !== name && path.matchesGlob(name, pattern));
  return [name, ...fitting].flatMap((key) => [...(subscriptions.get(key) ?? [])]);
}

/** The name by which the directory reports the target; '' when the target is not directly in it. */
function entryIn(watched: Watched, s: Subscription): string {
  return path.dirname(s.target) === watched.directory ? path.basename(s.target) : '';
}

/** Whether a subscription should hang on another directory than it does. */
function misplaced(s: Subscription): boolean {
  const directory = nearestDirectory(path.dirname(s.target));
  return directory !== s.on?.directory || identityOf(directory) !== s.on.identity;
}

/** The birth beside the inode: a new directory often gets the number of the one just removed. */
function identityOf(directory: string): string {
  const stat = fs.statSync(directory, { throwIfNoEntry: false });
  return stat === undefined ? '' : `${stat.dev}:${stat.ino}:${stat.birthtimeMs}`;
}

function nearestDirectory(directory: string): string {
  let current = directory;
  while (current !== '/') {
    if (fs.statSync(current, { throwIfNoEntry: false })?.isDirectory()) return current;
    current = path.dirname(current);
  }
  return current;
}

/** All that a poll can see of a change without reading content; the change time moves with every one of them. */
function lookAt(target: string): string {
  // Of several entries it sees which there are.
  const place = WILDCARD.test(path.basename(target)) ? path.dirname(target) : target;
  const stat = fs.lstatSync(place, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? '' : `${stat.dev}:${stat.ino}:${stat.ctimeNs}:${stat.size}:${stat.mode}`;
}

/** @throws what chokidar could not do. */
function ready(watcher: FSWatcher): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    watcher.once('ready', resolve);
    watcher.once('error', reject);
  });
}
