// What the parts of the loop share: what a pass is given, what it returns, and what the loop needs of the agent.
import type { AnyKind, Desired, InventoryRecord, Judge } from '../../kinds/kind.ts';
import type { Ports } from '../../kinds/ports.ts';
import { readVersioned } from '../../kinds/shared/versioned.ts';
import type { InventoryEntry, Journal } from '../journal/journal.ts';
import type { Cause, Item } from '../queue/queue.ts';
import type { Turns } from '../queue/turns.ts';
import { latest, type SecretStore, secretRefsIn } from '../secrets/store.ts';
import { type Grants, refusalOf } from './allow.ts';
import type { Suspensions } from './suspensions.ts';
import type { ResourceState, World } from './world.ts';

export type Outcome =
  | 'in_sync'
  | 'healed'
  | 'applied'
  | 'unconfirmed'
  | 'degraded'
  | 'rolled_back'
  | 'drifted'
  | 'suspended'
  | 'waiting'
  | 'stalled'
  | 'removed'
  | 'error';

export interface ReconcilerDeps extends Grants {
  readonly kinds: ReadonlyMap<string, AnyKind>;
  readonly ports: Ports;
  readonly journal: Journal;
  readonly world: World;
  readonly secrets: SecretStore;
  readonly suspensions: Suspensions;
  readonly observer: Observer;
  readonly queue: Requeue;
  /** A turn of the event loop for each write that blocks the process, so that events are read in between. */
  readonly turns: Turns;
  /** Ends every pass when the agent stops. */
  readonly stopping: AbortSignal;
  /** How long a pass may take, milliseconds. Default 180,000: above Alloy's reload (75 s). */
  readonly passTimeoutMs?: number;
  /** Whether nothing may be touched, whatever the manifest says: the agent itself is in a crash loop. */
  readonly applyNothing?: () => boolean;
}

/** What is reported of passes to people: log, events, metrics. */
export interface Observer {
  transition(key: string, type: 'Normal' | 'Warning', reason: string, message: string): void;
  passEnded(key: string, outcome: Outcome, seconds: number): void;
  driftDetected(key: string, by: 'watch' | 'resync'): void;
  healed(key: string, seconds: number): void;
  rolledBack(key: string, reason: string): void;
  /** The key's conditions or drift may have changed. */
  changed(key: string): void;
}

/** What the one place that acts on results does with the queue. */
export interface Requeue {
  add(key: string, cause: Cause): void;
  addAfter(key: string, cause: Cause, afterMs: number): void;
  /** After the next backoff. @returns milliseconds */
  addRateLimited(key: string): number;
  /** The key did not fail: its next failure backs off from the beginning. */
  forget(key: string): void;
}

/** A desired state to aim at, and how it stands to what ran here before. */
export interface Target {
  readonly kind: AnyKind;
  readonly desired: Desired<Record<string, unknown>>;
  /** The last confirmed state, for one that can't be had: kept up, but no reason to call the resource ready. */
  readonly isFallback: boolean;
}

/** What a pass is given. */
export interface Pass {
  readonly deps: ReconcilerDeps;
  readonly targets: { confirmed(state: ResourceState): Target | undefined };
  readonly state: ResourceState;
  readonly item: Item;
  readonly signal: AbortSignal;
}

export interface Report {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
}

/** What a pass came to. It is acted upon in one place (act.ts); a pass itself commands nothing. */
export interface PassResult {
  readonly outcome: Outcome;
  /** Conditions to set, in this order. */
  readonly reports?: readonly Report[];
  readonly clear?: readonly string[];
  /** Of the first pass over what git asks for now: those that depend on it wait for that. */
  readonly isFirst?: true;
  /** When to come back; without it events, people and the resync do. */
  readonly requeueAfterMs?: number | 'backoff';
  readonly detected?: 'watch' | 'resync';
  readonly healed?: { readonly seconds: number; readonly what: string };
  readonly rolledBack?: string;
  /** Beside the transitions of Ready. */
  readonly event?: { readonly type: 'Normal' | 'Warning'; readonly reason: string; readonly message: string };
  /** Other keys to be looked at. */
  readonly wake?: readonly { readonly key: string; readonly cause: Cause }[];
}

/** Content that may be a secret, as bytes. */
export function contentFrom(secrets: SecretStore): InventoryRecord['content'] {
  // A heal asks for the same text three times.
  let last: { readonly text: string; readonly bytes: Buffer } | undefined;
  return (value) => {
    if (typeof value !== 'string') return { bytes: secrets.resolve(value).reveal(), secret: true };
    if (last?.text !== value) last = { text: value, bytes: Buffer.from(value) };
    return { bytes: last.bytes, secret: false };
  };
}

/** The kind of a key. @throws Error for one that this agent does not know. */
export function kindOf(kinds: ReadonlyMap<string, AnyKind>, key: string): AnyKind {
  const name = key.slice(0, key.indexOf('/'));
  const kind = kinds.get(name);
  if (kind === undefined) throw new Error(`this agent does not know the kind ${name}`);
  return kind;
}

/** An inventory entry as its kind sees it. @throws Stalled('SnapshotUnreadable') */
export function recordOf(
  key: string,
  kind: AnyKind,
  entry: InventoryEntry,
  deps: Grants & { readonly secrets: SecretStore },
): InventoryRecord {
  const content = contentFrom(deps.secrets);
  // What was recorded long ago names ciphertext of then, for keys and of values that may be gone.
  const now = secretRefsIn(entry.confirmed?.spec);
  return {
    key,
    owns: entry.owns,
    memory: memoryOf(key, kind, entry),
    content: (value) => content(typeof value === 'string' ? value : latest(value, now)),
    ...judgeOf(deps),
  };
}

export function judgeOf(grants: Grants): Judge {
  return { own: grants.own ?? [], refusal: (permissions) => refusalOf(permissions, grants) };
}

/** @throws Stalled('SnapshotUnreadable') */
export function memoryOf(key: string, kind: AnyKind, entry: InventoryEntry | undefined): unknown {
  if (kind.memory === undefined || entry?.memory === undefined) return undefined;
  return readVersioned(kind.memory, entry.memory, `what ${key} remembers`);
}
