// Waiting for something that another part of the program, or another process, brings about.
import { setTimeout as delay } from 'node:timers/promises';

/**
 * Asks until `check` no longer throws, and returns what it returned.
 * @throws what `check` threw last, when it still throws after `timeoutMs`.
 */
export async function eventually<T>(check: () => T | Promise<T>, timeoutMs = 10_000): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await delay(2);
    }
  }
}
