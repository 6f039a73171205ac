// What the agent must still know after a crash. Three things, each with its own promise:
//
// - an intent is on disk before the first write of anything that was not confirmed before, and is closed only by
//   a gate that said yes or an undo that was verified; an empty diff never closes it;
// - an inventory entry says whether a resource was created or adopted, and how it was before our first write;
//   it is what pruning and decommissioning go by;
// - a confirmed state is kept rendered, so that it can come back when git asks for something that failed.
import fs from 'node:fs';
import path from 'node:path';
import type { Seal } from '../secrets/seal.ts';
import { Log } from './log.ts';
import { type Entry, type Intent, type InventoryEntry, readRecord, sealed } from './records.ts';

export type { Entry, Intent, InventoryEntry, Snapshot } from './records.ts';

export class Journal {
  readonly #entries = new Map<string, InventoryEntry>();
  readonly #intents = new Map<string, Intent>();
  readonly #file: string;
  readonly #log: Log;
  readonly #seal: Seal;

  constructor(stateDir: string, seal: Seal) {
    this.#seal = seal;
    this.#file = path.join(stateDir, 'journal.log');
    this.#log = new Log(this.#file, () => this.#contents());
  }

  /**
   * @param readOnly nothing is copied
   * @returns copies of what could not be read; all that could is used. @throws system errors
   */
  load({ readOnly = false } = {}): string[] {
    this.#entries.clear();
    this.#intents.clear();
    return this.#log.load({ readOnly }, (record) => {
      for (const entry of readRecord(record, this.#seal.open)) this.#take(entry);
    });
  }

  /** Where what could not be read is kept, for as long as it is. */
  get brokenCopy(): string | undefined {
    const copy = `${this.#file}.broken`;
    return fs.existsSync(copy) ? copy : undefined;
  }

  /** What is held of a key. */
  entry(key: string): InventoryEntry | undefined {
    return this.#entries.get(key);
  }

  /** What was begun and is neither confirmed nor undone. */
  intent(key: string): Intent | undefined {
    return this.#intents.get(key);
  }

  /** Of everything in the inventory. */
  keys(): string[] {
    return [...this.#entries.keys()];
  }

  /**
   * All of the entries or none, whatever happens to the process; `flushed` says when a power failure can't undo
   * it either. @throws system errors, and then nothing has changed
   */
  write(...entries: readonly Entry[]): void {
    this.#log.append(sealed(entries, this.#seal.close));
    for (const entry of entries) this.#take(entry);
  }

  /** Settles when everything written so far is on the disk; many that wait share the cost. @throws system errors */
  flushed(): Promise<void> {
    return this.#log.flushed();
  }

  #take({ key, entry, intent }: Entry): void {
    if (entry === null) this.#entries.delete(key);
    else if (entry !== undefined) this.#entries.set(key, entry);
    if (intent === null || !this.#entries.has(key)) this.#intents.delete(key);
    else if (intent !== undefined) this.#intents.set(key, intent);
  }

  *#contents() {
    for (const [key, entry] of this.#entries) {
      const intent = this.#intents.get(key);
      yield sealed([{ key, entry, ...(intent && { intent }) }], this.#seal.close);
    }
  }
}
