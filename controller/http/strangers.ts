// What is spent on requests that nobody has vouched for yet (docs/decisions/0050). Whoever signs with an enrolled key, or
// shows an operator's token, pays nothing here: a fleet behind one address is not locked out by a neighbour.
import type { FastifyRequest } from 'fastify';
import type { Clock } from '../../kinds/ports.ts';
import type { Connections } from './connections.ts';
import { HttpError } from './errors.ts';
import { RateLimits, sourceOf } from './rate-limits.ts';

/** Of requests that are refused, by source and in all. */
const REFUSED = { perSecond: 5, burst: 60 };
const REFUSED_BY_ALL = { perSecond: 100, burst: 1000 };
/** Of enrolments under way or refused, by token of ours or else by source; those that succeed are not counted. */
const ENROLLING = { perSecond: 2, burst: 100 };
/** Of signatures that claim an enrolled host's key and are wrong: each costs a verification. */
const FORGED = { perSecond: 20, burst: 60 };
/** Of what anybody may read: metrics, and the fleet where reads are open. */
const READS = { perSecond: 20, burst: 200 };
/** Of one enrolled key. An agent asks once a minute, and reports at most every few seconds. */
const OF_A_KEY = { perSecond: 10, burst: 200 };
const ALL = '*';

export class Strangers {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #connections: Connections;
  readonly #refused = new RateLimits(REFUSED);
  readonly #refusedByAll = new RateLimits(REFUSED_BY_ALL);
  readonly #enrolling = new RateLimits(ENROLLING);
  readonly #forged = new RateLimits(FORGED);
  readonly #reads = new RateLimits(READS);
  readonly #ofKeys = new RateLimits(OF_A_KEY, 100_000);

  constructor(clock: Pick<Clock, 'now'>, connections: Connections) {
    this.#clock = clock;
    this.#connections = connections;
  }

  /** Before anything is spent on a request that names no enrolled key. @throws HttpError */
  admit(request: FastifyRequest): void {
    if (this.#connections.isProven(request.raw.socket)) return;
    const now = this.#clock.now();
    const source = sourceOf(request.ip);
    // Who was never refused is not made to wait for those who were.
    if (!this.#refused.knows(source)) return;
    if (this.#refused.hasRoom(source, now) && this.#refusedByAll.hasRoom(ALL, now)) return;
    throw limited('too many requests from here were refused');
  }

  /** It was refused; the next ones pay for it. */
  refused(request: FastifyRequest): void {
    if (this.#connections.isProven(request.raw.socket)) return;
    const now = this.#clock.now();
    this.#refused.take(sourceOf(request.ip), now);
    this.#refusedByAll.take(ALL, now);
  }

  /** @param tokenID of the token of ours that it shows. @throws HttpError */
  admitEnrollment(request: FastifyRequest, tokenID: string | undefined): { succeeded(): void } {
    const payer = tokenID === undefined ? sourceOf(request.ip) : `token ${tokenID}`;
    if (!this.#enrolling.take(payer, this.#clock.now()))
      throw limited(
        `too many enrolments ${tokenID === undefined ? 'from here' : 'with this token'} are under way, or were refused`,
      );
    return {
      succeeded: () => {
        this.#enrolling.giveBack(payer, this.#clock.now());
        this.proven(request);
      },
    };
  }

  /** Before a signature that claims this key is verified. @throws HttpError */
  admitSignature(request: FastifyRequest, publicKey: string): void {
    const now = this.#clock.now();
    if (this.#connections.isProven(request.raw.socket)) return;
    if (!this.#forged.take(`${sourceOf(request.ip)} ${publicKey}`, now))
      throw limited('too many requests with a wrong signature came from here');
  }

  /** The signature is right. @throws HttpError when its owner asks far more often than an agent does. */
  signed(request: FastifyRequest, publicKey: string): void {
    const now = this.#clock.now();
    this.#forged.giveBack(`${sourceOf(request.ip)} ${publicKey}`, now);
    this.proven(request);
    if (!this.#ofKeys.take(publicKey, now)) throw limited('this host asks far more often than an agent does');
  }

  /** @throws HttpError */
  admitRead(request: FastifyRequest): void {
    if (this.#connections.isProven(request.raw.socket)) return;
    if (!this.#reads.take(sourceOf(request.ip), this.#clock.now())) throw limited('too many reads from here');
  }

  proven(request: FastifyRequest): void {
    this.#connections.prove(request.raw.socket);
  }
}

function limited(what: string): HttpError {
  return new HttpError('RateLimited', `${what}: come back in a few seconds`);
}
