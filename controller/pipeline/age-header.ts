// What an age file shows of its recipients without any key. Pure.
import { isAgeArmor } from '../../api/documents.ts';

/** How many recipients a ciphertext has, decoys aside; undefined when it is no age file. */
export function recipientCount(armored: string): number | undefined {
  if (!isAgeArmor(armored)) return undefined;
  const base64 = armored.replace(/-----[A-Z ]+-----/g, '').replace(/\s+/g, '');
  const lines = Buffer.from(base64, 'base64').toString('latin1').split('\n');
  const end = lines.findIndex((line) => line.startsWith('---'));
  if (lines[0] !== 'age-encryption.org/v1' || end < 0) return undefined;
  // rage puts a stanza there that nobody can read, so that readers learn to skip what they don't know.
  const stanzas = lines.slice(1, end).filter((line) => /^-> (?!\S*-grease\b)/.test(line));
  return stanzas.length === 0 ? undefined : stanzas.length;
}
