// What the agent must still know after a crash. Three things, each with its own promise:
//
// - an intent is on disk before the first write of anything that was not confirmed before, and is closed only by
//   a gate that said yes or an undo that was verified; an empty diff never closes it;
// - an inventory record says whether a resource was created or adopted, and how it was before our first write;
//   it is what pruning and decommissioning go by;
// - a confirmed state is kept rendered, so that it can come back when git asks for something that failed.
import path from 'node:path';
import type { Json } from '../../api/json.ts';
import type { Claim, Snapshot } from '../../kinds/kind.ts';
import type { Seal } from '../secrets/seal.ts';
import { DurableMap } from './durable.ts';

export interface Intent {
  readonly digest: string;
  /** The way back: the state before this change. Kept when a newer change takes over an open intent. */
  readonly snapshot: Snapshot;
  readonly phase: 'applying' | 'confirming' | 'undoing';
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
  /** The deadline of the intent that it closed, if there was one: see `Journal.openIntent`. */
  readonly closedMs?: number;
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
  readonly policy: 'delete' | 'orphan';
  readonly confirmed?: Confirmed;
  readonly quarantined?: Quarantined;
  /** What was last written for it, for those that restart on it; atMs 0 when it was found right. */
  readonly written?: { readonly digest: string; readonly atMs: number };
  readonly memory?: Json;
}

export class Journal {
  readonly intents: DurableMap<Intent>;
  readonly inventory: DurableMap<Holding>;

  constructor(stateDir: string, seal: Seal) {
    this.intents = new DurableMap(path.join(stateDir, 'journal'), {
      write: (intent) => ({ ...intent, snapshot: sealed(intent.snapshot, seal.close) }),
      read: (intent) => ({ ...intent, snapshot: sealed(intent.snapshot, seal.open) }),
    });
    this.inventory = new DurableMap(path.join(stateDir, 'inventory'), {
      write: (holding) => sealedHolding(holding, seal.close),
      read: (holding) => sealedHolding(holding, seal.open),
    });
  }

  /** @returns the files that could not be read and were moved aside. */
  load(): string[] {
    const broken = [...this.intents.load(), ...this.inventory.load()];
    // A holding is written before its intent: one without is what a removal left that was cut off.
    for (const key of this.intents.keys()) {
      if (this.inventory.get(key) === undefined) this.intents.delete(key);
    }
    return broken;
  }

  /**
   * The intent that is still open. One that was confirmed, and not deleted since the agent was cut off between the
   * two, is deleted now: its way back leads past the state that was confirmed.
   */
  openIntent(key: string): Intent | undefined {
    const intent = this.intents.get(key);
    const confirmed = this.inventory.get(key)?.confirmed;
    if (
      intent === undefined ||
      confirmed?.digest !== intent.digest ||
      confirmed.closedMs !== intent.deadlineMs
    )
      return intent;
    this.intents.delete(key);
    return undefined;
  }
}

function sealed(snapshot: Snapshot, turn: (value: Json) => Json): Snapshot {
  return { ...snapshot, data: turn(snapshot.data) };
}

/** What was there before may have been a secret, and so may what a kind remembers. */
function sealedHolding(holding: Holding, turn: (value: Json) => Json): Holding {
  const { original, memory } = holding;
  return {
    ...holding,
    original: { ...original, snapshot: sealed(original.snapshot, turn) },
    ...(memory === undefined ? {} : { memory: turn(memory) }),
  };
}
