// Age identities of hosts and of people: files with a private key, for their owner only.
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Option } from 'commander';
import { decryptWith, readIdentities } from '../../agent/secrets/age.ts';
import { isAgeArmor } from '../../api/documents.ts';
import { writePrivate } from '../../controller/fleet/keys.ts';
import { file as aFile, orFrom } from '../options.ts';

export const IDENTITY_OPTION = orFrom(
  'HOMEOSTAT_AGE_IDENTITY',
  new Option('--identity <file>', 'your age identity; default: ~/.config/homeostat/age.key'),
).argParser(aFile);

/** Makes the identity where there is none. @returns its public half. @throws Error when the file is none. */
export async function ensureIdentity(file: string): Promise<{ recipient: string; isNew: boolean }> {
  const age = await import('age-encryption');
  const isNew = !existsSync(file);
  if (isNew) {
    const key = await age.generateIdentity();
    writePrivate(file, `# public key: ${await age.identityToRecipient(key)}\n${key}\n`);
  }
  return { recipient: await age.identityToRecipient(readIdentities(file)[0]!), isNew };
}

/** @throws Error when there is no identity, or not the right one; the message says whose file it is. */
export async function decryptFile(
  name: string,
  bytes: Buffer,
  identity: string | undefined,
): Promise<Buffer> {
  const from = identity ?? join(homedir(), '.config/homeostat/age.key');
  const text = bytes.toString();
  const result = await decryptWith(readIdentities(from), isAgeArmor(text) ? text : bytes);
  if (result.outcome === 'decrypted') return result.value;
  if (result.outcome === 'damaged')
    throw new Error(`${name} is no age file, or damaged (${result.why}): take it from git's history`);
  throw new Error(
    `${name} is not encrypted to you (${from} is ${result.recipients.join(' or ')}): somebody who can read it adds that to secretRecipients of the Fleet and runs homeostat secret rekey`,
  );
}
