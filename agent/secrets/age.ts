// Decrypts what git holds encrypted, with the identity that is on this host only (age-encryption.org/v1). The
// library is loaded with the first secret.
import fs from 'node:fs';
import { errnoOf, inWords, Stalled } from '../../api/errors.ts';

export interface AgeIdentity {
  readonly file: string;
  /** Another text as soon as the identity file is another one; costs one stat. */
  stamp(): string;
  /**
   * @param armored ciphertext in age's ASCII armor.
   * @param name what the ciphertext is called in messages.
   * @throws Stalled('SecretMissing') without an identity, Stalled('SecretUndecryptable') when it does not fit.
   */
  decrypt(armored: string, name: string): Promise<Buffer>;
}

export function createAgeIdentity(file: string, host: string): AgeIdentity {
  return {
    file,
    stamp() {
      const stat = fs.statSync(file, { throwIfNoEntry: false });
      return stat === undefined
        ? ''
        : `${stat.ino} ${stat.mtimeMs} ${stat.ctimeMs} ${stat.size} ${stat.mode}`;
    },
    async decrypt(armored, name) {
      const result = await decryptWith(readIdentities(file), armored);
      if (result.outcome === 'decrypted') return result.value;
      throw new Stalled(
        'SecretUndecryptable',
        result.outcome === 'damaged'
          ? `${name} is damaged (${result.why}); take it from git's history, or encrypt its value anew with \`homeostat secret encrypt\``
          : `${name} is not encrypted to this host, whose recipient is ${result.recipients.join(' or ')}; write that into Host/${host} as ageRecipient, then run \`homeostat secret rekey\``,
      );
    },
  };
}

const MAKE_ONE = '`homeostat secret keygen --out FILE` makes one';

export type Decryption =
  | { readonly outcome: 'decrypted'; readonly value: Buffer }
  | { readonly outcome: 'damaged'; readonly why: string }
  /** None of the keys, whose public halves these are, is among its recipients. */
  | { readonly outcome: 'not-for-us'; readonly recipients: readonly string[] };

/** @param ciphertext in ASCII armor, or as it is. @throws Stalled when a key is none. */
export async function decryptWith(
  keys: readonly string[],
  ciphertext: string | Uint8Array,
): Promise<Decryption> {
  const age = await import('age-encryption');
  const decrypter = new age.Decrypter();
  try {
    for (const key of keys) decrypter.addIdentity(key);
  } catch {
    throw new Stalled('SecretUndecryptable', `the identity file holds a key that is damaged; ${MAKE_ONE}`);
  }
  try {
    const bytes = typeof ciphertext === 'string' ? age.armor.decode(ciphertext) : ciphertext;
    return { outcome: 'decrypted', value: Buffer.from(await decrypter.decrypt(bytes)) };
  } catch (error) {
    if (!/no identity matched/.test(inWords(error))) return { outcome: 'damaged', why: inWords(error) };
    return { outcome: 'not-for-us', recipients: await Promise.all(keys.map(age.identityToRecipient)) };
  }
}

/**
 * The keys of an identity file as age-keygen(1) writes it: one a line, `#` begins a comment.
 * @throws Stalled in words, never with a line of the file.
 */
export function readIdentities(file: string): string[] {
  let text: string;
  try {
    const { mode } = fs.statSync(file);
    if ((mode & 0o007) !== 0) {
      throw new Stalled(
        'SecretUndecryptable',
        `the age identity ${file} is open to everybody on this host (mode ${(mode & 0o777).toString(8).padStart(4, '0')}), and is not used; chmod 0600 ${file}, and consider a new one`,
      );
    }
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof Stalled) throw error;
    if (errnoOf(error) === 'ENOENT') {
      throw new Stalled('SecretMissing', `there is no age identity ${file}; ${MAKE_ONE}`);
    }
    throw new Stalled('SecretMissing', `the age identity can't be read: ${inWords(error)}`);
  }
  const lines = text.split('\n').map((line) => line.trim());
  const keys = lines.filter((line) => line !== '' && !line.startsWith('#'));
  if (keys.length > 0 && keys.every((key) => /^AGE-SECRET-KEY-(?:PQ-)?1[A-Z0-9]+$/.test(key))) return keys;
  throw new Stalled('SecretUndecryptable', `${file} holds no age identity (AGE-SECRET-KEY-1…); ${MAKE_ONE}`);
}
