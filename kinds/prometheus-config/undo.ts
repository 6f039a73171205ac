// What a change of a config is undone by: the parts of the documents that it is about, as they were. Pure.
import * as z from 'zod';
import type { InventoryRecord } from '../kind.ts';
import { Server } from './connection.ts';
import { jobsFileOf, KEYS, NO_PART, type Part, type Parts, withoutClaims } from './parts.ts';
import type { Edit } from './write.ts';

/** null for no block, and for no file. */
const Text = z.string().nullable();

/** Of a document besides the own one: what the change left of it. What somebody changed since is not put back. */
const left = Text.optional();

export const Before = Server.extend({
  path: z.string(),
  inPlace: z.boolean(),
  /** The own document's first. */
  blocks: z.array(z.object({ key: z.enum(KEYS), owner: z.string(), items: Text, left })).min(1),
  files: z.array(z.object({ path: z.string(), content: Text, left })).optional(),
  /** Whether Prometheus answered. */
  answered: z.boolean(),
});
export type Before = z.infer<typeof Before>;

export function partsBefore({ path, now, wanted }: Edit, self: string): Pick<Before, 'blocks' | 'files'> {
  const owners = [self, ...[...wanted.keys()].filter((owner) => owner !== self)];
  const was = (owner: string) => now.get(owner) ?? NO_PART;
  const leaves = (owner: string, what: keyof Part) =>
    owner === self ? {} : { left: wanted.get(owner)![what] ?? null };
  return {
    blocks: owners.flatMap((owner) =>
      KEYS.map((key) => ({ key, owner, items: was(owner)[key] ?? null, ...leaves(owner, key) })),
    ),
    files: owners.map((owner) => ({
      path: jobsFileOf(path, owner),
      content: was(owner).file ?? null,
      ...leaves(owner, 'file'),
    })),
  };
}

/** Whose parts an undo is about. */
export const ownersOf = (before: Before, record: InventoryRecord): string[] => [
  ...new Set([record.key, ...before.blocks.map(({ owner }) => owner)]),
];

export function partsAfterUndo(before: Before, record: InventoryRecord, now: Parts): Parts {
  const self = before.blocks[0]!.owner;
  const wanted = new Map<string, Part>();
  if (self === record.key) {
    for (const owner of ownersOf(before, record)) {
      const isAsLeft = same(now.get(owner) ?? NO_PART, partOf(before, owner, 'left'));
      if (owner === self || isAsLeft) wanted.set(owner, partOf(before, owner, 'was'));
    }
    return wanted;
  }
  // The record was another document's, which may have parts of its own by now: only what is this one's goes.
  const theirs = now.get(self) ?? NO_PART;
  return wanted.set(self, withoutClaims(theirs, self, record.owns)).set(record.key, NO_PART);
}

function partOf(before: Before, owner: string, when: 'was' | 'left'): Part {
  const block = (key: (typeof KEYS)[number]) => {
    const found = before.blocks.find((b) => b.key === key && b.owner === owner);
    return (when === 'was' ? found?.items : found?.left) ?? undefined;
  };
  const file = before.files?.find(({ path }) => path === jobsFileOf(before.path, owner));
  return {
    scrape_configs: block('scrape_configs'),
    rule_files: block('rule_files'),
    scrape_config_files: block('scrape_config_files'),
    file: (when === 'was' ? file?.content : file?.left) ?? undefined,
  };
}

const same = (a: Part, b: Part): boolean => [...KEYS, 'file' as const].every((what) => a[what] === b[what]);
