// Secrets are resolved here, on the host, as late as possible. Nothing but `reveal()` gives the value; what is
// compared and stored is its HMAC under a key that this host made and never sends.
import { createHmac, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { inspect } from 'node:util';
import { isSecretRef, type SecretRef } from '../../api/documents.ts';
import { inWords, Stalled } from '../../api/errors.ts';
import type { Secret } from '../../kinds/kind.ts';
import { readIfThere, writeDurably } from '../journal/durable.ts';

export interface SecretStore {
  /** @throws Stalled('SecretMissing') with the place that was looked at; the value is in no message. */
  resolve(ref: SecretRef): Secret;
  /** The file that a change of the secret would show in, if it has one. */
  fileOf(ref: SecretRef): string | undefined;
}

export function createSecretStore(
  stateDir: string,
  env: Readonly<Record<string, string | undefined>>,
): SecretStore {
  let key: Buffer | undefined;
  const hmacKey = () => (key ??= loadHmacKey(path.join(stateDir, 'secret-hmac.key')));

  function fileOf(ref: SecretRef): string | undefined {
    const source = ref.secretFrom;
    if ('file' in source) return source.file;
    const credentials = env['CREDENTIALS_DIRECTORY']; // systemd.exec(5), LoadCredential=
    return 'credential' in source && credentials !== undefined
      ? path.join(credentials, source.credential)
      : undefined;
  }

  return {
    fileOf,
    resolve(ref) {
      const value = read(ref.secretFrom, fileOf(ref), env);
      return new OpaqueSecret(value, createHmac('sha256', hmacKey()).update(value).digest('hex'));
    },
  };
}

function read(
  source: SecretRef['secretFrom'],
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Buffer {
  if ('env' in source) {
    const value = env[source.env];
    if (value !== undefined) return Buffer.from(value);
    throw new Stalled(
      'SecretMissing',
      `the agent has no environment variable ${source.env}; set it in the agent's unit, by EnvironmentFile=`,
    );
  }
  if (file === undefined) {
    const name = 'credential' in source ? source.credential : '';
    throw new Stalled(
      'SecretMissing',
      `the agent was started without credentials; its unit needs LoadCredential=${name}:/path`,
    );
  }
  try {
    // A newline at the end is the editor's, not the secret's.
    return Buffer.from(fs.readFileSync(file, 'utf8').replace(/\r?\n$/, ''));
  } catch (error) {
    throw new Stalled('SecretMissing', `the secret's file can't be read: ${inWords(error)}`);
  }
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

function loadHmacKey(file: string): Buffer {
  const text = readIfThere(file);
  if (text !== undefined && /^[0-9a-f]{64}$/.test(text)) return Buffer.from(text, 'hex');
  const fresh = randomBytes(32);
  // Without a state directory nothing is remembered that the key would have to fit (a first `plan`).
  if (fs.existsSync(path.dirname(file))) writeDurably(file, fresh.toString('hex'));
  return fresh;
}

/** Every secret that a spec names, wherever it stands. */
export function secretRefsIn(value: unknown): SecretRef[] {
  if (isSecretRef(value)) return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(secretRefsIn);
}
