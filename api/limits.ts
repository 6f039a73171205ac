// How large what an agent says may be, in one place. A host whose programs print megabytes must still be able to
// report: what does not fit is cut, the cut is said, and what stays longest is which resources there are and how
// each of them stands. What a single text or list may hold is in status.ts, whoever sends it.
import { clip, MAX_TEXT } from './clip.ts';
import { isDrifted, resourceReason, resourceState } from './health.ts';
import {
  type AgentStatus,
  type BriefStatus,
  type Condition,
  RESOURCE_STATES,
  type ResourceStatus,
} from './status.ts';
import { inBytes } from './words.ts';

/** Of a status's JSON. The controller takes no more, and the agent sends no more. */
export const MAX_STATUS_BYTES = 1024 * 1024;

export { clip };

/** What is left of a status that does not fit. */
interface Cut {
  /** Of each message, line of drift and event. */
  readonly text: number;
  /** Lines of drift of each resource. */
  readonly lines: number;
  readonly events: number;
  /** Whether resources that are Ready keep their detail. */
  readonly ready: boolean;
  /** How many of the others do, the worst first. */
  readonly others: number;
  /** How many of the rest are named. */
  readonly keys: number;
}

const ALL = Number.POSITIVE_INFINITY;
const WITH_READY: readonly Cut[] = [
  { text: MAX_TEXT, lines: 100, events: 50, ready: true, others: ALL, keys: ALL },
  { text: 1024, lines: 20, events: 50, ready: true, others: ALL, keys: ALL },
  { text: 256, lines: 5, events: 20, ready: true, others: ALL, keys: ALL },
];
const WITHOUT_READY: readonly Cut[] = [
  { text: 1024, lines: 20, events: 50, ready: false, others: ALL, keys: ALL },
  { text: 256, lines: 5, events: 20, ready: false, others: ALL, keys: ALL },
  { text: 128, lines: 1, events: 5, ready: false, others: ALL, keys: ALL },
];
/** About what one resource with all its detail takes at least: of more than fit so, the first steps can't do. */
const DETAIL_BYTES = 300;

/** The status itself where it fits, else as much of it as does. Pure. */
export function fitted(status: AgentStatus, maxBytes: number = MAX_STATUS_BYTES): AgentStatus {
  const bytes = bytesOf(status);
  if (bytes <= maxBytes) return status;
  let shorter = status;
  for (const cut of cutsFor(status.resources.length, maxBytes)) {
    shorter = shortened(status, cut, bytes, maxBytes);
    if (bytesOf(shorter) <= maxBytes) break;
  }
  return shorter;
}

function* cutsFor(resources: number, maxBytes: number): Generator<Cut> {
  if (resources * DETAIL_BYTES < maxBytes) yield* WITH_READY;
  yield* WITHOUT_READY;
  const least: Cut = { text: 128, lines: 1, events: 0, ready: false, others: 0, keys: ALL };
  for (let others = resources; others >= 1; others = Math.floor(others / 2)) yield { ...least, others };
  yield least;
  for (let keys = resources; keys >= 1; keys = Math.floor(keys / 2)) yield { ...least, keys };
  yield { ...least, keys: 0 };
}

function shortened(status: AgentStatus, cut: Cut, bytes: number, maxBytes: number): AgentStatus {
  const whole = keepingDetail(status, cut);
  const detailed = status.resources.filter((r) => whole.has(r)).map((r) => cutResource(r, cut));
  const rest = status.resources.filter((r) => !whole.has(r));
  const events = cut.events === 0 ? [] : status.events.slice(-cut.events);
  const short: AgentStatus = {
    ...status,
    conditions: status.conditions.map((c) => cutCondition(c, cut.text)),
    resources: detailed,
    events: events.map((e) => ({ ...e, message: clip(e.message, cut.text) })),
  };
  const brief = [...(status.brief ?? []), ...briefly(rest, status.at, cut.keys)];
  if (brief.length > 0) short.brief = brief;
  const said = [
    `messages are cut to ${cut.text} characters`,
    leftOut(status.events.length - events.length, status.events.length, 'events'),
    leftOut(rest.length, status.resources.length, 'resources', 'the detail of '),
  ].filter((part) => part !== '');
  const message = `the status has ${inBytes(bytes)}, and ${inBytes(maxBytes)} are taken: ${said.join(', ')}; homeostat status on the host shows everything`;
  const shortened = { type: 'StatusShortened', status: 'True' as const, reason: 'TooLarge', message };
  short.conditions.push({ ...shortened, lastTransitionTime: '' });
  return short;
}

function keepingDetail({ at, resources }: AgentStatus, cut: Cut): ReadonlySet<ResourceStatus> {
  const rank = new Map(resources.map((r) => [r, RESOURCE_STATES.indexOf(resourceState(r.conditions, at))]));
  const isReady = (r: ResourceStatus): boolean => rank.get(r) === RESOURCE_STATES.indexOf('Ready');
  const others = resources.filter((r) => !isReady(r));
  const worst =
    cut.others >= others.length
      ? others
      : others.toSorted((a, b) => rank.get(a)! - rank.get(b)!).slice(0, cut.others);
  return new Set([...(cut.ready ? resources.filter(isReady) : []), ...worst]);
}

function cutResource(r: ResourceStatus, { text, lines }: Cut): ResourceStatus {
  const drift = r.drift.slice(0, lines).map((line) => clip(line, text));
  if (r.drift.length > lines) drift.push(`… (${r.drift.length - lines} lines left out)`);
  return { ...r, conditions: r.conditions.map((c) => cutCondition(c, text)), drift };
}

function cutCondition(c: Condition, text: number): Condition {
  return { ...c, reason: clip(c.reason, 64), message: clip(c.message, text) };
}

/** @param most how many of them are named in all, the worst first. */
function briefly(resources: readonly ResourceStatus[], at: string, most: number): BriefStatus[] {
  const groups = new Map<string, BriefStatus>();
  for (const r of resources) {
    const state = resourceState(r.conditions, at);
    // Nobody is named any more: then reasons, of which there may be as many, aren't either.
    const reason = most === 0 ? '' : clip(resourceReason(r.conditions), 64);
    const id = `${state} ${reason}`;
    const group = groups.get(id) ?? { state, reason, keys: [], more: 0, drifted: 0, healedTotal: 0 };
    groups.set(id, group);
    group.keys.push(r.key);
    group.drifted += isDrifted(r) ? 1 : 0;
    group.healedTotal += r.healedTotal;
  }
  const rank = (g: BriefStatus): number => RESOURCE_STATES.indexOf(g.state);
  const worstFirst = [...groups.values()].sort((a, b) => rank(a) - rank(b));
  let left = most;
  for (const group of worstFirst) {
    const named = group.keys.slice(0, left);
    group.more = group.keys.length - named.length;
    group.keys = named;
    left -= named.length;
  }
  return worstFirst;
}

function leftOut(n: number, of: number, noun: string, before = ''): string {
  return n === 0 ? '' : `${before}${n} of ${of} ${noun} ${before === '' ? 'are' : 'is'} left out`;
}

function bytesOf(status: AgentStatus): number {
  return Buffer.byteLength(JSON.stringify(status));
}
