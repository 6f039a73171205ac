// The controller's signing keys: one file, mode 0600, one base64 seed a line. The first signs; the others are
// handed to agents that enrol as trusted too. So a key is changed in two steps, and nobody is locked out: add the
// next one, and have it sign once every agent trusts it.
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { keyIdOf, privateKeyOf, rawPublicKey } from '../../api/bundle.ts';
import { fingerprintOf } from '../../api/enroll.ts';
import { errnoOf, inWords } from '../../api/errors.ts';
import { flush, makeDirectory, putInPlace } from '../store/directory.ts';

export interface SigningKeys {
  readonly privateKey: KeyObject;
  readonly keyId: string;
  /** Base64 raw public keys; the signing one first. */
  readonly trusted: readonly string[];
  /** Of the signing key; what a token carries. */
  readonly fingerprint: string;
}

/** @throws Error in words when the file is there and can't be used. */
export function readKeys(file: string): SigningKeys | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw new Error(`the signing key ${file} can't be read: ${inWords(error)}`);
  }
  const seeds = seedsOf(text);
  if (seeds.length === 0)
    throw new Error(`${file} holds no key: restore it from a backup (docs/runbooks/controller-down.md)`);
  try {
    const keys = seeds.map(privateKeyOf);
    const trusted = keys.map(rawPublicKey);
    return {
      privateKey: keys[0]!,
      keyId: keyIdOf(trusted[0]!),
      trusted,
      fingerprint: fingerprintOf(trusted[0]!),
    };
  } catch (error) {
    throw new Error(`${file} is not a file of signing keys: ${(error as Error).message}`);
  }
}

/** The first key. One that another process made at the same moment is the one. */
export function createKey(file: string): SigningKeys {
  writeIfMissing(file, `${newSeed()}\n`);
  return readKeys(file)!;
}

/** Never over what is there. */
export function writeIfMissing(file: string, text: string): void {
  const temporary = `${file}.new-${randomBytes(4).toString('hex')}`;
  writePrivate(temporary, text);
  try {
    putInPlace(temporary, file);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Adds a key behind those that are there; the only one signs. */
export function addKey(file: string): SigningKeys {
  writePrivate(file, `${[...readSeeds(file), newSeed()].join('\n')}\n`);
  return readKeys(file)!;
}

/** Has the key that was added last sign, from the next start on. @throws Error when there is only one. */
export function promoteKey(file: string): SigningKeys {
  const seeds = readSeeds(file);
  if (seeds.length < 2)
    throw new Error(`${file} holds no other key: add one with --next, and let agents learn of it first`);
  writePrivate(file, `${[seeds.at(-1), ...seeds.slice(0, -1)].join('\n')}\n`);
  return readKeys(file)!;
}

function readSeeds(file: string): string[] {
  try {
    return seedsOf(readFileSync(file, 'utf8'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Base64 of the 32-byte seed of a new Ed25519 key. */
export function newSeed(): string {
  const { d } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  return Buffer.from(d!, 'base64url').toString('base64');
}

/** Whole or not at all, and for nobody else to read. */
export function writePrivate(file: string, text: string): void {
  makeDirectory(dirname(file), 0o700);
  const temporary = `${file}.new`;
  writeFileSync(temporary, text, { mode: 0o600, flush: true });
  renameSync(temporary, file);
  flush(dirname(file));
}

function seedsOf(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}
