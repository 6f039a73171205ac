// Age identities and ciphertext for tests, made at run time.
import { armor, Encrypter, generateIdentity, identityToRecipient } from 'age-encryption';

export interface TestIdentity {
  /** A file's text, as age-keygen writes it. */
  readonly text: string;
  readonly recipient: string;
}

export async function testIdentity(): Promise<TestIdentity> {
  const key = await generateIdentity();
  return { text: `# made for a test\n${key}\n`, recipient: await identityToRecipient(key) };
}

/** In ASCII armor. */
export async function encrypt(value: string, ...recipients: readonly string[]): Promise<string> {
  const encrypter = new Encrypter();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  return armor.encode(await encrypter.encrypt(value));
}
