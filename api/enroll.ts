// How a host and its controller get to know each other. The operator carries a token from one to the other: it
// proves to the controller that the host is meant, and its fingerprint proves to the host whom it talks to.
import { type KeyObject, sign, verify } from 'node:crypto';
import * as z from 'zod';
import { keyIdOf, publicKeyOf, rawPublicKey } from './bundle.ts';
import { Name } from './documents.ts';
import { canonical, sha256 } from './json.ts';

const PublicKey = z.string().regex(/^[A-Za-z0-9+/]{43}=$/, 'a public key is 44 characters of base64');

/** Sent signed with the key that it carries (api/signatures.ts), which proves possession. */
export const EnrollRequest = z.strictObject({
  /** `hs1_<id>.<secret>`: the token without its fingerprint, which the controller has no need to see. */
  token: z.string().max(200),
  host: Name,
  publicKey: PublicKey,
  /** The highest sequence this host ever saw, so that a controller which lost its store goes on above it. */
  sequenceSeen: z.int().nonnegative().optional(),
});
export type EnrollRequest = z.infer<typeof EnrollRequest>;

export const EnrollAnswer = z.object({
  host: Name,
  /** Base64 raw keys, any of which may sign this host's bundles. */
  trustedKeys: z.array(PublicKey).min(1),
  /** By the key whose fingerprint the token carries, over host, agent's key and trusted keys. */
  signature: z.object({ keyId: z.string(), value: z.string() }),
});
export type EnrollAnswer = z.infer<typeof EnrollAnswer>;

export interface ParsedToken {
  readonly id: string;
  readonly secret: string;
  /** Of the controller's signing key; missing in what is sent to the controller. */
  readonly fingerprint: string | undefined;
}

export function formatToken(id: string, secret: string, fingerprint: string): string {
  return `hs1_${id}.${secret}.${fingerprint}`;
}

/** @returns undefined when the text is no token. */
export function parseToken(text: string): ParsedToken | undefined {
  const match = /^hs1_([0-9a-f]{8})\.([A-Za-z0-9_-]{32})(?:\.([0-9a-f]{32}))?$/.exec(text.trim());
  return match === null ? undefined : { id: match[1]!, secret: match[2]!, fingerprint: match[3] };
}

/** First 32 hex digits of the SHA-256 of a raw public key: its keyId, twice as long. */
export function fingerprintOf(publicKey: string): string {
  return sha256(Buffer.from(publicKey, 'base64')).slice(0, 32);
}

export function signEnrollment(
  host: string,
  agentKey: string,
  trustedKeys: readonly string[],
  privateKey: KeyObject,
): EnrollAnswer {
  const value = sign(null, statement(host, agentKey, trustedKeys), privateKey).toString('base64');
  return {
    host,
    trustedKeys: [...trustedKeys],
    signature: { keyId: keyIdOf(rawPublicKey(privateKey)), value },
  };
}

/** Whether the answer comes from the controller whose fingerprint the token carries. */
export function isGenuine(answer: EnrollAnswer, agentKey: string, fingerprint: string): boolean {
  const key = answer.trustedKeys.find((candidate) => fingerprintOf(candidate) === fingerprint);
  if (key === undefined) return false;
  const text = statement(answer.host, agentKey, answer.trustedKeys);
  return verify(null, text, publicKeyOf(key), Buffer.from(answer.signature.value, 'base64'));
}

function statement(host: string, agentKey: string, trustedKeys: readonly string[]): Buffer {
  return Buffer.from(canonical({ type: 'homeostat-enrollment', host, agentKey, trustedKeys }));
}
