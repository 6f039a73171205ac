// Time, as a port: nothing else in the agent reads a clock or sets a timer.
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../../kinds/ports.ts';

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout(callback, ms) {
    // A delay beyond 2^31-1 ms would fire at once.
    const timer = setTimeout(callback, Math.min(ms, 2 ** 31 - 1));
    return { cancel: () => clearTimeout(timer) };
  },
  async sleep(ms, signal) {
    await delay(ms, undefined, signal === undefined ? {} : { signal });
  },
};
