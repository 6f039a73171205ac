// What left the manifest: what we created goes, what we adopted is put back as it was before our first write,
// what is orphaned is only forgotten.
import { Stalled } from '../../api/errors.ts';
import { type Outcome, type ReconcilerDeps, recordOf } from './loop.ts';
import { confirmedPlace, takeBackElsewhere } from './moves.ts';
import type { ResourceState } from './world.ts';

/** @throws what the kind's undo throws; the record then stays and the removal is tried again. */
export async function remove(
  deps: ReconcilerDeps,
  state: ResourceState,
  signal: AbortSignal,
): Promise<Outcome> {
  const { journal, world, kinds, ports, observer, suspensions } = deps;
  const { key } = state;
  const holding = journal.holding(key);
  if (holding === undefined) {
    world.forget(key);
    return 'removed';
  }
  const suspension = suspensions.reasonFor(key);
  if (suspension !== undefined) throw new Stalled('Suspended', suspension);
  if (world.parked?.keys.includes(key)) {
    throw new Stalled(
      'RemovalParked',
      `${world.parked.keys.length} removals at once wait for a word: write confirmRemovals: ["${world.parked.digest}"] into the Host document if they are meant`,
    );
  }
  if (world.assignment?.payload.host.mode === 'observe') {
    throw new Stalled(
      'WouldRemove',
      'it left the manifest; the host is in mode observe, so nothing is touched',
    );
  }
  if (holding.policy !== 'orphan') {
    const kind = kinds.get(holding.original.kind);
    if (kind === undefined) {
      throw new Stalled('Unsupported', `this agent does not know the kind ${holding.original.kind}`);
    }
    // Where nothing was confirmed, the original is the place that it was on its way to.
    const own = world.kindOf(key);
    if (own !== undefined && holding.confirmed !== undefined)
      await takeBackElsewhere(deps, key, confirmedPlace(own, holding), signal);
    await kind.undo(holding.original.snapshot, recordOf(key, holding, deps.secrets), ports, signal);
  }
  journal.write({ key, holding: null });
  await journal.flushed();
  world.forget(key);
  const what =
    holding.policy === 'orphan'
      ? 'left as it is (prune: orphan)'
      : holding.origin === 'created'
        ? 'removed: homeostat had created it'
        : 'put back as it was before homeostat';
  observer.transition(key, 'Normal', 'Removed', what);
  return 'removed';
}
