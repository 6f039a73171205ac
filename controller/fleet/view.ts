// What people are shown, by page and CLI alike: the fleet in one sentence, and each host in one word with its
// reason. Pure.
import type { HostDocument } from '../../api/documents.ts';
import type { CommitInfo } from '../source/git-source.ts';
import type { Assignment } from '../store/store.ts';
import type { StatusSummary } from './statuses.ts';

/** Three heartbeats of the agent (30 s each) missed, and some seconds. */
export const UNSEEN_AFTER_MS = 100_000;

export type HostState =
  | 'Ready'
  | 'Healing'
  | 'Degraded'
  | 'RolledBack'
  | 'Observing'
  | 'Unseen'
  | 'Unassigned';
export const HOST_STATES: readonly HostState[] = [
  'RolledBack',
  'Degraded',
  'Unseen',
  'Healing',
  'Unassigned',
  'Observing',
  'Ready',
];

export interface HostView {
  readonly name: string;
  readonly state: HostState;
  /** Why it is in this state, or what to do about it; one sentence. */
  readonly reason: string;
  readonly mode: 'observe' | 'enforce';
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly desired: { readonly sequence: number; readonly commit: string };
  readonly running: { readonly sequence: number; readonly commit: string };
  /** RFC 3339; '' for never. */
  readonly lastSeen: string;
  readonly resources: { readonly total: number; readonly ready: number; readonly drifted: number };
  readonly healedTotal: number;
  readonly agentVersion: string;
  readonly platform: string;
}

export interface FleetView {
  /** The fleet's health in one sentence. */
  readonly summary: string;
  /** Whether nobody needs to do anything. */
  readonly healthy: boolean;
  readonly serving: (CommitInfo & { readonly publishedAt: string; readonly sequence: number }) | null;
  readonly head: CommitInfo | null;
  /** What is wrong with the head, so that the last good commit keeps serving. */
  readonly refused: { readonly diagnostics: readonly string[]; readonly errors: number } | null;
  readonly warnings: readonly string[];
  /** Why git can't be read. */
  readonly sourceProblem: string | null;
  /** Why the store can't be written. */
  readonly storeProblem: string | null;
  readonly hosts: readonly HostView[];
  /** RFC 3339, by the controller's clock. */
  readonly at: string;
}

export function viewHost(
  name: string,
  assignment: Assignment | undefined,
  document: HostDocument | undefined,
  status: StatusSummary | undefined,
  enrolled: boolean,
  nowMs: number,
): HostView {
  const { state, reason } = stateOf(name, assignment, document, status, enrolled, nowMs);
  return {
    name,
    state,
    reason,
    mode: document?.spec.mode ?? 'observe',
    address: document?.spec.address ?? '',
    labels: document?.metadata.labels ?? {},
    desired: { sequence: assignment?.sequence ?? 0, commit: assignment?.commit ?? '' },
    running: { sequence: status?.sequence.running ?? 0, commit: status?.commit.running ?? '' },
    lastSeen: status === undefined ? '' : new Date(status.receivedAt).toISOString(),
    resources: status?.resources ?? { total: 0, ready: 0, drifted: 0 },
    healedTotal: status?.healedTotal ?? 0,
    agentVersion: status?.version ?? '',
    platform: status?.platform ?? '',
  };
}

function stateOf(
  name: string,
  assignment: Assignment | undefined,
  document: HostDocument | undefined,
  status: StatusSummary | undefined,
  enrolled: boolean,
  nowMs: number,
): { state: HostState; reason: string } {
  if (assignment === undefined) {
    return {
      state: 'Unassigned',
      reason: `git has no Host/${name}: it keeps what it runs; add a Host document, or uninstall the agent`,
    };
  }
  if (status === undefined) {
    const reason = enrolled
      ? 'enrolled, and not heard of yet: is the agent running?'
      : `not enrolled: run homeostat token create --host ${name} here, and homeostat enroll on the host`;
    return { state: 'Unseen', reason };
  }
  const silentMs = nowMs - status.receivedAt;
  if (silentMs > UNSEEN_AFTER_MS)
    return { state: 'Unseen', reason: `silent for ${ago(silentMs)}: is it on, and on the tailnet?` };
  if (status.rolledBack.length > 0) {
    return {
      state: 'RolledBack',
      reason: `${list(status.rolledBack)} failed and was undone: the last confirmed state runs`,
    };
  }
  const { resources } = status;
  if (status.conditions['ManifestAccepted'] === 'False') {
    return {
      state: 'Degraded',
      reason: 'the agent refused the last manifest it was sent; it keeps what it runs',
    };
  }
  if ((document?.spec.mode ?? 'observe') === 'observe') {
    const found =
      resources.drifted === 0
        ? 'nothing would change'
        : `${count(resources.drifted, 'resource')} would change`;
    return { state: 'Observing', reason: `${found}; set spec.mode: enforce to have it done` };
  }
  if (status.failed.length > 0) return { state: 'Degraded', reason: `${list(status.failed)} not ready` };
  if (status.sequence.desired < assignment.sequence)
    return { state: 'Healing', reason: 'the new revision is on its way' };
  if (status.busy.length > status.suspended)
    return { state: 'Healing', reason: `working on ${list(status.busy)}` };
  if (status.suspended > 0)
    return { state: 'Ready', reason: `${count(status.suspended, 'resource')} suspended` };
  return { state: 'Ready', reason: resources.total === 0 ? 'nothing to keep true yet' : 'as git says' };
}

export function summarise(view: Omit<FleetView, 'summary' | 'healthy'>): {
  summary: string;
  healthy: boolean;
} {
  const total = view.hosts.length;
  const by = new Map<HostState, number>();
  for (const { state } of view.hosts) by.set(state, (by.get(state) ?? 0) + 1);
  const good = (by.get('Ready') ?? 0) + (by.get('Observing') ?? 0);
  const parts = [
    phrase(by.get('RolledBack'), 'rolled a change back'),
    phrase(by.get('Degraded'), 'degraded', true),
    phrase(by.get('Unseen'), 'not seen', true),
    phrase(by.get('Healing'), 'being brought in line', true),
    phrase(by.get('Unassigned'), 'no longer in git', true),
  ].filter((part) => part !== '');
  if (view.refused !== null) parts.push('the newest commit is refused');
  if (view.sourceProblem !== null) parts.push('git can’t be read');
  if (view.storeProblem !== null) parts.push('the store can’t be written');
  const healthy = parts.length === 0;
  if (total === 0) {
    return { healthy, summary: parts.length === 0 ? 'No hosts yet' : `No hosts yet; ${parts.join(', ')}` };
  }
  const observing = by.get('Observing') ?? 0;
  if (healthy) {
    const how =
      observing === 0
        ? 'as git says'
        : observing === total
          ? 'observed'
          : `as git says, ${observing} of them only observed`;
    return { healthy, summary: total === 1 ? `The one host is ${how}` : `All ${total} hosts are ${how}` };
  }
  return {
    healthy,
    summary: `${good} of ${total} ${total === 1 ? 'host' : 'hosts'} in order; ${parts.join(', ')}`,
  };
}

function phrase(n: number | undefined, words: string, verb = false): string {
  if (n === undefined || n === 0) return '';
  return verb ? `${n} ${n === 1 ? 'is' : 'are'} ${words}` : `${n} ${words}`;
}

function list(keys: readonly string[]): string {
  return keys.length <= 2 ? keys.join(' and ') : `${keys[0]} and ${keys.length - 1} more`;
}

export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}

/** A duration for people: `45 s`, `12 min`, `3 h`, `5 days`. */
export function ago(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h`;
  return count(Math.round(seconds / 86_400), 'day');
}
