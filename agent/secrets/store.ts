// Secrets are resolved here, on the host, as late as possible. Nothing but `reveal()` gives the value; what is
// compared and stored is its HMAC under a key that this host made and never sends.
import { createHmac, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { inspect } from 'node:util';
import { isSecretRef, type SecretRef, type SecretSource } from '../../api/documents.ts';
import { Stalled } from '../../api/errors.ts';
import type { Permission, Secret } from '../../kinds/kind.ts';
import { readIfThere, writeDurably } from '../journal/durable.ts';
import type { AgeIdentity } from './age.ts';
import { isOneOf, readSecretFile, withoutLastNewline } from './file.ts';
import { Redactor } from './redact.ts';

export interface SecretStore {
  /**
   * Decrypts those of the secrets that are encrypted and not known yet; `resolve` then answers at once. What is
   * wrong with one is kept, and thrown by `resolve`.
   * @returns undefined when there is nothing to wait for.
   */
  prepare(refs: readonly SecretRef[]): Promise<void> | undefined;
  /**
   * @throws Stalled('SecretMissing') with the place that was looked at, Stalled('SecretUndecryptable'); the value is
   * in no message.
   */
  resolve(ref: SecretRef): Secret;
  /** The file that a change of the secret would show in, if it has one. */
  fileOf(ref: SecretRef): string | undefined;
  /** A text without the values that were resolved here. */
  hide(text: string): string;
}

export interface SecretStoreOptions {
  readonly stateDir: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly age: AgeIdentity;
  /** Paths of the agent's own: no manifest reads them, whatever is allowed. */
  readonly own?: readonly string[];
  /** Whether manifests may read this file, which another one that they named leads to. Default: yes. */
  readonly allows?: (file: string) => boolean;
  /** To look only: a key that is not there yet is not kept. */
  readonly readOnly?: boolean;
}

/** Decrypted values kept: more than one host has. */
const MOST_DECRYPTED = 1000;

export function createSecretStore(options: SecretStoreOptions): SecretStore {
  const { stateDir, env, age, own = [], allows = () => true, readOnly = false } = options;
  let key: Buffer | undefined;
  const hmacKey = () => (key ??= loadHmacKey(path.join(stateDir, 'secret-hmac.key'), readOnly));
  const redactor = new Redactor();
  /** By ciphertext, of the identity file as it was at `stamp`. */
  const decrypted = new Map<string, Buffer | Stalled>();
  let stamp: string | undefined;

  function fileOf({ secretFrom: source }: SecretRef): string | undefined {
    if ('file' in source) return source.file;
    if ('age' in source || 'ageFrom' in source) return age.file;
    const credentials = env['CREDENTIALS_DIRECTORY']; // systemd.exec(5), LoadCredential=
    return 'credential' in source && credentials !== undefined
      ? path.join(credentials, source.credential)
      : undefined;
  }

  async function decrypt(source: AgeSource): Promise<void> {
    const began = stamp;
    let result: Buffer | Stalled;
    try {
      result = withoutLastNewline(await age.decrypt(source.age, nameOf(source)));
    } catch (error) {
      if (!(error instanceof Stalled)) throw error;
      result = error;
    }
    if (stamp !== began) return;
    decrypted.set(source.age, result);
    if (decrypted.size > MOST_DECRYPTED) decrypted.delete(decrypted.keys().next().value!);
  }

  function read(source: SecretSource): Buffer {
    if ('env' in source) return readVariable(source.env, env);
    if ('age' in source) {
      const value = decrypted.get(source.age);
      if (value instanceof Stalled) throw value;
      if (value === undefined) throw new Error(`${nameOf(source)} is not decrypted yet`);
      return value;
    }
    if ('ageFrom' in source) {
      throw new Stalled('SecretMissing', `the controller did not send the ciphertext of ${source.ageFrom}`);
    }
    const file = fileOf({ secretFrom: source });
    if (file === undefined) throw withoutCredentials(source);
    return readSecretFile(file, (real, stat) => {
      if (isOneOf([stateDir, age.file, ...own], real, stat)) {
        const message = `${file} is one of the agent's own keys: no manifest may use it as a secret`;
        throw new Stalled('NotAllowed', message);
      }
      // systemd's own directory is behind a link for no reason of a manifest's.
      if (real === file || 'credential' in source || allows(real)) return;
      const message = `${file} leads to ${real}, which this host's agent does not allow (allow.secrets)`;
      throw new Stalled('NotAllowed', message);
    });
  }

  return {
    fileOf,
    hide: (text) => redactor.hide(text),
    prepare(refs) {
      const sources = refs.flatMap(({ secretFrom }) => ('age' in secretFrom ? [secretFrom] : []));
      if (sources.length === 0) return undefined;
      const now = age.stamp();
      if (now !== stamp) decrypted.clear();
      stamp = now;
      const unknown = sources.filter((source) => !decrypted.has(source.age));
      return unknown.length === 0 ? undefined : Promise.all(unknown.map(decrypt)).then(() => {});
    },
    resolve(ref) {
      const value = read(ref.secretFrom);
      const hmac = createHmac('sha256', hmacKey()).update(value).digest('hex');
      redactor.add(hmac, value);
      return new OpaqueSecret(value, hmac);
    },
  };
}

type AgeSource = Extract<SecretSource, { age: string }>;

function nameOf(source: AgeSource): string {
  return source.ageFrom ?? 'the ciphertext in the manifest (secretFrom.age)';
}

function readVariable(name: string, env: SecretStoreOptions['env']): Buffer {
  const value = env[name];
  if (value !== undefined) return Buffer.from(value);
  throw new Stalled(
    'SecretMissing',
    `the agent has no environment variable ${name}; set it in the agent's unit, by EnvironmentFile=`,
  );
}

function withoutCredentials(source: SecretSource): Stalled {
  const name = 'credential' in source ? source.credential : '';
  return new Stalled(
    'SecretMissing',
    `the agent was started without credentials; its unit needs LoadCredential=${name}:/path`,
  );
}

class OpaqueSecret implements Secret {
  readonly #value: Buffer;
  readonly hmac: string;
  constructor(value: Buffer, hmac: string) {
    this.#value = value;
    this.hmac = hmac;
  }
  reveal(): Buffer {
    return this.#value;
  }
  toString(): string {
    return '[secret]';
  }
  toJSON(): string {
    return '[secret]';
  }
  [inspect.custom](): string {
    return '[secret]';
  }
}

function loadHmacKey(file: string, readOnly: boolean): Buffer {
  const text = readIfThere(file);
  if (text !== undefined && /^[0-9a-f]{64}$/.test(text)) return Buffer.from(text, 'hex');
  const fresh = randomBytes(32);
  // Without a state directory nothing is remembered that the key would have to fit (a first `plan`).
  if (!readOnly && fs.existsSync(path.dirname(file))) writeDurably(file, fresh.toString('hex'));
  return fresh;
}

const known = new WeakMap<object, readonly SecretRef[]>();

/** Every secret that a spec, or a record, names, wherever it stands. An object is looked through once. */
export function secretRefsIn(spec: unknown): readonly SecretRef[] {
  if (typeof spec !== 'object' || spec === null) return [];
  let refs = known.get(spec);
  if (refs === undefined) {
    refs = findRefs(spec);
    known.set(spec, refs);
  }
  return refs;
}

function findRefs(value: unknown): SecretRef[] {
  if (isSecretRef(value)) return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(findRefs);
}

/** The same secret as it is encrypted in `refs`, if it is among them: of one file in git the latest content. */
export function latest(ref: SecretRef, refs: readonly SecretRef[]): SecretRef {
  const fileOf = ({ secretFrom }: SecretRef) => ('age' in secretFrom ? secretFrom.ageFrom : undefined);
  const file = fileOf(ref);
  return (file === undefined ? undefined : refs.find((other) => fileOf(other) === file)) ?? ref;
}

/** What the host's owner is asked for a secret: a manifest must not read whatever root can read. */
export function secretPermissions(refs: readonly SecretRef[]): Permission[] {
  const values = refs.map(({ secretFrom: source }) => {
    if ('file' in source) return source.file;
    if ('env' in source) return `env:${source.env}`;
    return 'credential' in source ? `credential:${source.credential}` : 'age';
  });
  return [...new Set(values)].map((value) => ({ type: 'secret', value }));
}

/**
 * A spec for its digest: ciphertext is another one after each encryption, and the secret is in the digest by its
 * HMAC already.
 */
export function withoutCiphertext(value: unknown): unknown {
  if (isSecretRef(value)) {
    return 'age' in value.secretFrom || 'ageFrom' in value.secretFrom ? { secretFrom: 'age' } : value;
  }
  if (Array.isArray(value)) return value.map(withoutCiphertext);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, withoutCiphertext(item)]));
}
