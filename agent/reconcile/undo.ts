// The way back from a change that failed its gate: the snapshot comes back, is verified, and the digest that
// failed goes into quarantine. The intent stays open, in phase undoing, until all of that is on disk.
import { describeChange } from '../../kinds/kind.ts';
import type { Intent } from '../journal/journal.ts';
import { type ReconcilerDeps, recordOf } from './loop.ts';
import type { Report } from './report.ts';
import type { Targets } from './targets.ts';
import type { ResourceState } from './world.ts';

/** @throws Error when the old state did not come back; the intent then stays open and is undone again. */
export async function undo(
  deps: ReconcilerDeps,
  report: Report,
  targets: Targets,
  state: ResourceState,
  intent: Intent,
  signal: AbortSignal,
): Promise<void> {
  const { journal, kinds, ports, observer } = deps;
  const holding = journal.holding(state.key)!;
  const kind = kinds.get(state.key.slice(0, state.key.indexOf('/')))!;
  const { reason, evidence } = intent.failure ?? {
    reason: 'Interrupted',
    evidence: 'the change was cut off',
  };
  await kind.undo(intent.snapshot, recordOf(state.key, holding, deps.secrets), ports, signal);

  const back = targets.confirmed(state);
  if (back !== undefined) {
    const { desired } = back;
    let rest = kind.diff(desired, await kind.observe(desired, ports, signal));
    if (rest.length > 0) {
      // What was there when the change began had drifted already, or was removed since.
      await kind.apply(rest, desired, ports, signal);
      rest = kind.diff(desired, await kind.observe(desired, ports, signal));
    }
    if (rest.length > 0) {
      throw new Error(`the last confirmed state did not come back: ${rest.map(describeChange).join('; ')}`);
    }
  }
  const failed = targets.watched(state);
  const version = failed === undefined ? '' : ((await kind.version?.(failed.desired, ports, signal)) ?? '');
  const quarantined = { digest: intent.digest, version, reason, evidence, atMs: ports.clock.now() };
  journal.write({ key: state.key, holding: { ...holding, quarantined }, intent: null });
  await journal.flushed();
  state.drift = [];
  observer.rolledBack(state.key, reason);
  const now =
    holding.confirmed === undefined ? 'what was there before is back' : 'the last confirmed state is back';
  report.set(state, 'Applied', 'False', 'RolledBack', now);
  report.set(state, 'Ready', 'False', 'RolledBack', `${reason}: ${evidence}`);
}
