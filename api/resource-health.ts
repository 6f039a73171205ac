// One word and one sentence for how a resource stands; health.ts has the host's.
import {
  type AgentStatus,
  type Condition,
  findCondition,
  isTrue,
  RESOURCE_STATES,
  type ResourceState,
  type ResourceStatus,
} from './status.ts';
import { ago } from './words.ts';

/** For as long a resource may settle; after that somebody has to look at what it waits for. */
const SETTLES_WITHIN_MS = 900_000;
/** Reasons for which a resource isn't Ready yet, and nothing is wrong. */
const IN_PROGRESS = new Set([
  'BeingEdited',
  'Dependency',
  'DpkgLocked',
  'Pending',
  'Progressing',
  'Pulling',
  'RateLimited',
  'Reconciling',
  'Relocation',
  'Waiting',
]);

/** Conditions that say with True that something is wrong; the others say it with False. */
const WRONG_WHEN_TRUE = new Set([
  'Contended',
  'Failing',
  'ForeignUnitFiles',
  'KeyExpiry',
  'OutdatedProgram',
  'PanelsEmpty',
  'PolicyWarnings',
  'StatusShortened',
  'UndoFailing',
]);
/** What a resource's own word and reason say already. */
const IN_ITS_WORD = new Set(['Ready', 'Applied', 'Suspended']);

/** Whether a condition is worth a reader's time: it says that something is wrong, or that this is unknown. */
export function isTrouble({ type, status }: Pick<Condition, 'type' | 'status'>): boolean {
  return status !== (WRONG_WHEN_TRUE.has(type) ? 'False' : 'True');
}

/** What is wrong with a resource beside its word. */
export function concernsOf(conditions: readonly Condition[]): Condition[] {
  return conditions.filter((c) => !IN_ITS_WORD.has(c.type) && isTrouble(c));
}

/**
 * How one resource stands. Only what was seen to be right and well, and is left alone by others, is Ready.
 * @param at when its agent said so, by the same clock as the conditions.
 */
export function resourceState(conditions: readonly Condition[], at: string): ResourceState {
  const ready = findCondition(conditions, 'Ready');
  if (ready?.reason === 'UndoFailing' || isTrue(conditions, 'UndoFailing')) return 'UndoFailing';
  if (ready?.reason === 'Suspended' || isTrue(conditions, 'Suspended')) return 'Suspended';
  if (ready === undefined) return 'Settling';
  if (ready.status === 'True') return isTrue(conditions, 'Contended') ? 'Degraded' : 'Ready';
  if (ready.reason === 'RolledBack') return 'RolledBack';
  if (ready.reason === 'Drifted') return 'Drifted';
  if (overdueMs(ready, at) > 0) return 'Degraded';
  return ready.status === 'Unknown' || IN_PROGRESS.has(ready.reason) ? 'Settling' : 'Degraded';
}

/** For how long it has not been what it says, once that is longer than settling takes; 0 before. */
function overdueMs({ status, lastTransitionTime }: Condition, at: string): number {
  const ms = Date.parse(at) - Date.parse(lastTransitionTime);
  return status !== 'True' && ms > SETTLES_WITHIN_MS ? ms : 0;
}

/** Why it isn't Ready, in one CamelCase word. */
export function resourceReason(conditions: readonly Condition[]): string {
  const ready = findCondition(conditions, 'Ready');
  return ready?.status === 'True' && isTrue(conditions, 'Contended')
    ? 'Contended'
    : (ready?.reason ?? 'Pending');
}

/** With how long it has been so, where it should have settled by then. */
export function reasonSince(conditions: readonly Condition[], at: string): string {
  const reason = resourceReason(conditions);
  const ready = findCondition(conditions, 'Ready');
  const isSettling = ready?.status === 'Unknown' || IN_PROGRESS.has(reason);
  const ms = ready === undefined || !isSettling || ready.reason === 'Suspended' ? 0 : overdueMs(ready, at);
  return ms === 0 ? reason : `${reason} for ${ago(ms)}`;
}

/** Why it isn't Ready, for people. */
export function messageOf({ conditions, passRunningSeconds }: ResourceStatus): string {
  const message = findCondition(conditions, 'Ready')?.message;
  if (message !== undefined) return message;
  return passRunningSeconds === undefined
    ? 'not looked at yet'
    : `its first pass has run for ${ago(passRunningSeconds * 1000)}`;
}

/** A pass takes milliseconds; what takes longer waits for something that a reader wants to know of. */
const LONG_PASS_SECONDS = 5;

/** That a pass takes long, where the message does not say so. */
export function longPassOf({ conditions, passRunningSeconds: seconds = 0 }: ResourceStatus): string {
  const isFirst = findCondition(conditions, 'Ready') === undefined;
  return isFirst || seconds < LONG_PASS_SECONDS ? '' : `a pass has run for ${ago(seconds * 1000)}`;
}

/** For lists: what needs people most comes first. */
export function worstFirst({ at, resources }: Pick<AgentStatus, 'at' | 'resources'>): ResourceStatus[] {
  const rank = (r: ResourceStatus): number => RESOURCE_STATES.indexOf(resourceState(r.conditions, at));
  return resources.toSorted((a, b) => rank(a) - rank(b) || (a.key < b.key ? -1 : 1));
}

export function isDrifted({ drift, conditions }: Pick<ResourceStatus, 'drift' | 'conditions'>): boolean {
  return drift.length > 0 || findCondition(conditions, 'Ready')?.reason === 'Drifted';
}
