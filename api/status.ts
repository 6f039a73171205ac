// What an agent says of itself to the controller, the CLI and the page. Conditions follow the Kubernetes API
// conventions: a type, True/False/Unknown, a CamelCase reason for programs and a sentence for people.
import * as z from 'zod';

export const Condition = z.object({
  type: z.string(),
  status: z.enum(['True', 'False', 'Unknown']),
  reason: z.string(),
  message: z.string(),
  lastTransitionTime: z.string(),
});
export type Condition = z.infer<typeof Condition>;

export const ResourceStatus = z.object({
  key: z.string(),
  conditions: z.array(Condition),
  /** Digest that git asks for, and the one that was last confirmed to run; '' for none. */
  desiredDigest: z.string(),
  runningDigest: z.string(),
  /** One line a difference that is seen and not (yet) healed. */
  drift: z.array(z.string()),
  /** How long the last heal or apply took, seconds, from the wake to the end of the write. */
  lastHealSeconds: z.number().optional(),
  healedTotal: z.number(),
  source: z.string(),
  /** How long the pass that runs now has taken; none runs when it is missing. */
  passRunningSeconds: z.number().optional(),
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
  reason: z.string(),
  keys: z.array(z.string()),
  /** How many there are beside those that `keys` names. */
  more: z.number(),
  drifted: z.number(),
  healedTotal: z.number(),
});
export type BriefStatus = z.infer<typeof BriefStatus>;

export const AgentEvent = z.object({
  at: z.string(),
  key: z.string(),
  type: z.enum(['Normal', 'Warning']),
  reason: z.string(),
  message: z.string(),
});
export type AgentEvent = z.infer<typeof AgentEvent>;

export const AgentStatus = z.object({
  host: z.string(),
  at: z.string(),
  agent: z.object({
    version: z.string(),
    kinds: z.array(z.string()),
    platform: z.string(),
    startedAt: z.string(),
  }),
  mode: z.enum(['observe', 'enforce']),
  /** Three revisions that must never be confused: what git asks, what was last tried, what was confirmed. */
  sequence: z.object({ desired: z.number(), attempted: z.number(), running: z.number() }),
  commit: z.object({ desired: z.string(), running: z.string() }),
  conditions: z.array(Condition),
  resources: z.array(ResourceStatus),
  /** Only in a status that was too large: what is not in `resources`. */
  brief: z.array(BriefStatus).optional(),
  events: z.array(AgentEvent),
});
export type AgentStatus = z.infer<typeof AgentStatus>;

export function findCondition(conditions: readonly Condition[], type: string): Condition | undefined {
  return conditions.find((c) => c.type === type);
}

export function isTrue(conditions: readonly Condition[], type: string): boolean {
  return findCondition(conditions, type)?.status === 'True';
}
