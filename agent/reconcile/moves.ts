// A document whose place changed: another path, another unit, another uid. The new place is a beginning of its own, with
// its own way back; what was kept in the old one stays until the new one is confirmed, and then leaves under a key of
// its own, as if its document had left the manifest (docs/decisions/0022).
import type { AnyKind } from '../../kinds/kind.ts';
import type { Holding, Journal } from '../journal/journal.ts';

type Spec = Record<string, unknown>;

/** Undefined for kinds to which a place is nothing of its own, and where none is known. */
export function placeOf(kind: AnyKind, spec: Spec | undefined): string | undefined {
  const parsed = kind.spec.safeParse(spec);
  return parsed.success ? kind.place?.(parsed.data) : undefined;
}

/** What leaves when the key's next state is confirmed, to be written with that; undefined when it stays in its place. */
export function departure(
  journal: Journal,
  key: string,
  kind: AnyKind,
  spec: Spec,
): { readonly key: string; readonly holding: Holding } | undefined {
  const before = journal.holding(key);
  const confirmed = before?.confirmed?.spec;
  const place = placeOf(kind, confirmed);
  if (before === undefined || place === undefined || place === kind.place?.(spec)) return undefined;
  let n = 1;
  while (journal.holding(`${key}~${n}`) !== undefined) n += 1;
  const { quarantined: _, ...holding } = before;
  return { key: `${key}~${n}`, holding: { ...holding, owns: kind.owns(kind.spec.parse(confirmed)) } };
}
