// What a pass finds itself in, by name. Pure; its table is test/unit/agent/situation.test.ts.

/** All that decides it. A digest is that of a desired state: spec and secrets. */
export interface Facts {
  /** Whether git asks for the resource. */
  readonly inManifest: boolean;
  readonly suspended: boolean;
  /** Neither mode observe nor drift: warn. */
  readonly mayTouch: boolean;
  /** What git asks for; undefined while it can't be understood, is not allowed, or lacks a secret. */
  readonly wanted: string | undefined;
  /** It is not to be tried now: in quarantine, or parked. */
  readonly refused: boolean;
  /** What was confirmed here last. */
  readonly confirmed: string | undefined;
  /** The change that is open. */
  readonly intent: { readonly digest: string; readonly undoing: boolean } | undefined;
}

export type Situation =
  /** It left the manifest: what is ours of it goes. */
  | 'Remove'
  /** A person, or git, holds it still. */
  | 'Suspended'
  /** It may be looked at, and nothing more. */
  | 'Observe'
  /** An open change is rolled back: it was refused, or git no longer asks for it and nothing else can be begun. */
  | 'Undo'
  /** What git asks for can't be had; the last confirmed state is kept up. */
  | 'Fallback'
  /** What git asks for was begun, and is neither confirmed nor undone. */
  | 'Resume'
  /** What git asks for was confirmed here: it is kept as it is. */
  | 'Heal'
  /** What git asks for is to be begun; also over a change that is open, or whose undo fails. */
  | 'New';

export function situationOf(facts: Facts): Situation {
  const { inManifest, suspended, mayTouch, wanted, refused, confirmed, intent } = facts;
  if (!inManifest) return 'Remove';
  if (suspended) return 'Suspended';
  if (!mayTouch) return 'Observe';
  const canBegin = wanted !== undefined && !refused;
  if (intent === undefined) return !canBegin ? 'Fallback' : wanted === confirmed ? 'Heal' : 'New';
  if (!canBegin) return 'Undo';
  // What can be begun supersedes another change that is open, and an undo, also of this very state: it may have been
  // mended elsewhere since.
  return wanted === intent.digest && !intent.undoing ? 'Resume' : 'New';
}
