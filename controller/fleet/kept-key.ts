// The file of the signing keys, while the controller runs: one that is removed is written again, since the last place
// that has it is this process. Another one in its place is left alone, and matters at the next start.
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { identityOf } from '../store/store-file.ts';
import { writeIfMissing } from './keys.ts';

export class KeptKey {
  readonly #file: string;
  readonly #text: string;
  readonly #directory: string | undefined;

  /** @throws system errors; it was read a moment before. */
  constructor(file: string) {
    this.#file = file;
    this.#text = readFileSync(file, 'utf8');
    this.#directory = identityOf(dirname(file));
  }

  /** @returns whether it was gone. @throws system errors */
  keep(): boolean {
    if (identityOf(this.#file) !== undefined) return false;
    // A directory that is away comes back with its key.
    if (identityOf(dirname(this.#file)) !== this.#directory) return false;
    writeIfMissing(this.#file, this.#text);
    return true;
  }
}
