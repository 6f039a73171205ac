// Snapshots hold what a file held before, which may have been a secret. On disk they are encrypted (AES-256-GCM)
// under a key of this host, so that a journal in a backup, a bug report or a grep tells nothing.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import type { Json } from '../../api/json.ts';
import { readIfThere, writeDurably } from '../journal/durable.ts';

const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** What is sealed in fewer characters is kept beside the value: a change writes the same snapshot three times. */
const KEPT_LENGTH = 1024;

export interface Seal {
  /** JSON in, JSON out; a value that was sealed is not changed afterwards. */
  close(value: Json): Json;
  /** What was never sealed comes back as it is. @throws Error when the key is gone or the text was changed. */
  open(value: Json): Json;
}

/** The key is made with the first thing that is sealed. */
export function createSeal(stateDir: string): Seal {
  const file = path.join(stateDir, 'seal.key');
  let key: Buffer | undefined;
  const kept = new WeakMap<object, Json>();
  const read = (): Buffer | undefined => {
    const text = readIfThere(file);
    return text !== undefined && /^[0-9a-f]{64}$/.test(text) ? Buffer.from(text, 'hex') : undefined;
  };
  return {
    close(value) {
      key ??= read() ?? randomBytes(32);
      // Also when somebody removed it meanwhile: what is written from now on should be readable.
      if (!fs.existsSync(file)) {
        fs.mkdirSync(stateDir, { recursive: true, mode: 0o700 });
        writeDurably(file, key.toString('hex'));
      }
      const before = typeof value === 'object' && value !== null ? kept.get(value) : undefined;
      if (before !== undefined) return before;
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv(ALGORITHM, key, nonce);
      const text = Buffer.concat([cipher.update(JSON.stringify(value)), cipher.final()]);
      const sealed = Buffer.concat([nonce, cipher.getAuthTag(), text]).toString('base64');
      if (typeof value === 'object' && value !== null && sealed.length < KEPT_LENGTH)
        kept.set(value, { sealed });
      return { sealed };
    },
    open(value) {
      const sealed = sealedIn(value);
      if (sealed === undefined) return value;
      key ??= read();
      if (key === undefined) throw new Error(`${file} is gone, and what was sealed with it can't be read`);
      const bytes = Buffer.from(sealed, 'base64');
      const decipher = createDecipheriv(ALGORITHM, key, bytes.subarray(0, NONCE_BYTES));
      decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
      const text = Buffer.concat([
        decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)),
        decipher.final(),
      ]);
      return JSON.parse(text.toString()) as Json;
    },
  };
}

function sealedIn(value: Json): string | undefined {
  if (typeof value !== 'object' || value === null || !('sealed' in value)) return undefined;
  return typeof value.sealed === 'string' && Object.keys(value).length === 1 ? value.sealed : undefined;
}
