// A document whose place changed: another path, another unit, another uid. The new place is a beginning of its own, with
// its own way back; what was kept in the old one stays until the new one is confirmed, and then leaves under a key of
// its own, as if its document had left the manifest (docs/decisions/0022).
import type { AnyKind } from '../../kinds/kind.ts';
import type { Holding, Journal } from '../journal/journal.ts';
import { type ReconcilerDeps, recordOf } from './loop.ts';

/** Where the confirmed state is; undefined where there is none, and for kinds to which a place is nothing of its own. */
export function confirmedPlace(kind: AnyKind, holding: Holding | undefined): string | undefined {
  const spec = holding?.confirmed?.spec;
  return spec === undefined ? undefined : kind.place?.(spec);
}

/** What leaves when the key's next state is confirmed, to be written with that; undefined when it stays in its place. */
export function departure(
  journal: Journal,
  key: string,
  kind: AnyKind,
  spec: Record<string, unknown>,
): { readonly key: string; readonly holding: Holding } | undefined {
  const before = journal.holding(key);
  const place = confirmedPlace(kind, before);
  if (before?.confirmed === undefined || place === undefined || place === kind.place?.(spec))
    return undefined;
  let n = 1;
  while (journal.holding(`${key}~${n}`) !== undefined) n += 1;
  const { quarantined: _, ...holding } = before;
  return { key: `${key}~${n}`, holding: { ...holding, owns: kind.owns(before.confirmed.spec) } };
}

/**
 * Takes back a change that was begun in another place than this one: its way back leads there, and can't be lent to what
 * is begun, or removed, here. @throws what the kind's undo throws
 */
export async function takeBackElsewhere(
  deps: ReconcilerDeps,
  key: string,
  place: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { journal, kinds, world, ports, secrets } = deps;
  const [intent, holding] = [journal.intent(key), journal.holding(key)];
  if (intent?.place === undefined || intent.place === place || holding === undefined) return;
  const record = recordOf(key, holding, secrets);
  if (holding.confirmed !== undefined) {
    await world.kindOf(key)!.undo(intent.snapshot, record, ports, signal);
    return journal.write({ key, intent: null });
  }
  // Nothing was ever confirmed: all of it goes back to how it began, which another kind may have recorded.
  const { kind, snapshot } = holding.original;
  await kinds.get(kind)!.undo(snapshot, record, ports, signal);
  journal.write({ key, holding: null });
}
