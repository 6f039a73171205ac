// Inventory entries follow claims: when a document is renamed, split, joined, or swaps places with another one, what is
// known of a thing (whose it was, and how it was before homeostat) goes to the document that owns it now. Pure.
import { type Claim, claimsOverlap } from '../../kinds/kind.ts';
import type { Entry, InventoryEntry } from '../journal/journal.ts';

export interface Wanted {
  readonly claims: readonly Claim[];
  /** Whether the kind's undo goes by the snapshot alone, so that another place is another thing. */
  readonly hasPlace: boolean;
}

/**
 * @param held the inventory, by key.
 * @param wanted what git asks for, by key.
 * @returns what to write, all at once; [] as a rule.
 */
export function handOver(
  held: ReadonlyMap<string, InventoryEntry>,
  wanted: ReadonlyMap<string, Wanted>,
): Entry[] {
  const given = new Map<string, InventoryEntry>();
  const leaving = new Set<string>();
  for (const [key, entry] of held) {
    const own = wanted.get(key);
    const isAtHome = own !== undefined && (!own.hasPlace || overlap(entry.owns, own.claims));
    if (isAtHome) continue;
    const heirs = heirsOf(entry, held, wanted).filter((heir) => !given.has(heir));
    if (heirs.length === 0) continue;
    leaving.add(key);
    const claimed = heirs.flatMap((heir) => shared(entry.owns, wanted.get(heir)!.claims));
    for (const [i, heir] of heirs.entries()) {
      const owns = shared(entry.owns, wanted.get(heir)!.claims);
      // What nobody asks for any more goes with the first: its kind sees what is left over.
      const rest = i === 0 ? entry.owns.filter((claim) => !claimed.includes(claim)) : [];
      given.set(heir, begunAnew({ ...entry, owns: [...owns, ...rest] }));
    }
  }
  return [...displaced(held, given, leaving), ...moves(given, leaving)];
}

/** The documents that want what is held, and have no entry for it. */
function heirsOf(
  { owns }: InventoryEntry,
  held: ReadonlyMap<string, InventoryEntry>,
  wanted: ReadonlyMap<string, Wanted>,
): string[] {
  const heirs: string[] = [];
  for (const [key, { claims, hasPlace }] of wanted) {
    if (!overlap(owns, claims)) continue;
    const its = held.get(key);
    if (its === undefined || (hasPlace && !overlap(its.owns, claims))) heirs.push(key);
  }
  return heirs;
}

/** What an heir held in another place, which nobody else took: it leaves under a key of its own. */
function displaced(
  held: ReadonlyMap<string, InventoryEntry>,
  given: ReadonlyMap<string, InventoryEntry>,
  leaving: ReadonlySet<string>,
): Entry[] {
  const entries: Entry[] = [];
  for (const heir of given.keys()) {
    const its = held.get(heir);
    if (its === undefined || leaving.has(heir)) continue;
    let n = 1;
    while (held.has(`${heir}~${n}`)) n += 1;
    const { quarantined: _, ...entry } = its;
    entries.push({ key: `${heir}~${n}`, entry });
  }
  return entries;
}

function moves(given: ReadonlyMap<string, InventoryEntry>, leaving: ReadonlySet<string>): Entry[] {
  const gone = [...leaving].filter((key) => !given.has(key)).map((key) => ({ key, entry: null }));
  // An open change of whoever held it before leads nowhere any more: what it began is part of what is found now.
  return [...gone, ...[...given].map(([key, entry]) => ({ key, entry, intent: null }))];
}

/** What was confirmed, refused and remembered was another document's. */
function begunAnew({ owns, origin, original, policy, scope }: InventoryEntry): InventoryEntry {
  return { owns, origin, original, policy, ...(scope && { scope }) };
}

function overlap(a: readonly Claim[], b: readonly Claim[]): boolean {
  return shared(a, b).length > 0;
}

function shared(a: readonly Claim[], b: readonly Claim[]): Claim[] {
  return a.filter((x) => b.some((y) => claimsOverlap(x, y)));
}
