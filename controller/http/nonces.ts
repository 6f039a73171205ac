// Signatures that were accepted, for as long as their clock would be: a second request with one is a replay. Only what is
// signed by an enrolled key, or came with a token, is remembered; how many a key may send is limited (strangers.ts).
import { CLOCK_WINDOW_SECONDS } from '../../api/signatures.ts';

export class Nonces {
  /** By key, with the second until which each must be remembered. */
  readonly #seen = new Map<string, Map<string, number>>();

  /** Remembers it. @returns whether it was not there yet. */
  isFirst(publicKey: string, nonce: string, nowSeconds: number): boolean {
    let nonces = this.#seen.get(publicKey);
    if (nonces === undefined) {
      this.#sweep(nowSeconds);
      nonces = new Map();
      this.#seen.set(publicKey, nonces);
    }
    forget(nonces, nowSeconds);
    if (nonces.has(nonce)) return false;
    nonces.set(nonce, nowSeconds + 2 * CLOCK_WINDOW_SECONDS);
    return true;
  }

  /** Keys that are used no more. */
  #sweep(nowSeconds: number): void {
    for (const [key, nonces] of this.#seen) {
      forget(nonces, nowSeconds);
      if (nonces.size === 0) this.#seen.delete(key);
    }
  }
}

/** They are in the order of insertion, which is that of expiry. */
function forget(nonces: Map<string, number>, nowSeconds: number): void {
  for (const [old, until] of nonces) {
    if (until >= nowSeconds) return;
    nonces.delete(old);
  }
}
