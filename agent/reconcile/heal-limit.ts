// Contention: when something else keeps writing what we own, healing goes on, but no faster than a token bucket
// allows; after that each heal waits longer, and the condition Contended says so.

export interface HealRate {
  readonly burst: number;
  readonly perSecond: number;
}

export const DEFAULT_HEAL_RATE: HealRate = { burst: 20, perSecond: 0.1 };
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 60_000;

export class HealLimit {
  readonly #rate: HealRate;
  #tokens: number;
  #updatedAt: number;
  #waitMs = 0;
  #notBefore = 0;

  constructor(rate: HealRate, now: number) {
    this.#rate = rate;
    this.#tokens = rate.burst;
    this.#updatedAt = now;
  }

  get contended(): boolean {
    return this.#waitMs > 0;
  }

  /**
   * Asks for one heal at `now` (monotonic milliseconds).
   * @returns 0 when it may begin, else the milliseconds to wait first.
   */
  take(now: number): number {
    this.#refill(now);
    if (now < this.#notBefore) return this.#notBefore - now;
    if (this.#tokens >= 1) {
      this.#tokens -= 1;
      return 0;
    }
    if (this.#waitMs > 0) {
      // This heal waited its time: it may begin, and the next waits longer.
      this.#waitMs = Math.min(LONGEST_WAIT_MS, this.#waitMs * 2);
      this.#notBefore = now + this.#waitMs;
      return 0;
    }
    this.#waitMs = FIRST_WAIT_MS;
    this.#notBefore = now + this.#waitMs;
    return this.#waitMs;
  }

  /** Nothing to heal was found: after a quiet while the fight counts as over. @returns whether it just ended. */
  quiet(now: number): boolean {
    this.#refill(now);
    if (this.#waitMs === 0 || this.#tokens < Math.min(this.#rate.burst, 5) || now < this.#notBefore)
      return false;
    this.#waitMs = 0;
    return true;
  }

  #refill(now: number): void {
    const seconds = (now - this.#updatedAt) / 1000;
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + seconds * this.#rate.perSecond);
    this.#updatedAt = now;
  }
}
