// Remove: what left the manifest. What we created goes, what we adopted is put back as it was before our first write,
// what is orphaned is only forgotten.
import { Stalled } from '../../api/errors.ts';
import { readVersioned } from '../../kinds/shared/versioned.ts';
import { kindOf, type Pass, type PassResult, recordOf } from './loop.ts';
import { confirmedPlace, openElsewhere } from './relocate.ts';

/** @throws Stalled while it may not be removed; what the kind's undo throws: the entry then stays, for another try. */
export async function remove(pass: Pass): Promise<PassResult> {
  const { deps, state, signal } = pass;
  const { journal, world, kinds, ports } = deps;
  const { key } = state;
  if (journal.entry(key) === undefined) {
    world.forget(key);
    return { outcome: 'removed' };
  }
  requireMayRemove(pass);
  const own = world.kindOf(key);
  const elsewhere = own && openElsewhere(journal, key, own, confirmedPlace(own, journal.entry(key)));
  if (elsewhere !== undefined) {
    journal.write(...elsewhere.entries);
    world.leave(elsewhere.key, ports.clock.monotonic());
    const wake = [{ key: elsewhere.key, cause: 'bundle' as const }];
    return { ...(await remove(pass)), wake };
  }
  const entry = journal.entry(key)!;
  if (entry.policy !== 'orphan') {
    const { kind: name, snapshot } = entry.original;
    const kind = kinds.get(name);
    if (kind === undefined) throw new Stalled('Unsupported', `this agent does not know the kind ${name}`);
    const before = readVersioned(kind.before, snapshot.before, `the snapshot of ${key}`);
    const record = recordOf(key, own === kind ? kind : kindOf(kinds, key), entry, deps.secrets);
    await kind.undo(before, record, ports, signal);
  }
  journal.write({ key, entry: null });
  await journal.flushed();
  world.forget(key);
  const message =
    entry.policy === 'orphan'
      ? 'left as it is (prune: orphan)'
      : entry.origin === 'created'
        ? 'removed: homeostat had created it'
        : 'put back as it was before homeostat';
  return { outcome: 'removed', event: { type: 'Normal', reason: 'Removed', message } };
}

/** @throws Stalled */
function requireMayRemove({ deps, state }: Pass): void {
  const { world, suspensions } = deps;
  const suspension = suspensions.reasonFor(state.key);
  if (suspension !== undefined) throw new Stalled('Suspended', suspension);
  if (world.heldBack?.keys.includes(state.key)) {
    const { keys, digest } = world.heldBack;
    throw new Stalled(
      'RemovalParked',
      `${keys.length} removals at once wait for a word: write confirmRemovals: ["${digest}"] into the Host document if they are meant`,
    );
  }
  if (world.assignment?.payload.host.mode === 'observe' || deps.touchesNothing?.() === true) {
    const message = 'it left the manifest; the host is in mode observe, so nothing is touched';
    throw new Stalled('WouldRemove', message);
  }
}
