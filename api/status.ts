// What an agent says of itself to the controller, the CLI and the page. Conditions follow the Kubernetes API
// conventions: a type, True/False/Unknown, a CamelCase reason for programs and a sentence for people.
import * as z from 'zod';
import { clip } from './clip.ts';

/**
 * Caps of what is sent by a host that may have been taken over: what is read by people is cut, what programs go by is
 * refused beyond them. The whole is capped in limits.ts.
 */
const text = z.string().transform((long) => clip(long));
/** Some reasons are codes that others chose. */
const reason = z.string().transform((long) => clip(long, 128));
const word = z.string().max(128);
const time = z.string().max(40);
const key = z.string().max(300);
const amount = z.number().nonnegative();
const sequence = z.int().nonnegative();
const list = <T extends z.ZodType>(of: T) => z.array(of).max(20_000);

/** Conditions of the agent itself that metrics know: a host can't make series with names of its own. */
export const AGENT_CONDITIONS = [
  'Assigned',
  'ControllerReachable',
  'FilesWatched',
  'Healthy',
  'JournalWhole',
  'ManifestAccepted',
  'Stable',
  'StatusAccepted',
  'StatusShortened',
  'WatchesUp',
] as const;

export const Condition = z.object({
  type: z.string().regex(/^[A-Za-z][A-Za-z0-9]{0,63}$/, 'a condition type is one CamelCase word'),
  status: z.enum(['True', 'False', 'Unknown']),
  reason,
  message: text,
  lastTransitionTime: time,
});
export type Condition = z.infer<typeof Condition>;

export const ResourceStatus = z.object({
  key,
  conditions: z.array(Condition).max(64),
  /** Digest that git asks for, and the one that was last confirmed to run; '' for none. */
  desiredDigest: word,
  runningDigest: word,
  /** One line a difference that is seen and not (yet) healed. */
  drift: list(text),
  /** How long the last heal or apply took, seconds, from the wake to the end of the write. */
  lastHealSeconds: amount.optional(),
  healedTotal: amount,
  source: text,
  /** How long the pass that runs now has taken; none runs when it is missing. */
  passRunningSeconds: amount.optional(),
});
export type ResourceStatus = z.infer<typeof ResourceStatus>;

/** How a resource stands, worst first; api/health.ts decides it. */
export const RESOURCE_STATES = [
  'UndoFailing',
  'RolledBack',
  'Degraded',
  'Drifted',
  'Settling',
  'Suspended',
  'Ready',
] as const;
export type ResourceState = (typeof RESOURCE_STATES)[number];

/** Resources for whose detail a status has no room, by state and reason. */
export const BriefStatus = z.object({
  // A state of a later agent is nothing good until it is known.
  state: z.enum(RESOURCE_STATES).catch('Degraded'),
  reason,
  keys: list(key),
  /** How many there are beside those that `keys` names. */
  more: amount,
  drifted: amount,
  healedTotal: amount,
});
export type BriefStatus = z.infer<typeof BriefStatus>;

export const AgentEvent = z.object({
  at: time,
  key,
  type: z.enum(['Normal', 'Warning']),
  reason,
  message: text,
});
export type AgentEvent = z.infer<typeof AgentEvent>;

export const AgentStatus = z.object({
  host: word,
  at: time,
  agent: z.object({
    version: word,
    kinds: z.array(word).max(256),
    platform: word,
    startedAt: time,
  }),
  mode: z.enum(['observe', 'enforce']),
  /** Three revisions that must never be confused: what git asks, what was last tried, what was confirmed. */
  sequence: z.object({
    desired: sequence,
    attempted: sequence,
    running: sequence,
    /** The highest that was ever seen, where it is another one; nothing below it is taken. */
    seen: sequence.optional(),
  }),
  commit: z.object({ desired: word, running: word }),
  conditions: z.array(Condition).max(64),
  resources: list(ResourceStatus),
  /** Only in a status that was too large: what is not in `resources`. */
  brief: list(BriefStatus).optional(),
  events: list(AgentEvent),
});
export type AgentStatus = z.infer<typeof AgentStatus>;

export function findCondition(conditions: readonly Condition[], type: string): Condition | undefined {
  return conditions.find((c) => c.type === type);
}

export function isTrue(conditions: readonly Condition[], type: string): boolean {
  return findCondition(conditions, type)?.status === 'True';
}
