// A document whose place changed: another path, another unit, another uid. The new place is a beginning of its own, with
// its own snapshot; what was kept in the old one stays until the new one is confirmed, and then leaves under a key of
// its own, as if its document had left the manifest (docs/decisions/0022).
import type { AnyKind } from '../../kinds/kind.ts';
import type { Entry, InventoryEntry, Journal } from '../journal/journal.ts';

/** Where the confirmed state is; undefined where there is none, and for kinds to which a place is nothing of its own. */
export function confirmedPlace(kind: AnyKind, entry: InventoryEntry | undefined): string | undefined {
  const spec = entry?.confirmed?.spec;
  return spec === undefined ? undefined : kind.place?.(spec);
}

/** What leaves when the key's next state is confirmed, to be written with that; undefined when it stays in its place. */
export function oldPlace(
  journal: Journal,
  key: string,
  kind: AnyKind,
  spec: Record<string, unknown>,
): { readonly key: string; readonly entry: InventoryEntry } | undefined {
  const before = journal.entry(key);
  const place = confirmedPlace(kind, before);
  if (before?.confirmed === undefined || place === undefined || place === kind.place?.(spec))
    return undefined;
  const { quarantined: _, ...entry } = before;
  return {
    key: freeKey(journal, key),
    entry: { ...entry, owns: [...kind.owns(before.confirmed.spec)] },
  };
}

/**
 * An open change that was begun in another place than this one: its snapshot leads there, and can't be lent to what is
 * begun, or removed, here. It gets a key of its own, under which it is undone, so that a failing undo there is in
 * nobody's way. @returns what to write, and the new key; undefined when there is none.
 */
export function openElsewhere(
  journal: Journal,
  key: string,
  kind: AnyKind,
  place: string | undefined,
): { readonly key: string; readonly entries: readonly Entry[] } | undefined {
  const [intent, entry] = [journal.intent(key), journal.entry(key)];
  if (intent?.place === undefined || intent.place === place || entry === undefined) return undefined;
  const other = freeKey(journal, key);
  // Nothing was ever confirmed: all of it goes back to how it began, which another kind may have recorded.
  if (entry.confirmed === undefined) {
    const { quarantined: _, ...rest } = entry;
    return {
      key: other,
      entries: [
        { key, entry: null },
        { key: other, entry: rest },
      ],
    };
  }
  const stays = new Set(kind.owns(entry.confirmed.spec));
  const { existed } = intent.snapshot;
  const begun: InventoryEntry = {
    owns: entry.owns.filter((claim) => !stays.has(claim)),
    origin: existed ? 'adopted' : 'created',
    original: { kind: kind.kind, snapshot: intent.snapshot },
    policy: entry.policy,
    ...(entry.memory && { memory: entry.memory }),
  };
  return {
    key: other,
    entries: [
      { key, entry: { ...entry, owns: [...stays] }, intent: null },
      { key: other, entry: begun },
    ],
  };
}

function freeKey(journal: Journal, key: string): string {
  let n = 1;
  while (journal.entry(`${key}~${n}`) !== undefined) n += 1;
  return `${key}~${n}`;
}
