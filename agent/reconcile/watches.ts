// Watches under supervision: one for every resource whose kind has events, and one for every file that holds a
// secret of it. A watch that dies is armed again with backoff and wakes its key when it is, since nobody knows
// what it missed.
import type { Logger } from 'pino';
import { inWords } from '../../api/errors.ts';
import type { Ports } from '../../kinds/ports.ts';
import type { Target } from './loop.ts';

interface Watch {
  /** What it was armed for; something else needs another watch. */
  readonly armedFor: string;
  readonly stop: AbortController;
  readonly done: Promise<unknown>;
}

export interface WatchesDeps {
  readonly ports: Ports;
  /** A text without secrets. */
  readonly hide: (text: string) => string;
  readonly log: Logger;
  /** A watch that was just armed is no event: nobody knows whether there was one. */
  readonly wake: (key: string, cause: 'watch' | 'armed') => void;
  readonly up: (key: string, up: boolean) => void;
}

const FIRST_BACKOFF_MS = 100;
const LONGEST_BACKOFF_MS = 60_000;

export class Watches {
  readonly #deps: WatchesDeps;
  readonly #watches = new Map<string, Watch>();

  constructor(deps: WatchesDeps) {
    this.#deps = deps;
  }

  /**
   * Has the key watched for this target, and for its secrets' files: also for a target that can't be had, since
   * they may be what it lacks. A watch that stands already for the same is left alone.
   */
  ensure(key: string, target: Target | undefined, secretFiles: readonly string[]): void {
    const armedFor = [target?.desired.digest ?? '', ...secretFiles].join('\n');
    if (this.#watches.get(key)?.armedFor === armedFor) return;
    this.remove(key);
    const stop = new AbortController();
    const { ports } = this.#deps;
    const arms: ((wake: () => void) => Promise<void>)[] = [];
    if (target?.kind.watch !== undefined) {
      arms.push((wake) => target.kind.watch!(target.desired, ports, wake, stop.signal));
    }
    const { files } = ports;
    for (const file of secretFiles) {
      arms.push(
        (wake) => files.watchOutside?.(file, wake, stop.signal) ?? files.watch(file, wake, stop.signal),
      );
    }
    if (arms.length === 0) return;
    const done = Promise.all(arms.map((arm) => this.#supervise(key, arm, stop.signal)));
    this.#watches.set(key, { armedFor, stop, done });
  }

  remove(key: string): void {
    this.#watches.get(key)?.stop.abort();
    this.#watches.delete(key);
  }

  async stop(): Promise<void> {
    const all = [...this.#watches.values()];
    for (const key of [...this.#watches.keys()]) this.remove(key);
    await Promise.all(all.map((w) => w.done));
  }

  async #supervise(
    key: string,
    arm: (wake: () => void) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const { ports, log, wake, up, hide } = this.#deps;
    let backoffMs = FIRST_BACKOFF_MS;
    let isUp = false;
    while (!signal.aborted) {
      let isArmed = false;
      try {
        await arm(() => {
          if (signal.aborted) return;
          backoffMs = FIRST_BACKOFF_MS;
          if (!isUp) up(key, true);
          isUp = true;
          wake(key, isArmed ? 'watch' : 'armed');
          isArmed = true;
        });
        if (signal.aborted) return;
        throw new Error('the stream of events ended');
      } catch (error) {
        if (signal.aborted) return;
        up(key, false);
        isUp = false;
        // Once a failure, not once a try: a service that is not installed would fill the log.
        const level = backoffMs === FIRST_BACKOFF_MS ? 'warn' : 'debug';
        log[level]({ key, error: hide(inWords(error)), againMs: backoffMs }, 'watch died and is armed again');
        await ports.clock.sleep(backoffMs, signal).catch(() => {});
        backoffMs = Math.min(LONGEST_BACKOFF_MS, backoffMs * 2);
        wake(key, 'armed');
      }
    }
  }
}
