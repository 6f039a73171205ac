// The key that a repository is pinned to: where its bytes come from, and that they are the key that was named. Whoever
// serves the bytes can be anybody, since only a key with the pinned fingerprint gets into the keyring.
import { inWords, Stalled } from '../../api/errors.ts';
import type { Concern } from '../kind.ts';
import type { Ports } from '../ports.ts';
import { KeyError } from './armour.ts';
import { lastOf, type PublicKey, readKeys } from './openpgp.ts';
import type { AptRepositorySpec } from './schema.ts';

type Io = Pick<Ports, 'files' | 'http'>;

const FETCH_TIMEOUT_MS = 20_000;
const REDIRECTS = 3;
/** Above any key. */
const LONGEST_KEY = 1024 * 1024;
const DAY_MS = 86_400_000;

export interface Keyring {
  readonly bytes: Buffer;
  readonly fingerprints: readonly string[];
  readonly keys: readonly Pick<PublicKey, 'expiresMs' | 'signing'>[];
}

/**
 * When the first of its keys expires, unix milliseconds; undefined for never. Of a key that signed what is there, that of
 * the very subkey counts: its others say nothing of what apt will make of the next index.
 * @param signers ends of fingerprints, as `signersOf` gives them
 */
export function expiryFor({ keys }: Keyring, signers: readonly string[]): number | undefined {
  const used = keys.map(({ signing }) =>
    signing.filter(({ fingerprint }) => signers.some((signer) => fingerprint.endsWith(signer))),
  );
  const counting = used.some((some) => some.length > 0) ? used.filter((some) => some.length > 0) : undefined;
  const ends = (counting?.map(lastOf) ?? keys.map(({ expiresMs }) => expiresMs)).flatMap((end) => end ?? []);
  return ends.length === 0 ? undefined : Math.min(...ends);
}

/** Whether git itself holds the key: then only git can renew it. */
export const isInGit = ({ key }: AptRepositorySpec): boolean =>
  key.file === undefined && key.url === undefined;

/**
 * The keyring with the pinned keys of these bytes and no others.
 * @param origin what the bytes are called in the message. @throws Stalled('KeyUnreadable' | 'KeyMismatch')
 */
export function pinned(spec: AptRepositorySpec, material: Buffer, origin: string): Keyring {
  let keys: PublicKey[];
  try {
    keys = readKeys(material);
  } catch (error) {
    if (!(error instanceof KeyError)) throw error;
    throw new Stalled('KeyUnreadable', `the key in ${origin} can't be used: ${error.message}`);
  }
  const chosen = fingerprintsOf(spec).map((wanted) => {
    const key = keys.find(({ fingerprint }) => fingerprint === wanted);
    if (key !== undefined) return key;
    const found = keys.map(({ fingerprint }) => fingerprint).join(', ');
    throw new Stalled(
      'KeyMismatch',
      `the key in ${origin} is ${found}, and ${wanted} is pinned; nothing was written`,
    );
  });
  return {
    bytes: Buffer.concat(chosen.map(({ packets }) => packets)),
    fingerprints: chosen.map(({ fingerprint }) => fingerprint),
    keys: chosen,
  };
}

/** What stands in a file, when that is a keyring of the pinned keys and nothing else. */
export function exactly(spec: AptRepositorySpec, content: Buffer): Keyring | undefined {
  try {
    const keyring = pinned(spec, content, 'the keyring');
    return keyring.bytes.equals(content) ? keyring : undefined;
  } catch (error) {
    if (error instanceof Stalled) return undefined;
    throw error;
  }
}

/** The key from where the manifest says. @throws Stalled('KeyMissing' | …); Error while nobody answers. */
export async function obtain(spec: AptRepositorySpec, io: Io, signal: AbortSignal): Promise<Keyring> {
  const { content, file, url } = spec.key;
  if (file !== undefined) {
    const state = io.files.read(file);
    if (state.type !== 'file')
      throw new Stalled(
        'KeyMissing',
        `there is no file ${file} on this host: put the repository’s key there`,
      );
    return pinned(spec, state.content, file);
  }
  if (url !== undefined) return pinned(spec, await fetchKey(url, io, signal), url);
  return pinned(spec, Buffer.from(content ?? ''), 'the manifest');
}

async function fetchKey(first: string, io: Io, signal: AbortSignal): Promise<Buffer> {
  let url = first;
  for (let i = 0; i <= REDIRECTS; i++) {
    const answer = await io.http
      .request(url, { timeoutMs: FETCH_TIMEOUT_MS, signal, encoding: 'latin1' })
      .catch((error: unknown) => {
        signal.throwIfAborted();
        throw new Error(`the key can't be fetched from ${url}: ${inWords(error)}`);
      });
    if (answer.status === 200) return Buffer.from(answer.body.slice(0, LONGEST_KEY), 'latin1');
    const location = answer.headers['location'];
    if (answer.status >= 500 || answer.status === 429) throw new Error(`${url} answered ${answer.status}`);
    if (answer.status < 300 || answer.status >= 400 || location === undefined)
      throw new Stalled('KeyMissing', `${url} answered ${answer.status}: it has no key there`);
    const next = new URL(location, url);
    // What is granted is the origin that the manifest names.
    if (next.origin !== new URL(first).origin) {
      throw new Stalled('KeyMissing', `${url} leads to ${next.origin}: name the address there, and grant it`);
    }
    url = next.href;
  }
  throw new Stalled('KeyMissing', `${first} leads from one address to another, more than ${REDIRECTS} times`);
}

export function fingerprintsOf({ key }: AptRepositorySpec): string[] {
  return [key.fingerprint].flat().map((text) => text.replaceAll(' ', '').toUpperCase());
}

/** The condition KeyExpiry. False is good, as with TailscaleClient's: valid for longer than the warning, or for ever. */
export function expiryConcern(
  spec: AptRepositorySpec,
  keyring: Keyring | undefined,
  { signers, nowMs }: { readonly signers: readonly string[]; readonly nowMs: number },
): Concern[] {
  if (keyring === undefined) return [];
  const type = 'KeyExpiry';
  const expiresMs = expiryFor(keyring, signers);
  if (expiresMs === undefined)
    return [{ type, status: 'False', reason: 'NeverExpires', message: 'the key does not expire' }];
  const day = new Date(expiresMs).toISOString().slice(0, 10);
  const days = Math.floor((expiresMs - nowMs) / DAY_MS);
  const remedy = isInGit(spec)
    ? 'put the renewed key into git'
    : 'it is taken anew once its publisher renewed it';
  if (expiresMs <= nowMs)
    return [{ type, status: 'True', reason: 'Expired', message: `the key expired on ${day}; ${remedy}` }];
  if (days < (spec.keyExpiryWarningDays ?? 30)) {
    const message = `the key expires in ${days} days, on ${day}; ${remedy}`;
    return [{ type, status: 'True', reason: 'ExpiresSoon', message }];
  }
  return [{ type, status: 'False', reason: 'Valid', message: `the key is valid until ${day}` }];
}
