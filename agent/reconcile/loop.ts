// What the parts of the loop share: what a pass can end in, what it tells the rest of the agent, and what it needs.
import type { AnyKind, InventoryRecord } from '../../kinds/kind.ts';
import type { Ports } from '../../kinds/ports.ts';
import type { AllowList } from '../config.ts';
import type { Holding, Journal } from '../journal/journal.ts';
import type { Cause } from '../queue/queue.ts';
import { latest, type SecretStore, secretRefsIn } from '../secrets/store.ts';
import type { Suspensions } from './suspensions.ts';
import type { World } from './world.ts';

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

/** What the loop tells the rest of the agent; metrics, log, status and the queue are behind it. */
export interface Observer {
  transition(key: string, type: 'Normal' | 'Warning', reason: string, message: string): void;
  passEnded(key: string, outcome: Outcome, seconds: number): void;
  driftDetected(key: string, by: 'watch' | 'resync'): void;
  healed(key: string, seconds: number): void;
  rolledBack(key: string, reason: string): void;
  /** The key's conditions or drift may have changed. */
  changed(key: string): void;
  requeue(key: string, cause: Cause, afterMs: number): void;
  /** Failed: come back after the next backoff. @returns milliseconds */
  backOff(key: string): number;
  succeeded(key: string): void;
  wake(key: string, cause: Cause): void;
}

export interface ReconcilerDeps {
  readonly kinds: ReadonlyMap<string, AnyKind>;
  readonly ports: Ports;
  readonly journal: Journal;
  readonly world: World;
  readonly secrets: SecretStore;
  readonly suspensions: Suspensions;
  readonly allow: AllowList;
  readonly bootID: string;
  readonly observer: Observer;
  /** Ends every pass when the agent stops. */
  readonly stopping: AbortSignal;
}

/** Content that may be a secret, as bytes. */
export function contentFrom(secrets: SecretStore): InventoryRecord['content'] {
  return (value) =>
    typeof value === 'string'
      ? { bytes: Buffer.from(value), secret: false }
      : { bytes: secrets.resolve(value).reveal(), secret: true };
}

/** A holding as kinds see it. */
export function recordOf(key: string, holding: Holding, secrets: SecretStore): InventoryRecord {
  const content = contentFrom(secrets);
  // What was recorded long ago names ciphertext of then, for keys and of values that may be gone.
  const now = secretRefsIn(holding.confirmed?.spec);
  return {
    key,
    owns: holding.owns,
    origin: holding.origin,
    original: holding.original.snapshot,
    policy: holding.policy,
    memory: holding.memory,
    content: (value) => content(typeof value === 'string' ? value : latest(value, now)),
  };
}
