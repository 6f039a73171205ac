// Undo: back to the state before an open change. A failing undo is a state with a way out: it is tried again with
// backoff and reported, and another desired state supersedes it (situation.ts).
import { inWords, Stalled } from '../../api/errors.ts';
import { readVersioned } from '../../kinds/shared/versioned.ts';
import type { Intent } from '../journal/journal.ts';
import { look, putIntoForce } from './look.ts';
import { kindOf, type Pass, type PassResult, recordOf } from './loop.ts';

/** Kind's undo; then what was confirmed is compared, and mended where it had drifted before. */
export async function undo(pass: Pass, intent: Intent): Promise<PassResult> {
  const { deps, state } = pass;
  const { journal, kinds, ports } = deps;
  const entry = journal.entry(state.key)!;
  state.inForce = undefined;
  state.yes = undefined;
  try {
    const kind = kindOf(kinds, state.key);
    const before = readVersioned(kind.before, intent.snapshot.before, `the snapshot of ${state.key}`);
    await kind.undo(before, recordOf(state.key, kind, entry, deps), ports, pass.signal);
    const confirmed = pass.targets.confirmed(state);
    if (confirmed !== undefined) {
      const seen = await look(pass, confirmed);
      if (seen.changes.length > 0) await putIntoForce(pass, seen);
    }
  } catch (error) {
    if (deps.stopping.aborted) throw error;
    return undoFailing(pass, intent, error);
  }
  state.drift = [];
  return await undone(pass, intent);
}

async function undone({ deps, state }: Pass, { failure }: Intent): Promise<PassResult> {
  const { journal, ports } = deps;
  const { written: _, ...entry } = journal.entry(state.key)!;
  const { confirmed } = entry;
  // What restarts on it has read what is gone now.
  const written = confirmed && { digest: confirmed.digest, atMs: ports.clock.now() };
  journal.write({ key: state.key, entry: { ...entry, ...(written && { written }) }, intent: null });
  await journal.flushed();
  state.wroteNew = true;
  // Git does not ask for it any more: what it asks for instead is next.
  if (failure === undefined) return { outcome: 'waiting', requeueAfterMs: 0 };
  const { reason, evidence } = failure;
  const back = confirmed === undefined ? 'what was there before is back' : 'the last confirmed state is back';
  return {
    outcome: 'rolled_back',
    rolledBack: reason,
    reports: [
      { type: 'Applied', status: 'False', reason: 'RolledBack', message: back },
      { type: 'Ready', status: 'False', reason: 'RolledBack', message: `${reason}: ${evidence}` },
    ],
    // What is kept up instead is looked at.
    requeueAfterMs: 0,
  };
}

function undoFailing({ signal }: Pass, { failure }: Intent, error: unknown): PassResult {
  const why = signal.aborted ? `it took too long: ${inWords(error)}` : inWords(error);
  const because =
    failure === undefined
      ? 'git no longer asks for it'
      : `it was refused: ${failure.reason}: ${failure.evidence}`;
  const canBegin = !(error instanceof Stalled && error.reason === 'SnapshotUnreadable');
  const wayOn = canBegin ? '. Another commit of this document goes ahead of it' : '';
  const message = `the rollback fails, and is tried again: ${why}. What is rolled back: ${because}${wayOn}`;
  return {
    outcome: 'error',
    reports: [{ type: 'Ready', status: 'False', reason: 'UndoFailing', message }],
    requeueAfterMs: 'backoff',
  };
}
