// What the controller hands to one host: a signed envelope, and the payload it names by digest. Both travel as
// the exact text that was signed or hashed, so no two programs need to agree on how JSON is written.
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import * as z from 'zod';
import { API_VERSION, DependencyUntil, Labels, Mode, Name, Prune } from './documents.ts';
import { sha256 } from './json.ts';
import { jsonMistake, mistakesIn } from './mistakes.ts';

/** A document as one host gets it: interpolated, files inlined, defaults of the envelope filled in. */
export const Resource = z.object({
  kind: z.string(),
  name: Name,
  dependsOn: z.array(DependencyUntil.required()),
  drift: z.enum(['enforce', 'warn']),
  prune: Prune,
  /** There is one of it for the fleet: its document has runOn. A controller of release 0.1 does not say so. */
  scope: z.literal('fleet').optional(),
  suspend: z.boolean(),
  spec: z.record(z.string(), z.unknown()),
  /** `file:line` of the document in git, for people. */
  source: z.string(),
});
export type Resource = z.infer<typeof Resource>;

export const Payload = z.object({
  apiVersion: z.literal(API_VERSION),
  host: z.object({
    name: Name,
    address: z.string().optional(),
    labels: Labels,
    mode: Mode,
    decommission: z.boolean(),
    confirmRemovals: z.array(z.string()),
    /** Keys of documents with runOn and a `prune` of their own that other hosts keep: this one removes none of it. */
    elsewhere: z.array(z.string()).optional(),
  }),
  resources: z.array(Resource),
});
export type Payload = z.infer<typeof Payload>;

export const Envelope = z.object({
  apiVersion: z.literal(API_VERSION),
  host: Name,
  /** Per publish, ever rising: going back to an old commit is a new sequence. */
  sequence: z.int().positive(),
  /** Object name of the commit, or a word for what is not in git (`homeostat once`). */
  commit: z.string(),
  payloadDigest: z.string().regex(/^[0-9a-f]{64}$/),
  issuedAt: z.iso.datetime(),
});
export type Envelope = z.infer<typeof Envelope>;

export const SignedBundle = z.object({
  envelope: z.string(),
  signature: z.object({ keyId: z.string(), value: z.string() }),
  /** Left out when the agent said that it has it. */
  payload: z.string().optional(),
});
export type SignedBundle = z.infer<typeof SignedBundle>;

/** `Kind/name`, the key of a resource everywhere: queue, journal, inventory, status. */
export function keyOf(resource: { kind: string; name: string }): string {
  return `${resource.kind}/${resource.name}`;
}

/** First 16 hex digits of the SHA-256 of a raw Ed25519 public key: names a key where people read it. */
export function keyIdOf(publicKey: string): string {
  return sha256(Buffer.from(publicKey, 'base64')).slice(0, 16);
}

const SPKI_ED25519 = Buffer.from('302a300506032b6570032100', 'hex'); // RFC 8410, section 4
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex'); // RFC 8410, section 7

/** @param raw base64 of the 32 bytes of an Ed25519 public key. @throws Error when it is not one. */
export function publicKeyOf(raw: string): KeyObject {
  const bytes = Buffer.from(raw, 'base64');
  if (bytes.length !== 32) throw new Error('an Ed25519 public key has 32 bytes, given as base64');
  return createPublicKey({ key: Buffer.concat([SPKI_ED25519, bytes]), format: 'der', type: 'spki' });
}

/** @param raw base64 of the 32-byte seed of an Ed25519 private key. @throws Error when it is not one. */
export function privateKeyOf(raw: string): KeyObject {
  const bytes = Buffer.from(raw, 'base64');
  if (bytes.length !== 32) throw new Error('an Ed25519 private key has 32 bytes, given as base64');
  return createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, bytes]), format: 'der', type: 'pkcs8' });
}

/** Base64 of the raw 32 bytes of a key pair's public half. */
export function rawPublicKey(key: KeyObject): string {
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return spki.subarray(spki.length - 32).toString('base64');
}

/** Working out a key's name costs as much as a signature, and a controller signs ten thousand times with one key. */
const keyIds = new WeakMap<KeyObject, string>();

export function signEnvelope(envelope: Envelope, privateKey: KeyObject): Omit<SignedBundle, 'payload'> {
  const text = JSON.stringify(envelope);
  const keyId = keyIds.get(privateKey) ?? keyIdOf(rawPublicKey(privateKey));
  keyIds.set(privateKey, keyId);
  return {
    envelope: text,
    signature: {
      keyId,
      value: sign(null, Buffer.from(text), privateKey).toString('base64'),
    },
  };
}

/** Why an agent refused a bundle; `result` is the label of homeostat_pull_total. */
export class BundleRefused extends Error {
  override readonly name = 'BundleRefused';
  readonly result: 'malformed' | 'bad_signature' | 'wrong_host' | 'replayed' | 'bad_digest';
  constructor(result: BundleRefused['result'], message: string) {
    super(message);
    this.result = result;
  }
}

/**
 * The envelope, when one of the trusted keys signed it, for this host.
 * @param trusted base64 raw public keys; more than one while keys are being rotated.
 * @throws BundleRefused
 */
export function openEnvelope(bundle: SignedBundle, host: string, trusted: readonly string[]): Envelope {
  const signature = Buffer.from(bundle.signature.value, 'base64');
  const text = Buffer.from(bundle.envelope);
  if (!trusted.some((key) => verify(null, text, publicKeyOf(key), signature))) {
    throw new BundleRefused(
      'bad_signature',
      `the bundle is signed by key ${bundle.signature.keyId}, and its signature fits none of the trusted keys ${trusted.map(keyIdOf).join(', ')}`,
    );
  }
  const envelope = parseJson(Envelope, bundle.envelope, 'envelope');
  if (envelope.host !== host) {
    throw new BundleRefused('wrong_host', `the bundle is for host ${envelope.host}, and this is ${host}`);
  }
  return envelope;
}

/** @throws BundleRefused when the text is not the payload that the envelope names, or not a payload. */
export function openPayload(envelope: Envelope, text: string): Payload {
  const digest = sha256(text);
  if (digest !== envelope.payloadDigest) {
    throw new BundleRefused(
      'bad_digest',
      `the payload has digest ${digest.slice(0, 12)}, and the envelope names ${envelope.payloadDigest.slice(0, 12)}`,
    );
  }
  return parseJson(Payload, text, 'payload');
}

function parseJson<T>(schema: z.ZodType<T>, text: string, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new BundleRefused('malformed', `the ${what} is not JSON: ${jsonMistake(text, error)}`);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new BundleRefused('malformed', `the ${what} is malformed: ${mistakesIn(parsed.error, value)}`);
}
