// What becomes of what left the manifest. What is one host's goes with its document; what the fleet shares (a dashboard,
// the tailnet's policy) stays, unless a person wrote otherwise (docs/decisions/0032). Pure.
import type { Payload, Resource } from '../../api/bundle.ts';
import type { AnyKind } from '../../kinds/kind.ts';
import type { InventoryEntry } from '../journal/journal.ts';

/** An entry with what its document says of its removal. */
export function withPolicy(entry: InventoryEntry, { prune, scope }: Resource): InventoryEntry {
  const { scope: _, ...rest } = entry;
  return { ...rest, policy: prune, ...(scope === undefined ? {} : { scope }) };
}

/**
 * Why it stays as it is, as a message; undefined for what is to be undone.
 * @param kinds of the key, and of whoever recorded how it was before; undefined for one that this agent does not know.
 * @param host as it is assigned now.
 */
export function staysBecause(
  key: string,
  entry: InventoryEntry,
  kinds: readonly (AnyKind | undefined)[],
  host: Payload['host'] | undefined,
): string | undefined {
  const fixed = kinds.find((kind) => kind?.orphanOnly === true);
  if (fixed !== undefined) return `removing the document of a ${fixed.kind} changes nothing`;
  if (entry.policy === 'orphan') return 'prune: orphan';
  const isShared = entry.scope === 'fleet' || kinds.some((kind) => kind?.scope === 'fleet');
  if (!isShared) return undefined;
  // Recorded by release 0.1, or for a controller of it: delete was its default, and nobody's word.
  if (entry.scope === undefined) return 'it is the fleet’s, and nobody wrote prune: delete';
  if (host?.decommission === true) return 'it is the fleet’s, and only this host leaves';
  const [document = key] = key.split('~');
  return host?.elsewhere?.includes(document) === true ? 'another host keeps it now' : undefined;
}
