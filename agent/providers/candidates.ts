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
  #open: ReadonlyMap<string, Candidate> = new Map();

  /** @param file where they are noted, all that are there and no others; undefined for nowhere */
  constructor(file: string | undefined) {
    this.#file = file;
  }

  /** Before it is written. @throws system errors, and then it is not to be written */
  note(...candidates: readonly Candidate[]): void {
    this.#keep(new Map([...this.#open, ...candidates.map((each) => [each.path, each] as const)]));
  }

  /** Directories that are to go with it; it may have got some of another one's. */
  madeFor(path: string): readonly string[] {
    return this.#open.get(path)?.made ?? [];
  }

  /** It is gone. @param left directories of its own that others were put into meanwhile */
  done(path: string, left: readonly string[]): void {
    const open = new Map(this.#open);
    open.delete(path);
    const heir = [...open.values()].find((other) => left[0] && other.path.startsWith(`${left[0]}/`));
    if (heir !== undefined) open.set(heir.path, { ...heir, made: [...heir.made, ...left] });
    this.#keep(open);
  }

  /** Those of an agent that was killed, which count as open. What can't be read is kept beside, and stops nothing. */
  left(): Candidate[] {
    try {
      const text = this.#file === undefined ? undefined : readIfThere(this.#file);
      const all = JSON.parse(text ?? '[]') as readonly Candidate[];
      const own = all.filter(({ path }) => /-validate(?:\/[^/]+)?$/.test(path));
      this.#open = new Map(own.map(({ path, made }) => [path, { path, made: [...made] }]));
    } catch {
      fs.renameSync(this.#file!, `${this.#file}.broken`);
    }
    return [...this.#open.values()];
  }

  /** On disk first: what is known here is what stands there. @throws system errors, and then nothing has changed */
  #keep(open: ReadonlyMap<string, Candidate>): void {
    if (this.#file !== undefined) {
      if (open.size === 0) removeDurably(this.#file);
      else writeDurably(this.#file, JSON.stringify([...open.values()]));
    }
    this.#open = open;
  }
}
