// Requests that wait for something to change. A wake answers all who wait for a host, in slices, so that ten
// thousand of them don't keep the loop from everything else.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../kinds/ports.ts';

export type Woken = 'changed' | 'timeout' | 'gone' | 'stopping';

/** A response that is still to be written, as node:http has it. */
export interface Asker {
  readonly destroyed: boolean;
  once(event: 'close', listener: () => void): unknown;
  off(event: 'close', listener: () => void): unknown;
}

const MOST_OF_A_HOST = 8;
const HOSTS_A_TURN = 24;

export class Waiters {
  readonly #clock: Pick<Clock, 'setTimeout'>;
  readonly #byHost = new Map<string, Set<(woken: Woken) => void>>();
  #stopping = false;
  #count = 0;

  constructor(clock: Pick<Clock, 'setTimeout'>) {
    this.#clock = clock;
  }

  get count(): number {
    return this.#count;
  }

  /** @param asker closes when it hung up; ten thousand of them wait, so nothing heavier than its own event. */
  wait(host: string, ms: number, asker: Asker): Promise<Woken> {
    if (this.#stopping) return Promise.resolve('stopping');
    if (asker.destroyed) return Promise.resolve('gone');
    return new Promise((resolve) => {
      let set = this.#byHost.get(host);
      if (set === undefined) {
        set = new Set();
        this.#byHost.set(host, set);
      }
      const end = (woken: Woken): void => {
        if (!set.delete(end)) return;
        this.#count--;
        if (set.size === 0 && this.#byHost.get(host) === set) this.#byHost.delete(host);
        timer.cancel();
        asker.off('close', hungUp);
        resolve(woken);
      };
      const hungUp = (): void => end('gone');
      const timer = this.#clock.setTimeout(() => end('timeout'), ms);
      asker.once('close', hungUp);
      set.add(end);
      this.#count++;
      // An agent has one; more are connections that it lost, or one key used by many.
      const [oldest] = set;
      if (set.size > MOST_OF_A_HOST) oldest?.('timeout');
    });
  }

  wake(host: string): void {
    for (const end of [...(this.#byHost.get(host) ?? [])]) end('changed');
  }

  /** A few hosts a turn: each wake has an answer signed and sent. What was woken twice meanwhile is answered once. */
  async wakeAll(hosts: readonly string[]): Promise<void> {
    for (let i = 0; i < hosts.length; i += HOSTS_A_TURN) {
      if (i > 0) await nextTurn();
      for (const host of hosts.slice(i, i + HOSTS_A_TURN)) this.wake(host);
    }
  }

  stop(): void {
    this.#stopping = true;
    for (const set of [...this.#byHost.values()]) for (const end of [...set]) end('stopping');
  }
}
