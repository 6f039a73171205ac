// Time, as a port: nothing else in the agent reads a clock or sets a timer.
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../../kinds/ports.ts';

/** A delay beyond it would end at once: of a server that says when to come back, for one. */
const LONGEST_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout(callback, ms) {
    const timer = setTimeout(callback, Math.min(ms, LONGEST_MS));
    return { cancel: () => clearTimeout(timer) };
  },
  async sleep(ms, signal) {
    await delay(Math.min(ms, LONGEST_MS), undefined, signal === undefined ? {} : { signal });
  },
};
