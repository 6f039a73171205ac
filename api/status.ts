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
});
export type ResourceStatus = z.infer<typeof ResourceStatus>;

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
  events: z.array(AgentEvent),
});
export type AgentStatus = z.infer<typeof AgentStatus>;

export function findCondition(conditions: readonly Condition[], type: string): Condition | undefined {
  return conditions.find((c) => c.type === type);
}

export function isTrue(conditions: readonly Condition[], type: string): boolean {
  return findCondition(conditions, type)?.status === 'True';
}
