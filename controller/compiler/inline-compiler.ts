// Compiles in this thread: for tests and for kinds that are not in the registry.
import type { Compiler } from '../fleet/revision.ts';
import { type Compilation, compile } from '../pipeline/compile.ts';
import type { Kinds } from '../pipeline/document.ts';
import type { Downloads } from '../source/downloads.ts';
import type { Snapshot } from '../source/snapshot.ts';
import { orFromNothing } from './anew.ts';

export class InlineCompiler implements Compiler {
  readonly #kinds: Kinds;
  readonly #downloads: Downloads | undefined;
  #last: Compilation | undefined;

  constructor(kinds: Kinds, downloads: Downloads | undefined) {
    this.#kinds = kinds;
    this.#downloads = downloads;
  }

  async compile(snapshot: Snapshot): Promise<Compilation> {
    this.#last = await orFromNothing(this.#last, (last) =>
      compile(snapshot, this.#kinds, last, this.#downloads),
    );
    return this.#last;
  }

  async stop(): Promise<void> {}
}
