// What a record of the journal holds, and how one is read. Nothing that comes from the disk is cast: a record of
// another shape counts as damaged, and one that release 0.1 wrote is read as what it means today.
import * as z from 'zod';
import { Prune } from '../../api/documents.ts';
import type { Json } from '../../api/json.ts';

/** What a kind recorded, with the version of its shape; the kind's own schema reads it. */
// A record comes from JSON.parse, which gives nothing else: walking it once more took half the time of a start.
const AnyJson = z.custom<Json>((value) => value !== undefined, 'there is nothing');
const Stored = z.object({ version: z.int().positive(), data: AnyJson });

/** How something was before a change. */
const Snapshot = z.object({
  /** Whether it was there. */
  existed: z.boolean(),
  before: Stored,
});
export type Snapshot = z.infer<typeof Snapshot>;

const Failure = z.object({ reason: z.string(), evidence: z.string() });

/** A change that was begun, and is neither confirmed nor rolled back. */
const Intent = z.object({
  digest: z.string(),
  /** The state before this change. Kept when a newer change takes over. */
  snapshot: Snapshot,
  /** When it turns to undoing, what was refused is in quarantine first. */
  phase: z.enum(['applying', 'undoing']),
  /** Where that state is to be, for kinds to which that matters. */
  place: z.string().optional(),
  /** Of the program, and of what it depends on: what a refusal would be keyed by. */
  version: z.string(),
  basis: z.string(),
  /** Why it is undone; only while it is. */
  failure: Failure.optional(),
});
export type Intent = z.infer<typeof Intent>;

/** A desired state that failed here: not tried again until something that matters changes. */
const Quarantined = Failure.extend({
  digest: z.string(),
  /** Of the program that refused it; another version may accept it. */
  version: z.string(),
  /** Digest of what it depends on and restarts on; what was mended there may mend this. */
  basis: z.string().optional(),
  atMs: z.number(),
});

const Written = z.object({
  digest: z.string(),
  atMs: z.number(),
  /** The desired state that the digest is of, and what stood there (Kind.revision), where that is part of it. */
  desired: z.string().optional(),
  revision: z.string().optional(),
});
export type Written = z.infer<typeof Written>;

const InventoryEntry = z.object({
  owns: z.array(z.string()),
  origin: z.enum(['created', 'adopted']),
  /** The state before our first write, and the kind that recorded it and can bring it back. */
  original: z.object({ kind: z.string(), snapshot: Snapshot }),
  policy: Prune,
  /** Its document has runOn. Of what release 0.1 recorded it is not known; its policy was the default then. */
  scope: z.literal('fleet').optional(),
  /** The spec as rendered, without secrets' values. */
  confirmed: z
    .object({ digest: z.string(), spec: z.record(z.string(), z.unknown()), atMs: z.number() })
    .optional(),
  quarantined: Quarantined.optional(),
  /** What was last written, for those that restart on it; atMs 0 when it was found right. */
  written: Written.optional(),
  memory: Stored.optional(),
});
export type InventoryEntry = z.infer<typeof InventoryEntry>;

/** What is to be remembered of a key from now on: what is left out stays, null is forgotten. */
const Entry = z.strictObject({
  key: z.string(),
  /** Without an entry there is no intent either. */
  entry: InventoryEntry.nullable().optional(),
  intent: Intent.nullable().optional(),
});
export type Entry = z.infer<typeof Entry>;

const Entries = z.array(Entry);

/**
 * @param open opens what is sealed: snapshots and memories may hold secrets.
 * @throws Error for what is no record.
 */
export function readRecord(json: Json, open: (value: Json) => Json): Entry[] {
  const now = Entries.safeParse(json);
  const old = now.success ? undefined : OldEntries.safeParse(json);
  const entries = old?.success === true ? Entries.parse(old.data) : Entries.parse(json);
  return entries.map((entry) => turned(entry, open));
}

/** As it is to be written. @param close seals what may be secret. */
export function sealed(entries: readonly Entry[], close: (value: Json) => Json): readonly Entry[] {
  return entries.map((entry) => turned(entry, close));
}

function turned(entry: Entry, turn: (value: Json) => Json): Entry {
  const stored = ({ version, data }: z.infer<typeof Stored>) => ({ version, data: turn(data) });
  const snapshot = (s: Snapshot): Snapshot => ({ ...s, before: stored(s.before) });
  const { entry: kept, intent } = entry;
  return {
    ...entry,
    ...(kept && {
      entry: {
        ...kept,
        original: { ...kept.original, snapshot: snapshot(kept.original.snapshot) },
        ...(kept.memory && { memory: stored(kept.memory) }),
      },
    }),
    ...(intent && { intent: { ...intent, snapshot: snapshot(intent.snapshot) } }),
  };
}

// Release 0.1 wrote no versions, called an entry a holding, and knew a third phase.

const OldSnapshot = z
  .object({ existed: z.boolean(), data: AnyJson })
  .transform(({ existed, data }) => ({ existed, before: { version: 1, data } }));

const OldHolding = z.looseObject({
  original: z.object({ kind: z.string(), snapshot: OldSnapshot }),
  memory: AnyJson.transform((data) => ({ version: 1, data })).optional(),
});

const OldIntent = z
  .looseObject({
    snapshot: OldSnapshot,
    phase: z.enum(['applying', 'confirming', 'undoing']).transform((p) => (p === 'undoing' ? p : 'applying')),
  })
  .transform((intent) => ({ version: '', basis: '', ...intent }));

const OldEntries = z.array(
  z
    .object({
      key: z.string(),
      holding: OldHolding.nullable().optional(),
      intent: OldIntent.nullable().optional(),
    })
    .transform(({ holding, ...rest }) => (holding === undefined ? rest : { ...rest, entry: holding })),
);
