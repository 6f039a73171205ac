// Remove: what left the manifest. What we created goes, what we adopted is put back as it was before our first write,
// what is orphaned, or the fleet's, is only forgotten.
import { Stalled, Waiting } from '../../api/errors.ts';
import { readVersioned } from '../../kinds/shared/versioned.ts';
import type { InventoryEntry } from '../journal/journal.ts';
import { staysBecause } from './leaving.ts';
import { kindOf, type Pass, type PassResult, type ReconcilerDeps, recordOf } from './loop.ts';
import { confirmedPlace, openElsewhere } from './relocate.ts';

const RELOCATION_AGAIN_MS = 60_000;

/** @throws Stalled while it may not be removed; what the kind's undo throws: the entry then stays, for another try. */
export async function remove(pass: Pass): Promise<PassResult> {
  const { deps, state } = pass;
  const { journal, world, kinds, ports } = deps;
  const { key } = state;
  const entry = journal.entry(key);
  if (entry === undefined) {
    world.forget(key);
    return { outcome: 'removed' };
  }
  const host = world.assignment?.payload.host;
  const own = world.kindOf(key);
  const stays = staysBecause(key, entry, [own, kinds.get(entry.original.kind)], host);
  requireMayRemove(pass, stays !== undefined);
  const elsewhere = own && openElsewhere(journal, key, own, confirmedPlace(own, journal.entry(key)));
  if (elsewhere !== undefined) {
    journal.write(...elsewhere.entries);
    world.leave(elsewhere.key, ports.clock.monotonic());
    const wake = [{ key: elsewhere.key, cause: 'bundle' as const }];
    return { ...(await remove(pass)), wake };
  }
  if (stays === undefined) await undoOriginal(pass, entry);
  journal.write({ key, entry: null });
  await journal.flushed();
  world.forget(key);
  const message =
    stays !== undefined
      ? `left as it is: ${stays}`
      : entry.origin === 'created'
        ? 'removed: homeostat had created it'
        : 'put back as it was when this host first found it';
  return { outcome: 'removed', event: { type: 'Normal', reason: 'Removed', message } };
}

/** Back to how it was before the first write, by the kind that recorded it. */
async function undoOriginal({ deps, state, signal }: Pass, entry: InventoryEntry): Promise<void> {
  const { kinds, ports } = deps;
  const { key } = state;
  const { kind: name, snapshot } = entry.original;
  const kind = kinds.get(name);
  if (kind === undefined) throw new Stalled('Unsupported', `this agent does not know the kind ${name}`);
  const before = readVersioned(kind.before, snapshot.before, `the snapshot of ${key}`);
  const own = deps.world.kindOf(key);
  const record = recordOf(key, own === kind ? kind : kindOf(kinds, key), entry, deps);
  await kind.undo(before, record, ports, signal);
}

/**
 * @param stays nothing is touched: only what is known of it is forgotten.
 * @throws Stalled, Waiting
 */
function requireMayRemove({ deps, state }: Pass, stays: boolean): void {
  const { world, suspensions } = deps;
  requireSuccessor(deps, state.key);
  const suspension = suspensions.reasonFor(state.key);
  if (suspension !== undefined) throw new Stalled('Suspended', suspension);
  if (world.heldBack?.keys.includes(state.key)) {
    const { keys, digest } = world.heldBack;
    throw new Stalled(
      'RemovalParked',
      `${keys.length} removals at once wait for a word: write confirmRemovals: ["${digest}"] into the Host document if they are meant`,
    );
  }
  if (stays) return;
  if (world.assignment?.payload.host.mode === 'observe' || deps.applyNothing?.() === true) {
    const message = 'it left the manifest; the host is in mode observe, so nothing is touched';
    throw new Stalled('WouldRemove', message);
  }
}

/** What was confirmed in an old place stays until its document is confirmed in the new one. @throws Waiting */
function requireSuccessor({ world, journal }: ReconcilerDeps, key: string): void {
  const [document, n] = key.split('~');
  const successor = world.get(document!);
  if (n === undefined || journal.entry(key)?.confirmed === undefined) return;
  if (successor?.resource === undefined || journal.entry(document!)?.confirmed !== undefined) return;
  const message = `it stays until ${document} is confirmed in its new place`;
  throw new Waiting('Relocation', message, RELOCATION_AGAIN_MS);
}
