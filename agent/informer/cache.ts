// The last bundle that was accepted, so that the agent works for ever without the controller, and beside it, in
// a file of its own, the highest sequence ever seen: losing the cache must not open the door to a replay.
import path from 'node:path';
import * as z from 'zod';
import {
  BundleRefused,
  type Envelope,
  openEnvelope,
  openPayload,
  type Payload,
  SignedBundle,
} from '../../api/bundle.ts';
import { readIfThere, writeDurably } from '../journal/durable.ts';

export interface Accepted {
  readonly envelope: Envelope;
  readonly payload: Payload;
  readonly payloadText: string;
}

export class BundleCache {
  readonly #bundleFile: string;
  readonly #highWaterFile: string;
  readonly #host: string;
  readonly #trusted: readonly string[];
  #highWater = 0;
  current: Accepted | undefined;

  constructor(options: { stateDir: string; host: string; trustedKeys: readonly string[] }) {
    this.#bundleFile = path.join(options.stateDir, 'bundle.json');
    this.#highWaterFile = path.join(options.stateDir, 'highest-sequence');
    this.#host = options.host;
    this.#trusted = options.trustedKeys;
  }

  get highestSequence(): number {
    return this.#highWater;
  }

  /** @returns why the cached bundle can't be used, if there is one that can't. */
  load(): string | undefined {
    const mark = z.coerce
      .number()
      .int()
      .nonnegative()
      .safeParse(readIfThere(this.#highWaterFile) ?? '0');
    this.#highWater = mark.success ? mark.data : 0;
    const text = readIfThere(this.#bundleFile);
    if (text === undefined) return undefined;
    try {
      const bundle = SignedBundle.parse(JSON.parse(text));
      this.current = this.#open(bundle, undefined);
      this.#highWater = Math.max(this.#highWater, this.current.envelope.sequence);
      return undefined;
    } catch (error) {
      return `the cached bundle can't be used: ${(error as Error).message}`;
    }
  }

  /**
   * Verifies signature, host, sequence and digest, and keeps the bundle.
   * @returns undefined when it is the one that is held already. @throws BundleRefused; system errors of the disk.
   */
  accept(bundle: SignedBundle): Accepted | undefined {
    const accepted = this.#open(bundle, this.current);
    const { sequence } = accepted.envelope;
    if (sequence < this.#highWater) {
      throw new BundleRefused(
        'replayed',
        `the bundle has sequence ${sequence}, and ${this.#highWater} was seen before; older ones are never taken`,
      );
    }
    if (sequence === this.current?.envelope.sequence) return undefined;
    // The mark first: a crash between the two costs the cache, never the protection.
    writeDurably(this.#highWaterFile, String(sequence));
    this.#highWater = sequence;
    writeDurably(this.#bundleFile, JSON.stringify({ ...bundle, payload: accepted.payloadText }));
    this.current = accepted;
    return accepted;
  }

  #open(bundle: SignedBundle, held: Accepted | undefined): Accepted {
    const envelope = openEnvelope(bundle, this.#host, this.#trusted);
    if (bundle.payload !== undefined) {
      const payload = openPayload(envelope, bundle.payload);
      if (payload.host.name !== this.#host) {
        throw new BundleRefused(
          'wrong_host',
          `the payload is for host ${payload.host.name}, and this is ${this.#host}`,
        );
      }
      return { envelope, payload, payloadText: bundle.payload };
    }
    if (held !== undefined && held.envelope.payloadDigest === envelope.payloadDigest) {
      return { envelope, payload: held.payload, payloadText: held.payloadText };
    }
    throw new BundleRefused(
      'malformed',
      'the bundle has no payload, and the agent does not hold the one it names',
    );
  }
}
