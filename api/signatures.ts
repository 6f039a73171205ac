// Signed requests between agent and controller: HTTP message signatures (RFC 9421) with Ed25519 over the method,
// the path, the query and, where there is a body, its digest (RFC 9530). Both sides use this file; what is
// accepted is exactly what signRequest writes (docs/decisions/0004-request-signatures.md).
import { createHash, type KeyObject, randomBytes, sign, timingSafeEqual, verify } from 'node:crypto';

/** How far a request's clock may be from the verifier's, seconds. */
export const CLOCK_WINDOW_SECONDS = 300;

const LABEL = 'sig1';
const COVERED = ['@method', '@path', '@query'];

export interface SignOptions {
  readonly method: string;
  /** Absolute, or path and query alone. */
  readonly url: string;
  readonly body?: string | Uint8Array;
  readonly privateKey: KeyObject;
  /** keyIdOf the public half (api/bundle.ts). */
  readonly keyId: string;
  /** Unix seconds; the controller's clock decides (the `date` header of a 401 tells it). */
  readonly createdSeconds: number;
  /** For tests. */
  readonly nonce?: string;
}

/** The headers that make the request a signed one. The body must then be sent as it is. */
export function signRequest(options: SignOptions): Record<string, string> {
  const { path, query } = targetOf(options.url);
  const headers: Record<string, string> = {};
  if (options.body !== undefined) headers['content-digest'] = contentDigest(options.body);
  const covered = coveredBy(headers['content-digest']);
  const parameters = writeParameters(covered, {
    created: options.createdSeconds,
    keyId: options.keyId,
    nonce: options.nonce ?? randomBytes(12).toString('base64url'),
  });
  const base = signatureBase(
    covered,
    { method: options.method, path, query, digest: headers['content-digest'] },
    parameters,
  );
  headers['signature-input'] = `${LABEL}=${parameters}`;
  headers['signature'] = `${LABEL}=:${sign(null, Buffer.from(base), options.privateKey).toString('base64')}:`;
  return headers;
}

export type SignatureProblem = 'Unsigned' | 'BadSignature' | 'ClockSkew';

/** Why a request is not taken for its host's; `code` is that of the error answer. */
export class SignatureRefused extends Error {
  override readonly name = 'SignatureRefused';
  readonly code: SignatureProblem;
  constructor(code: SignatureProblem, message: string) {
    super(message);
    this.code = code;
  }
}

export interface SignatureParameters {
  readonly created: number;
  readonly keyId: string;
  readonly nonce: string;
}

export interface VerifyOptions {
  readonly method: string;
  /** As it came: the request target of the request line. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The body's bytes; undefined when the request has none. */
  readonly body?: Uint8Array | string;
  /** There is a body, and nobody has read it: what is proved is who sends it, and not what. */
  readonly bodyUnread?: boolean;
  readonly publicKey: KeyObject;
  readonly nowSeconds: number;
}

/**
 * @returns what the signature says of itself; whoever must guard against replay remembers its nonce for
 *   2 × CLOCK_WINDOW_SECONDS.
 * @throws SignatureRefused
 */
export function verifyRequest(options: VerifyOptions): SignatureParameters {
  const { parameters, text, covered } = readSignatureInput(options.headers);
  const signature = readSignature(options.headers);
  const digest = single(options.headers, 'content-digest');
  const { path, query } = targetOf(options.url);
  const hasBody = options.bodyUnread === true || (options.body !== undefined && options.body.length > 0);
  if (covered.join() !== coveredBy(digest).join() || (hasBody && digest === undefined)) {
    throw new SignatureRefused(
      'BadSignature',
      `the signature must cover ${coveredBy(hasBody ? 'yes' : undefined).join(', ')}, and covers ${covered.join(', ')}`,
    );
  }
  const base = signatureBase(covered, { method: options.method, path, query, digest }, text);
  // The signature first: a stranger learns nothing about clocks.
  if (!verify(null, Buffer.from(base), options.publicKey, signature)) {
    throw new SignatureRefused(
      'BadSignature',
      `the signature does not fit the request and key ${parameters.keyId}`,
    );
  }
  if (options.bodyUnread !== true) requireDigest(options.headers, options.body ?? '');
  const off = parameters.created - options.nowSeconds;
  if (Math.abs(off) > CLOCK_WINDOW_SECONDS) {
    const how = `${Math.abs(off)} s ${off < 0 ? 'behind' : 'ahead of'}`;
    throw new SignatureRefused(
      'ClockSkew',
      `the request's clock is ${how} this one: sign by the Date header of this answer`,
    );
  }
  return parameters;
}

/** For a request that was verified with `bodyUnread`, once its body is there. @throws SignatureRefused */
export function requireDigest(headers: VerifyOptions['headers'], body: Uint8Array | string): void {
  const digest = single(headers, 'content-digest');
  if ((digest === undefined && body.length === 0) || sameText(digest ?? '', contentDigest(body))) return;
  throw new SignatureRefused('BadSignature', 'the body is not the one whose digest was signed');
}

/** The key that a request says it is signed with, so that it can be looked up. @throws SignatureRefused */
export function claimedKeyId(headers: VerifyOptions['headers']): string {
  return readSignatureInput(headers).parameters.keyId;
}

/** RFC 9530, section 2. */
function contentDigest(body: string | Uint8Array): string {
  return `sha-256=:${createHash('sha256').update(body).digest('base64')}:`;
}

function coveredBy(digest: string | undefined): string[] {
  return digest === undefined ? COVERED : [...COVERED, 'content-digest'];
}

/** RFC 9421, section 2.5. */
function signatureBase(
  covered: readonly string[],
  parts: { method: string; path: string; query: string; digest: string | undefined },
  parameters: string,
): string {
  const values: Record<string, string> = {
    '@method': parts.method.toUpperCase(),
    '@path': parts.path,
    '@query': parts.query,
    'content-digest': parts.digest ?? '',
  };
  return [...covered.map((name) => `"${name}": ${values[name]}`), `"@signature-params": ${parameters}`].join(
    '\n',
  );
}

function writeParameters(covered: readonly string[], { created, keyId, nonce }: SignatureParameters): string {
  return `(${covered.map((name) => `"${name}"`).join(' ')});created=${created};keyid="${keyId}";alg="ed25519";nonce="${nonce}"`;
}

const INPUT =
  /^sig1=(\(((?:"[@a-z0-9-]+"(?: (?!\)))?)*)\);created=(\d{1,12});keyid="([A-Za-z0-9_-]{1,64})";alg="ed25519";nonce="([A-Za-z0-9_-]{8,64})")$/;

function readSignatureInput(headers: VerifyOptions['headers']): {
  parameters: SignatureParameters;
  text: string;
  covered: string[];
} {
  const value = single(headers, 'signature-input');
  if (value === undefined)
    throw new SignatureRefused(
      'Unsigned',
      'the request is not signed: only an enrolled agent is answered here',
    );
  const match = INPUT.exec(value);
  if (match === null)
    throw new SignatureRefused('BadSignature', 'the signature-input header is not one that homeostat writes');
  const [, text = '', names = '', created = '', keyId = '', nonce = ''] = match;
  const covered = names
    .split(' ')
    .filter(Boolean)
    .map((name) => name.slice(1, -1));
  return { parameters: { created: Number(created), keyId, nonce }, text, covered };
}

function readSignature(headers: VerifyOptions['headers']): Buffer {
  const match = /^sig1=:([A-Za-z0-9+/]{86}==):$/.exec(single(headers, 'signature') ?? '');
  if (match === null)
    throw new SignatureRefused('BadSignature', 'the signature header is not one that homeostat writes');
  return Buffer.from(match[1]!, 'base64');
}

function single(headers: VerifyOptions['headers'], name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : value?.join(', ');
}

/** `@path` and `@query` as sections 2.2.6 and 2.2.7 have them. */
function targetOf(url: string): { path: string; query: string } {
  const rest = url.replace(/^https?:\/\/[^/?#]*/i, '').replace(/#.*$/, '');
  const mark = rest.indexOf('?');
  const path = mark < 0 ? rest : rest.slice(0, mark);
  return { path: path === '' ? '/' : path, query: mark < 0 ? '?' : rest.slice(mark) };
}

function sameText(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}
