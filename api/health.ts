// One word and one sentence for how a resource and a host stand. Page, CLI and metrics all take them from here, so
// that they never contradict each other: a host is as well as the worst of its resources.
import { isDrifted, reasonSince, resourceReason, resourceState } from './resource-health.ts';
import { type AgentStatus, type Condition, RESOURCE_STATES, type ResourceState } from './status.ts';
import { ago, count } from './words.ts';

export {
  concernsOf,
  isDrifted,
  isTrouble,
  longPassOf,
  messageOf,
  resourceReason,
  resourceState,
  worstFirst,
} from './resource-health.ts';

/** Three heartbeats of the agent (30 s each) missed, and some seconds. */
const UNSEEN_AFTER_MS = 100_000;
/** Keys that a sentence may have to name; the rest is counted. */
const NAMED = 5;

/** Worst first. */
export const HOST_STATES = [
  'UndoFailing',
  'RolledBack',
  'Degraded',
  'StatusRefused',
  'Unseen',
  'Drifted',
  'Settling',
  'Unassigned',
  'Suspended',
  'Observing',
  'Ready',
] as const;
export type HostState = (typeof HOST_STATES)[number];

/** States in which nobody needs to do anything. */
export const GOOD_STATES: ReadonlySet<HostState> = new Set(['Suspended', 'Observing', 'Ready']);

/** In mode observe, drift is what would change; that is news and no fault. */
export function shownState(state: ResourceState, mode: AgentStatus['mode']): HostState {
  return state === 'Drifted' && mode === 'observe' ? 'Observing' : state;
}

interface Counted {
  readonly count: number;
  /** The first of them, with their reasons. */
  readonly named: readonly string[];
}

/** A host's resources, counted: all that a sentence or a metric needs to know of them. */
export interface Tally {
  readonly total: number;
  readonly ready: number;
  /** With differences that are seen and not (yet) healed. */
  readonly drifted: number;
  readonly contended: number;
  readonly healedTotal: number;
  readonly by: Readonly<Record<ResourceState, Counted>>;
}

export function tally(status: Pick<AgentStatus, 'at' | 'resources' | 'brief'>): Tally {
  const none = () => ({ count: 0, named: [] as string[] });
  const by: Record<ResourceState, { count: number; named: string[] }> = {
    UndoFailing: none(),
    RolledBack: none(),
    Degraded: none(),
    Drifted: none(),
    Settling: none(),
    Suspended: none(),
    Ready: none(),
  };
  const add = (state: ResourceState, reason: string, keys: readonly string[], n: number): void => {
    const counted = by[state];
    counted.count += n;
    if (state === 'Ready') return;
    for (const key of keys.slice(0, NAMED - counted.named.length)) counted.named.push(`${key} (${reason})`);
  };
  for (const { key, conditions } of status.resources) {
    add(resourceState(conditions, status.at), reasonSince(conditions, status.at), [key], 1);
  }
  const brief = status.brief ?? [];
  for (const { state, reason, keys, more } of brief) add(state, reason, keys, keys.length + more);
  const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
  return {
    total: sum(RESOURCE_STATES.map((state) => by[state].count)),
    ready: by.Ready.count,
    drifted: status.resources.filter(isDrifted).length + sum(brief.map((b) => b.drifted)),
    contended:
      status.resources.filter((r) => resourceReason(r.conditions) === 'Contended').length +
      sum(brief.map((b) => (b.reason === 'Contended' ? b.keys.length + b.more : 0))),
    healedTotal: sum(status.resources.map((r) => r.healedTotal)) + sum(brief.map((b) => b.healedTotal)),
    by,
  };
}

/** How many are broken, were rolled back, or can't be looked at. */
export function failing({ by }: Tally): number {
  return by.UndoFailing.count + by.RolledBack.count + by.Degraded.count;
}

/** What is known of a host, by its controller or by itself. */
export interface HostFacts {
  readonly name: string;
  /** The sequence that it is to run; without a number, why there is none. */
  readonly assigned: number | 'not in git' | 'nothing yet';
  /** Why there is no report; asked for only when there is none. */
  readonly unheard?: string;
  /** Since it was last heard of, be it with a report that was refused. */
  readonly silentMs: number;
  /** Why its newest report was refused. */
  readonly refused?: string | undefined;
  readonly report: HostReport | undefined;
}

export interface HostReport {
  readonly mode: AgentStatus['mode'];
  /** The sequence that the agent has taken over. */
  readonly desired: number;
  readonly tally: Tally;
  /** The agent's own conditions by type. */
  readonly conditions: Readonly<Record<string, Condition['status']>>;
}

export interface Health {
  readonly state: HostState;
  /** Why, or what to do about it. */
  readonly reason: string;
}

export function reportOf(status: AgentStatus): HostReport {
  return {
    mode: status.mode,
    desired: status.sequence.desired,
    tally: tally(status),
    conditions: Object.fromEntries(status.conditions.map((c) => [c.type, c.status])),
  };
}

/** The host's word and its reason. */
export function hostHealth(facts: HostFacts): Health {
  const { assigned, report, silentMs } = facts;
  if (assigned === 'not in git') {
    const reason = `git has no Host/${facts.name}: it keeps what it runs; add a Host document, or uninstall the agent`;
    return { state: 'Unassigned', reason };
  }
  if (assigned === 'nothing yet')
    return { state: 'Unassigned', reason: 'no manifest has come for this host yet' };
  if (silentMs > UNSEEN_AFTER_MS)
    return { state: 'Unseen', reason: `silent for ${ago(silentMs)}: is it on, and on the tailnet?` };
  if (facts.refused !== undefined)
    return { state: 'StatusRefused', reason: `reports, but its status is refused: ${facts.refused}` };
  if (report === undefined) return { state: 'Unseen', reason: facts.unheard ?? 'not heard of yet' };
  return reported(report, assigned);
}

/** Conditions of the agent itself, with what it means for its host when one is False. */
const AGENT_TROUBLE: Readonly<Record<string, string>> = {
  Stable: 'the agent ended again and again: it only looks for some minutes, and puts nothing back',
  Healthy: 'the agent itself is not well: what it reports may be old',
  JournalWhole: 'a part of the agent’s journal was lost: what it began, or refused, may be forgotten',
};

function reported({ mode, desired, tally, conditions }: HostReport, assigned: number): Health {
  const found: { state: HostState; text: string }[] = [];
  const refuses = conditions['ManifestAccepted'] === 'False';
  if (refuses) {
    const text = 'the agent refused the last manifest it was sent; it keeps what it runs';
    found.push({ state: 'Degraded', text });
  }
  for (const [type, text] of Object.entries(AGENT_TROUBLE)) {
    if (conditions[type] === 'False') found.push({ state: 'Degraded', text });
  }
  if (desired > assigned) {
    const text = `it runs a later manifest (${desired}) than the one it is to run (${assigned}): was an old store restored?`;
    found.push({ state: 'Degraded', text });
  }
  for (const state of RESOURCE_STATES) {
    const counted = tally.by[state];
    if (state === 'Ready' || counted.count === 0) continue;
    const isLoop = conditions['Stable'] === 'False';
    const text = isLoop && state === 'Drifted' ? `drifted and not put back: ${list(counted)}` : undefined;
    found.push({
      state: shownState(state, mode),
      text: text ?? PHRASES[state](counted, tally.total, mode),
    });
  }
  if (desired < assigned && !refuses)
    found.push({ state: 'Settling', text: 'the new revision is on its way' });
  const fine = mode === 'observe' ? 'Observing' : 'Ready';
  const rank = (state: HostState): number => HOST_STATES.indexOf(state);
  const states = [...found.map((f) => f.state), fine as HostState];
  const state = states.reduce((a, b) => (rank(b) < rank(a) ? b : a));
  const texts = found.toSorted((a, b) => rank(a.state) - rank(b.state)).map((f) => f.text);
  if (tally.total === 0 && found.length === 0) texts.push('no document in git selects this host');
  else if (mode === 'observe' && tally.by.Drifted.count === 0)
    texts.push(texts.length === 0 ? 'nothing would change' : 'nothing else would change');
  else if (texts.length === 0) texts.push('as git says');
  if (state === 'Observing' && tally.by.Drifted.count > 0)
    texts.push('set spec.mode: enforce to have it done');
  return { state, reason: texts.join('; ') };
}

const PHRASES: Readonly<
  Record<
    Exclude<ResourceState, 'Ready'>,
    (counted: Counted, total: number, mode: AgentStatus['mode']) => string
  >
> = {
  UndoFailing: (c) => `a change failed, and undoing it fails too, which is tried again: ${list(c)}`,
  RolledBack: (c) => `a change failed and was undone, the last confirmed state runs: ${list(c)}`,
  Degraded: (c, total, mode) =>
    mode === 'observe'
      ? `${some(c, total)} can’t be looked at, or ${isAre(c)} not well: ${list(c)}`
      : `${some(c, total)} ${isAre(c)} not as git says, or not well: ${list(c)}`,
  Drifted: (c, _total, mode) =>
    mode === 'observe'
      ? `${count(c.count, 'resource')} would change`
      : `drifted and not put back, by drift: warn: ${list(c)}`,
  Settling: (c) => `not settled yet: ${list(c)}`,
  Suspended: (c) => `${count(c.count, 'resource')} suspended`,
};

function some({ count: n }: Counted, total: number): string {
  return `${n} of ${count(total, 'resource')}`;
}

function isAre({ count: n }: Counted): string {
  return n === 1 ? 'is' : 'are';
}

/** At most two names; of more, the first and how many there are. */
function list({ count: n, named }: Counted): string {
  if (n <= 2 && named.length === n) return named.join(' and ');
  return named.length === 0 ? count(n, 'resource') : `${named[0]} and ${n - 1} more`;
}
