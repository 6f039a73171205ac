// Candidates that a program is looking at, noted on disk: an agent that is killed meanwhile may come back to a
// manifest that asks for none of it, and then nothing else would know of them.
import fs from 'node:fs';
import { readIfThere, removeDurably, writeDurably } from '../journal/durable.ts';

export interface Candidate {
  readonly path: string;
  /** Directories that were made for it and are to go with it, the innermost first. */
  readonly made: readonly string[];
}

export class Candidates {
  readonly #file: string | undefined;
  readonly #open = new Map<string, Candidate>();

  /** @param file where they are noted, all that are there and no others; undefined for nowhere */
  constructor(file: string | undefined) {
    this.#file = file;
  }

  /** Before it is written. @throws system errors, and then it is not to be written */
  note(candidate: Candidate): void {
    const before = this.#open.get(candidate.path);
    this.#open.set(candidate.path, candidate);
    try {
      this.#save();
    } catch (error) {
      if (before === undefined) this.#open.delete(candidate.path);
      else this.#open.set(candidate.path, before);
      throw error;
    }
  }

  /** As it is now: it may have got directories of another one's. */
  get(path: string): Candidate | undefined {
    return this.#open.get(path);
  }

  /**
   * Its look has ended.
   * @param left what could not be removed of it: itself, or directories that others were put into meanwhile
   */
  done({ path }: Candidate, left: { readonly itself: boolean; readonly made: readonly string[] }): void {
    if (left.itself) this.#open.set(path, { path, made: [] });
    else this.#open.delete(path);
    const [innermost] = left.made;
    const heir = [...this.#open.values()].find(
      (other) => innermost && other.path.startsWith(`${innermost}/`),
    );
    if (heir !== undefined) this.#open.set(heir.path, { ...heir, made: [...heir.made, ...left.made] });
    this.#save();
  }

  /** Those of an agent that was killed, which count as open. What can't be read is kept beside, and stops nothing. */
  left(): Candidate[] {
    try {
      const text = this.#file === undefined ? undefined : readIfThere(this.#file);
      const all = JSON.parse(text ?? '[]') as readonly Candidate[];
      for (const { path, made } of all)
        if (path.endsWith('-validate')) this.#open.set(path, { path, made: [...made] });
    } catch {
      fs.renameSync(this.#file!, `${this.#file}.broken`);
    }
    return [...this.#open.values()];
  }

  #save(): void {
    if (this.#file === undefined) return;
    if (this.#open.size === 0) removeDurably(this.#file);
    else writeDurably(this.#file, JSON.stringify([...this.#open.values()]));
  }
}
