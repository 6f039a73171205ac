// Who is asking. An agent is known by its signature, and on a tailnet also by its node; an operator by the login
// that tailscaled tells, by a capability of tailnet policy, or by a token. An address alone proves nothing.
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { FastifyRequest } from 'fastify';
import { keyIdOf, publicKeyOf } from '../../api/bundle.ts';
import { parseToken } from '../../api/enroll.ts';
import { inWords } from '../../api/errors.ts';
import { CLOCK_WINDOW_SECONDS, claimedKeyId, SignatureRefused, verifyRequest } from '../../api/signatures.ts';
import type { Clock } from '../../kinds/ports.ts';
import type { Fleet } from '../fleet/fleet.ts';
import type { MemberKey } from '../fleet/members.ts';
import { OPERATOR_CAPABILITY, type Peer, type Whois } from '../source/whois.ts';
import { type Tokens, UNREADABLE } from '../store/tokens.ts';
import { HttpError } from './errors.ts';

export interface IdentityDeps {
  readonly fleet: Fleet;
  readonly tokens: Tokens;
  readonly clock: Pick<Clock, 'now'>;
  readonly whois: Whois | undefined;
  /** Whoever can reach the controller may read; said in words at its start. */
  readonly openReads: boolean;
  /** Names, beside addresses and single words, by which browsers may call the controller. */
  readonly names: readonly string[];
  /** A key that enrolled while another one worked has taken over. */
  readonly onKeyChange: (host: string, keyId: string) => void;
  /** Prometheus's, for /sd. */
  readonly sdToken: string | undefined;
}

export class Identity {
  readonly #deps: IdentityDeps;
  /** Nonces of accepted writes by key, with the second until which each must be remembered. */
  readonly #seen = new Map<string, Map<string, number>>();
  readonly #peers = new WeakMap<object, Promise<Peer | undefined>>();

  constructor(deps: IdentityDeps) {
    this.#deps = deps;
  }

  /** Refuses what can't be right, before a body is read. @throws HttpError */
  preview(host: string, request: FastifyRequest): void {
    this.#claimed(host, request);
  }

  /**
   * The request is this host's own.
   * @param write whether a second one with the same signature must be refused.
   * @param bodyUnread who sends it is all that is asked: its body is not going to be read.
   * @returns the key that signed it.
   * @throws HttpError
   */
  async requireHost(
    host: string,
    request: FastifyRequest,
    write: boolean,
    bodyUnread = false,
  ): Promise<string> {
    const keys = this.#claimed(host, request);
    const { publicKey } = keys[0]!;
    this.verify(publicKey, request, write, bodyUnread);
    const key = await this.#fromItsNode(host, keys, request);
    if (this.#deps.fleet.members.keyUsed(host, key)) this.#deps.onKeyChange(host, keyIdOf(publicKey));
    return publicKey;
  }

  /** A request that waited must not be answered to a key that was revoked meanwhile. @throws HttpError */
  requireStill(host: string, publicKey: string): void {
    if (!this.#keysOf(host).some((key) => key.publicKey === publicKey)) throw notEnrolled(host);
  }

  /** @returns the one of them that may be used from where the request comes. @throws HttpError */
  async #fromItsNode(host: string, keys: readonly MemberKey[], request: FastifyRequest): Promise<MemberKey> {
    const isPinned = keys.some((key) => key.nodeID !== undefined);
    if (!isPinned || this.#deps.whois === undefined) return keys.at(-1)!;
    const peer = await this.peer(request);
    const key = keys.findLast(({ nodeID }) => nodeID === undefined || nodeID === peer?.nodeID);
    if (key !== undefined) return key;
    throw wrongNode(host, keys.map((k) => k.nodeID).join(' or '), peer, request);
  }

  /** @param publicKey base64 raw. @throws HttpError */
  verify(publicKey: string, request: FastifyRequest, write: boolean, bodyUnread = false): void {
    const nowSeconds = Math.floor(this.#deps.clock.now() / 1000);
    const body = Buffer.isBuffer(request.body) ? { body: request.body } : {};
    const { nonce } = refused(() =>
      verifyRequest({
        method: request.method,
        url: request.raw.url ?? '',
        headers: request.headers,
        ...body,
        bodyUnread,
        publicKey: publicKeyOf(publicKey),
        nowSeconds,
      }),
    );
    if (write && !this.#isFirst(publicKey, nonce, nowSeconds)) {
      throw new HttpError('Replayed', 'this very request was already accepted: sign each anew');
    }
  }

  /** Who is at the other end, as tailscaled says. @throws HttpError when it can't be asked. */
  async peer(request: FastifyRequest): Promise<Peer | undefined> {
    const { whois } = this.#deps;
    const { socket } = request.raw;
    if (whois === undefined || socket.remoteAddress === undefined) return undefined;
    // For the life of a connection its peer is the same.
    let peer = this.#peers.get(socket);
    if (peer === undefined) {
      peer = whois.whois(socket.remoteAddress.replace(/^::ffff:/, ''), socket.remotePort ?? 0);
      this.#peers.set(socket, peer);
      peer.catch(() => this.#peers.delete(socket));
    }
    try {
      return await peer;
    } catch (error) {
      throw new HttpError('WhoisUnavailable', `tailscaled can't be asked who is calling: ${inWords(error)}`);
    }
  }

  /** @returns who it is, for the audit log. @throws HttpError */
  async requireOperator(request: FastifyRequest): Promise<string> {
    this.requireHostHeader(request);
    const { fleet, tokens, clock, openReads, whois } = this.#deps;
    const bearer = bearerOf(request);
    if (bearer !== undefined) {
      const token = parseToken(bearer);
      const name = token === undefined ? undefined : tokens.operator(token.id, token.secret, clock.now());
      if (name === UNREADABLE)
        throw new HttpError('StoreUnavailable', 'the store can’t be read: see the controller’s log');
      if (name !== undefined) return `token:${name}`;
      throw new HttpError(
        'NotAnOperator',
        'the bearer token is unknown, expired or revoked: homeostat token create --operator NAME makes one',
      );
    }
    if (openReads) return 'anyone';
    const peer = await this.peer(request);
    if (
      peer !== undefined &&
      (fleet.isOperator(peer.login) || peer.capabilities.includes(OPERATOR_CAPABILITY))
    ) {
      return peer.login === '' ? `node:${peer.nodeName}` : peer.login;
    }
    const who =
      peer === undefined
        ? ''
        : ` (tailscaled says that you are ${peer.login === '' ? peer.nodeName : peer.login})`;
    const how = whois === undefined ? '' : 'be listed in spec.operators of the Fleet document, or ';
    throw new HttpError(
      'NotAnOperator',
      `this is for operators${who}: ${how}send a token (homeostat token create --operator NAME)`,
    );
  }

  /**
   * Prometheus, which asks for its targets: by the token of /sd, from the tailnet node of one of the hosts, or as an
   * operator. @throws HttpError
   */
  async requireScraper(request: FastifyRequest): Promise<void> {
    const { sdToken, fleet } = this.#deps;
    // Prometheus 2.42 sends the bare token in http_sd_configs unless `type: Bearer` is written out.
    const given = (request.headers.authorization ?? '').replace(/^Bearer /i, '');
    if (sdToken !== undefined && isSame(given, sdToken)) return;
    try {
      await this.requireOperator(request);
    } catch (error) {
      if (!(error instanceof HttpError) || error.code !== 'NotAnOperator') throw error;
      const peer = given === '' ? await this.peer(request) : undefined;
      if (peer !== undefined && fleet.hasNode(peer.nodeID)) return;
      const how =
        sdToken === undefined
          ? 'start the controller with --sd-token-file, and give Prometheus the same token'
          : 'give Prometheus the token of --sd-token-file';
      throw new HttpError(
        'NotAScraper',
        `targets are for Prometheus: ${how} (authorization: credentials_file of http_sd_configs)`,
      );
    }
  }

  /** A page of somebody else's must not get a browser to ask in its place (DNS rebinding, other origins). */
  requireHostHeader(request: FastifyRequest): void {
    const host = (request.headers.host ?? '').toLowerCase();
    const name = host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
    // A name without a dot can't be somebody else's in the public DNS.
    const known = isIP(name) !== 0 || (!name.includes('.') && name !== '') || this.#deps.names.includes(name);
    if (!known)
      throw new HttpError(
        'WrongHost',
        `the controller is not known as ${name}: start it with --name ${name}, or call it by its address`,
      );
    const { origin } = request.headers;
    if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) {
      throw new HttpError('WrongOrigin', `a page of ${origin} may not ask here`);
    }
  }

  /** Those of the host's keys that the request claims to be signed with. */
  #claimed(host: string, request: FastifyRequest): MemberKey[] {
    const keys = this.#keysOf(host);
    const claimed = refused(() => claimedKeyId(request.headers));
    const own = keys.filter((key) => keyIdOf(key.publicKey) === claimed);
    if (own.length > 0) return own;
    throw new HttpError(
      'BadSignature',
      `the request is signed by key ${claimed}, and ${host} enrolled with another: enrol it again, or mend the publicKey of Host/${host}`,
    );
  }

  #keysOf(host: string): MemberKey[] {
    const keys = this.#deps.fleet.members.keys(host);
    if (keys.length > 0) return keys;
    throw notEnrolled(host);
  }

  #isFirst(publicKey: string, nonce: string, nowSeconds: number): boolean {
    let nonces = this.#seen.get(publicKey);
    if (nonces === undefined) {
      nonces = new Map();
      this.#seen.set(publicKey, nonces);
    }
    // In the order of insertion, which is that of expiry.
    for (const [old, until] of nonces) {
      if (until >= nowSeconds) break;
      nonces.delete(old);
    }
    if (nonces.has(nonce)) return false;
    nonces.set(nonce, nowSeconds + 2 * CLOCK_WINDOW_SECONDS);
    return true;
  }
}

function notEnrolled(host: string): HttpError {
  return new HttpError(
    'NotEnrolled',
    `${host} is not enrolled here: homeostat token create --host ${host} makes a token for homeostat enroll`,
  );
}

export function wrongNode(
  host: string,
  nodeID: string,
  peer: Peer | undefined,
  request: FastifyRequest,
): HttpError {
  const from =
    peer === undefined
      ? `${request.ip}, which is not on the tailnet`
      : `node ${peer.nodeName} (${peer.nodeID})`;
  return new HttpError(
    'WrongNode',
    `requests for ${host} must come from tailnet node ${nodeID}, and this one comes from ${from}`,
  );
}

function bearerOf(request: FastifyRequest): string | undefined {
  return /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
}

/** In a time that tells nothing of where they differ, nor of how long they are. */
function isSame(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

function refused<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof SignatureRefused) throw new HttpError(error.code, error.message);
    throw error;
  }
}
