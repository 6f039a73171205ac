// What the agent must still know after a crash. Three things, each with its own promise:
//
// - an intent is on disk before the first write of anything that was not confirmed before, and is closed only by
//   a gate that said yes or an undo that was verified; an empty diff never closes it;
// - an inventory record says whether a resource was created or adopted, and how it was before our first write;
//   it is what pruning and decommissioning go by;
// - a confirmed state is kept rendered, so that it can come back when git asks for something that failed.
import path from 'node:path';
import type { Prune } from '../../api/documents.ts';
import type { Json } from '../../api/json.ts';
import type { Claim, Snapshot } from '../../kinds/kind.ts';
import type { Seal } from '../secrets/seal.ts';
import { Log } from './log.ts';

export interface Intent {
  readonly digest: string;
  /** The way back: the state before this change. Kept when a newer change takes over an open intent. */
  readonly snapshot: Snapshot;
  readonly phase: 'applying' | 'confirming' | 'undoing';
  /** Where that state is to be, for kinds to which that matters. */
  readonly place?: string;
  /** Why it is being undone; for phase undoing. */
  readonly failure?: { readonly reason: string; readonly evidence: string };
  /** When the gate gives up asking, unix milliseconds, and the boot in which that was set. */
  readonly deadlineMs: number;
  readonly bootID: string;
}

export interface Confirmed {
  readonly digest: string;
  /** The spec as rendered, without secrets' values. */
  readonly spec: Record<string, unknown>;
  readonly atMs: number;
}

/** A desired state that failed here: not tried again until something that matters changes. */
export interface Quarantined {
  readonly digest: string;
  /** Of the program that refused it; another version may accept it. */
  readonly version: string;
  readonly reason: string;
  readonly evidence: string;
  readonly atMs: number;
}

export interface Holding {
  readonly owns: readonly Claim[];
  readonly origin: 'created' | 'adopted';
  /** The state before our first write, and the kind that recorded it and can bring it back. */
  readonly original: { readonly kind: string; readonly snapshot: Snapshot };
  readonly policy: Prune;
  readonly confirmed?: Confirmed;
  readonly quarantined?: Quarantined;
  /** What was last written for it, for those that restart on it; atMs 0 when it was found right. */
  readonly written?: { readonly digest: string; readonly atMs: number };
  readonly memory?: Json;
}

/** What is to be remembered of a key from now on: what is left out stays, null is forgotten. */
export interface Entry {
  readonly key: string;
  /** Without a holding there is no intent either. */
  readonly holding?: Holding | null;
  readonly intent?: Intent | null;
}

export class Journal {
  readonly #holdings = new Map<string, Holding>();
  readonly #intents = new Map<string, Intent>();
  readonly #log: Log;
  readonly #seal: Seal;

  constructor(stateDir: string, seal: Seal) {
    this.#seal = seal;
    this.#log = new Log(path.join(stateDir, 'journal.log'), () => this.#contents());
  }

  /**
   * @param readOnly nothing is copied
   * @returns copies of what could not be read; all that could is used. @throws system errors
   */
  load({ readOnly = false } = {}): string[] {
    this.#holdings.clear();
    this.#intents.clear();
    return this.#log.load({ readOnly }, (record) => {
      const entries = (record as unknown as readonly Entry[]).map((entry) => turned(entry, this.#seal.open));
      for (const entry of entries) this.#take(entry);
    });
  }

  holding(key: string): Holding | undefined {
    return this.#holdings.get(key);
  }

  /** What was begun and is neither confirmed nor undone. */
  intent(key: string): Intent | undefined {
    return this.#intents.get(key);
  }

  /** Of everything that is held. */
  keys(): string[] {
    return [...this.#holdings.keys()];
  }

  /**
   * All of the entries or none, whatever happens to the process; `flushed` says when a power failure can't undo
   * it either. @throws system errors, and then nothing has changed
   */
  write(...entries: readonly Entry[]): void {
    this.#log.append(this.#recordOf(entries));
    for (const entry of entries) this.#take(entry);
  }

  /** Settles when everything written so far is on the disk; many that wait share the cost. @throws system errors */
  flushed(): Promise<void> {
    return this.#log.flushed();
  }

  #take({ key, holding, intent }: Entry): void {
    if (holding === null) this.#holdings.delete(key);
    else if (holding !== undefined) this.#holdings.set(key, holding);
    if (intent === null || !this.#holdings.has(key)) this.#intents.delete(key);
    else if (intent !== undefined) this.#intents.set(key, intent);
  }

  *#contents(): Iterable<Json> {
    for (const [key, holding] of this.#holdings) {
      const intent = this.#intents.get(key);
      const entry: Entry = { key, holding, ...(intent === undefined ? {} : { intent }) };
      yield this.#recordOf([entry]);
    }
  }

  #recordOf(entries: readonly Entry[]): Json {
    return entries.map((entry) => turned(entry, this.#seal.close)) as unknown as Json;
  }
}

/** What was there before may have been a secret, and so may what a kind remembers: on disk both are sealed. */
function turned({ key, holding, intent }: Entry, turn: (value: Json) => Json): Entry {
  const snapshot = (s: Snapshot): Snapshot => ({ ...s, data: turn(s.data) });
  return {
    key,
    ...(holding === undefined ? {} : { holding: holding && turnedHolding(holding, snapshot, turn) }),
    ...(intent === undefined ? {} : { intent: intent && { ...intent, snapshot: snapshot(intent.snapshot) } }),
  };
}

function turnedHolding(
  holding: Holding,
  snapshot: (s: Snapshot) => Snapshot,
  turn: (value: Json) => Json,
): Holding {
  const { original, memory } = holding;
  return {
    ...holding,
    original: { ...original, snapshot: snapshot(original.snapshot) },
    ...(memory === undefined ? {} : { memory: turn(memory) }),
  };
}
