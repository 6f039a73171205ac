// Who is asking. An agent is known by its signature, and on a tailnet also by its node; an operator by the login
// that tailscaled tells, by a capability of tailnet policy, or by a token. An address alone proves nothing.
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { keyIdOf, publicKeyOf } from '../../api/bundle.ts';
import { parseToken } from '../../api/enroll.ts';
import { inWords } from '../../api/errors.ts';
import { claimedKeyId, requireDigest, SignatureRefused, verifyRequest } from '../../api/signatures.ts';
import type { Clock } from '../../kinds/ports.ts';
import type { Fleet } from '../fleet/fleet.ts';
import type { MemberKey } from '../fleet/members.ts';
import { OPERATOR_CAPABILITY, type Peer, type Whois } from '../source/whois.ts';
import { type Tokens, UNREADABLE } from '../store/tokens.ts';
import { HttpError } from './errors.ts';
import { Nonces } from './nonces.ts';
import type { OwnName } from './own-name.ts';
import type { Strangers } from './strangers.ts';

export interface IdentityDeps {
  readonly fleet: Fleet;
  readonly tokens: Tokens;
  readonly clock: Pick<Clock, 'now'>;
  readonly whois: Whois | undefined;
  /** Whoever can reach the controller may read; said in words at its start. */
  readonly openReads: boolean;
  /** A key that enrolled while another one worked has taken over. */
  readonly onKeyChange: (host: string, keyId: string) => void;
  /** Prometheus's, for /sd. */
  readonly sdToken: string | undefined;
}

export class Identity {
  readonly #deps: IdentityDeps;
  readonly #strangers: Strangers;
  readonly #ownName: OwnName;
  readonly #nonces = new Nonces();
  /** What was proved of a request before its body was read. */
  readonly #signed = new WeakMap<FastifyRequest, { readonly publicKey: string; readonly nonce: string }>();
  readonly #peers = new WeakMap<object, Promise<Peer | undefined>>();

  constructor(deps: IdentityDeps, strangers: Strangers, ownName: OwnName) {
    this.#deps = deps;
    this.#strangers = strangers;
    this.#ownName = ownName;
  }

  /**
   * The request is this host's own, as far as that shows without its body: nothing of it is kept in memory before.
   * `acceptBody` has the rest.
   * @throws HttpError
   */
  async requireHost(host: string, request: FastifyRequest): Promise<void> {
    const keys = this.#claimed(host, request);
    const { publicKey } = keys[0]!;
    this.#strangers.admitSignature(request, publicKey);
    const { headers } = request;
    const hasBody = Number(headers['content-length'] ?? 0) > 0 || headers['transfer-encoding'] !== undefined;
    this.#verify(publicKey, request, hasBody ? { bodyUnread: true } : {});
    this.#strangers.signed(request, publicKey);
    const key = await this.#fromItsNode(host, keys, request);
    if (this.#deps.fleet.members.keyUsed(host, key)) this.#deps.onKeyChange(host, keyIdOf(publicKey));
  }

  /** A request that waited must not be answered to a key that was revoked meanwhile. @throws HttpError */
  requireStill(host: string, request: FastifyRequest): void {
    const publicKey = this.#signed.get(request)?.publicKey;
    if (!this.#deps.fleet.members.keys(host).some((key) => key.publicKey === publicKey))
      throw notEnrolled(host);
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

  /** The body is the one that was signed, and this is the first request of its kind. @throws HttpError */
  acceptBody(request: FastifyRequest): void {
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    refused(() => requireDigest(request.headers, body));
    this.requireFirst(request);
  }

  /** A second request with the same signature is refused. @throws HttpError */
  requireFirst(request: FastifyRequest): void {
    const signed = this.#signed.get(request);
    if (signed === undefined) throw new HttpError('Unsigned', 'the request is not signed');
    const nowSeconds = Math.floor(this.#deps.clock.now() / 1000);
    if (!this.#nonces.isFirst(signed.publicKey, signed.nonce, nowSeconds)) {
      throw new HttpError('Replayed', 'this very request was already accepted: sign each anew');
    }
  }

  /** The sender has the key that is being enrolled. The caller has found the token to be ours. @throws HttpError */
  verifyEnrollment(publicKey: string, request: FastifyRequest): void {
    this.#verify(publicKey, request, Buffer.isBuffer(request.body) ? { body: request.body } : {});
    this.requireFirst(request);
  }

  #verify(
    publicKey: string,
    request: FastifyRequest,
    body: { readonly body?: Buffer; readonly bodyUnread?: boolean },
  ): void {
    const { nonce } = refused(() =>
      verifyRequest({
        method: request.method,
        url: request.raw.url ?? '',
        headers: request.headers,
        ...body,
        publicKey: publicKeyOf(publicKey),
        nowSeconds: Math.floor(this.#deps.clock.now() / 1000),
      }),
    );
    this.#signed.set(request, { publicKey, nonce });
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
    const { fleet, tokens, clock, openReads, whois } = this.#deps;
    const bearer = bearerOf(request);
    if (bearer !== undefined) {
      const token = parseToken(bearer);
      const name = token === undefined ? undefined : tokens.operator(token.id, token.secret, clock.now());
      if (name === UNREADABLE)
        throw new HttpError('StoreUnavailable', 'the store can’t be read: see the controller’s log');
      if (name !== undefined) {
        this.#strangers.proven(request);
        return `token:${name}`;
      }
      throw new HttpError(
        'NotAnOperator',
        'the bearer token is unknown, expired or revoked: homeostat token create --operator NAME makes one',
      );
    }
    if (openReads) {
      this.#strangers.admitRead(request);
      return 'anyone';
    }
    this.#strangers.admit(request);
    const peer = await this.peer(request);
    if (
      peer !== undefined &&
      (fleet.isOperator(peer.login) || peer.capabilities.includes(OPERATOR_CAPABILITY))
    ) {
      this.#strangers.proven(request);
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
    // Who has the token is no page in a browser, and may know the controller by any name.
    await this.#ownName.require(request);
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

  /** Those of the host's keys that the request claims to be signed with. */
  #claimed(host: string, request: FastifyRequest): MemberKey[] {
    const keys = this.#deps.fleet.members.keys(host);
    if (keys.length === 0) {
      this.#strangers.admit(request);
      throw notEnrolled(host);
    }
    const claimed = refused(() => claimedKeyId(request.headers));
    const own = keys.filter((key) => keyIdOf(key.publicKey) === claimed);
    if (own.length > 0) return own;
    this.#strangers.admit(request);
    throw new HttpError(
      'BadSignature',
      `the request is signed by key ${claimed}, and ${host} enrolled with another: enrol it again, or mend the publicKey of Host/${host}`,
    );
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
