// Candidates that a program is looking at, noted on disk: an agent that is killed meanwhile may come back to a
// manifest that asks for none of it, and then nothing else would know of them.
import fs from 'node:fs';
import { readIfThere } from '../journal/durable.ts';

export interface Candidate {
  readonly path: string;
  /** Directories that were made for it, the innermost first. */
  readonly made: readonly string[];
}

export class Candidates {
  readonly #file: string | undefined;
  #open = 0;

  /** @param file where they are noted; undefined for nowhere */
  constructor(file: string | undefined) {
    this.#file = file;
  }

  /** Before it is written. @throws system errors */
  note(candidate: Candidate): void {
    this.#open += 1;
    if (this.#file !== undefined)
      fs.appendFileSync(this.#file, `${JSON.stringify(candidate)}\n`, { mode: 0o600 });
  }

  /** After it was removed. */
  done(): void {
    this.#open -= 1;
    if (this.#open === 0 && this.#file !== undefined) fs.rmSync(this.#file, { force: true });
  }

  /** Those of an agent that was killed; what can't be removed stays noted, for the next start. */
  left(): Candidate[] {
    const lines = (this.#file === undefined ? undefined : readIfThere(this.#file))?.split('\n') ?? [];
    const left = lines.flatMap((line) => {
      try {
        return line === '' ? [] : [JSON.parse(line) as Candidate];
      } catch {
        return []; // half a line: its candidate was not written yet
      }
    });
    this.#open += left.length;
    return left;
  }
}
