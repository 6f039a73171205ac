// What `homeostat enroll` has on disk before it asks: proof that what comes of it can be kept, and the key that it
// asks for, so that an attempt whose answer was lost can be repeated with the same token.
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import { inWords } from '../api/errors.ts';
import { newSeed, writePrivate } from '../controller/fleet/keys.ts';
import { makeDirectory } from '../controller/store/directory.ts';

export class EnrollAttempt {
  /** Base64 of the key's seed. */
  readonly seed: string;
  readonly #keyFile: string;
  readonly #pending: string;
  /** One that was there may be enrolled already: its answer was lost. */
  readonly #isNew: boolean;
  #made: string[] = [];

  /**
   * @param config written in any case, and read by others than its owner.
   * @param ageIdentity written where there is none.
   * @throws Error in words when one of them can't be written.
   */
  constructor(keyFile: string, config: string, ageIdentity: string) {
    this.#keyFile = keyFile;
    this.#pending = `${keyFile}.enrolling`;
    this.#isNew = !existsSync(this.#pending);
    const existing = [keyFile, this.#pending].find((file) => existsSync(file));
    this.seed = existing === undefined ? newSeed() : readFileSync(existing, 'utf8').trim();
    const toBeMade = [keyFile, ageIdentity].filter((file) => !existsSync(file));
    let at = config;
    try {
      for (at of [config, ...toBeMade]) this.#prove(resolve(at), at === config ? 0o755 : 0o700);
      at = keyFile;
      if (!existsSync(keyFile)) writePrivate(this.#pending, `${this.seed}\n`);
    } catch (error) {
      this.abandon();
      throw new Error(`${at} can't be written, and the token was not used: ${inWords(error)}`);
    }
  }

  /** Permissions alone say little: a file system may be read-only, or full. */
  #prove(file: string, mode: number): void {
    this.#made = [...makeDirectory(dirname(file), mode), ...this.#made];
    const temporary = `${file}.probe`;
    try {
      writeFileSync(temporary, 'x'.repeat(4096), { mode: 0o600, flush: true });
    } finally {
      if (existsSync(temporary)) rmSync(temporary);
    }
    if (existsSync(file)) closeSync(openSync(file, 'r+'));
  }

  /** The key is enrolled. */
  complete(): void {
    if (existsSync(this.#pending)) renameSync(this.#pending, this.#keyFile);
  }

  /** It was refused: nothing of it stays. */
  abandon(): void {
    if (this.#isNew && existsSync(this.#pending)) rmSync(this.#pending);
    for (const directory of this.#made) {
      try {
        rmdirSync(directory);
      } catch {
        // Something else is in it by now.
      }
    }
  }
}
