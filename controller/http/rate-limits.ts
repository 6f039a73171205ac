// Limits on what nobody has vouched for: token buckets by a key, in bounded memory. Pure but for the clock that it is
// given.
import { isIPv6 } from 'node:net';

export interface Rate {
  readonly perSecond: number;
  /** How many may come at once. */
  readonly burst: number;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Keys that are remembered. The one that was used least recently is forgotten first, and begins with a full bucket. */
const MOST_KEYS = 4096;

export class RateLimits {
  readonly #rate: Rate;
  readonly #mostKeys: number;
  /** In the order of their last use. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(rate: Rate, mostKeys: number = MOST_KEYS) {
    this.#rate = rate;
    this.#mostKeys = mostKeys;
  }

  get size(): number {
    return this.#buckets.size;
  }

  knows(key: string): boolean {
    return this.#buckets.has(key);
  }

  /** Whether one more fits; it is not counted by this. */
  hasRoom(key: string, nowMs: number): boolean {
    return this.#tokens(this.#buckets.get(key), nowMs) >= 1;
  }

  /** Counts one. @returns whether it fits. */
  take(key: string, nowMs: number): boolean {
    const tokens = this.#tokens(this.#buckets.get(key), nowMs);
    const fits = tokens >= 1;
    this.#put(key, fits ? tokens - 1 : tokens, nowMs);
    return fits;
  }

  /** Takes back one that was counted, and turned out well. */
  giveBack(key: string, nowMs: number): void {
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) return;
    this.#put(key, Math.min(this.#rate.burst, this.#tokens(bucket, nowMs) + 1), nowMs);
  }

  #tokens(bucket: Bucket | undefined, nowMs: number): number {
    if (bucket === undefined) return this.#rate.burst;
    // A clock that was set back gives nothing, and takes nothing.
    const seconds = Math.max(0, nowMs - bucket.atMs) / 1000;
    return Math.min(this.#rate.burst, bucket.tokens + seconds * this.#rate.perSecond);
  }

  #put(key: string, tokens: number, atMs: number): void {
    this.#buckets.delete(key);
    this.#buckets.set(key, { tokens, atMs });
    if (this.#buckets.size <= this.#mostKeys) return;
    const oldest = this.#buckets.keys().next();
    if (!oldest.done) this.#buckets.delete(oldest.value);
  }
}

/**
 * What counts as one source: an IPv4 address, and the network of 64 bits of an IPv6 address, since its owner has all of
 * it; but each node of a tailnet (fd7a:115c:a1e0::/48) has only its own.
 */
export function sourceOf(address: string | undefined): string {
  const plain = (address ?? '').replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
  if (!isIPv6(plain)) return plain;
  const groups = expanded(plain);
  const isTailnet = groups.slice(0, 3).join(':') === 'fd7a:115c:a1e0';
  return isTailnet ? groups.join(':') : `${groups.slice(0, 4).join(':')}::/64`;
}

function expanded(address: string): string[] {
  const [head = '', tail] = address.toLowerCase().split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  return [...left, ...Array<string>(zeros).fill('0'), ...right].map((group) => group.replace(/^0+(?=.)/, ''));
}
