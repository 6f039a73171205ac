// What people are shown, by page and CLI alike: the fleet in one sentence, and each host in one word with its
// reason. Pure.
import type { HostDocument } from '../../api/documents.ts';
import { failing, GOOD_STATES, type Health, type HostState, hostHealth } from '../../api/health.ts';
import type { CommitInfo } from '../source/git-source.ts';
import type { Assignment } from '../store/store.ts';
import type { Refusal, StatusSummary } from './statuses.ts';

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
  readonly resources: {
    readonly total: number;
    readonly ready: number;
    readonly drifted: number;
    /** Broken, rolled back, or not to be looked at. */
    readonly failing: number;
  };
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
  /** Why the newest commit can't be published, though git and the manifests are not to blame. */
  readonly defect: string | null;
  /** Why the store can't be written. */
  readonly storeProblem: string | null;
  readonly hosts: readonly HostView[];
  /** RFC 3339, by the controller's clock. */
  readonly at: string;
}

/** What the controller knows of one host. */
export interface KnownHost {
  readonly name: string;
  readonly assignment: Assignment | undefined;
  readonly document: HostDocument | undefined;
  readonly status: StatusSummary | undefined;
  readonly refusal: Refusal | undefined;
  readonly enrolled: boolean;
}

export function viewHost(known: KnownHost, nowMs: number): HostView {
  const { name, assignment, document, status } = known;
  const heardAt = heard(known);
  const tally = status?.report.tally;
  return {
    name,
    ...healthOf(known, nowMs),
    mode: document?.spec.mode ?? 'observe',
    address: document?.spec.address ?? '',
    labels: document?.metadata.labels ?? {},
    desired: { sequence: assignment?.sequence ?? 0, commit: assignment?.commit ?? '' },
    running: { sequence: status?.sequence.running ?? 0, commit: status?.commit.running ?? '' },
    lastSeen: heardAt === undefined ? '' : new Date(heardAt).toISOString(),
    resources: {
      total: tally?.total ?? 0,
      ready: tally?.ready ?? 0,
      drifted: tally?.drifted ?? 0,
      failing: tally === undefined ? 0 : failing(tally),
    },
    healedTotal: tally?.healedTotal ?? 0,
    agentVersion: status?.version ?? '',
    platform: status?.platform ?? '',
  };
}

/** Unix milliseconds of the newest report, be it one that was refused. */
function heard({ status, refusal }: KnownHost): number | undefined {
  return status === undefined && refusal === undefined
    ? undefined
    : Math.max(status?.receivedAt ?? 0, refusal?.at ?? 0);
}

function healthOf(known: KnownHost, nowMs: number): Health {
  const { name, assignment, status, refusal, enrolled } = known;
  const heardAt = heard(known);
  return hostHealth({
    name,
    assigned: assignment?.sequence ?? 'not in git',
    unheard: enrolled
      ? 'enrolled, and not heard of yet: is the agent running?'
      : `not enrolled: run homeostat token create --host ${name} here, and homeostat enroll on the host`,
    silentMs: heardAt === undefined ? 0 : nowMs - heardAt,
    refused: refusal?.reason,
    report: status?.report,
  });
}

export function summarise(view: Omit<FleetView, 'summary' | 'healthy'>): {
  summary: string;
  healthy: boolean;
} {
  const total = view.hosts.length;
  const by = new Map<HostState, number>();
  for (const { state } of view.hosts) by.set(state, (by.get(state) ?? 0) + 1);
  const good = view.hosts.filter((host) => GOOD_STATES.has(host.state)).length;
  const parts = [
    phrase(by.get('UndoFailing'), 'can’t undo a change that failed'),
    phrase(by.get('RolledBack'), 'rolled a change back'),
    phrase(by.get('Degraded'), 'degraded', true),
    phrase(by.get('StatusRefused'), 'whose status is refused'),
    phrase(by.get('Unseen'), 'not seen', true),
    phrase(by.get('Drifted'), 'drifted', true),
    phrase(by.get('Settling'), 'not settled yet', true),
    phrase(by.get('Unassigned'), 'no longer in git', true),
  ].filter((part) => part !== '');
  if (view.refused !== null) parts.push('the newest commit is refused');
  if (view.sourceProblem !== null) parts.push('git can’t be read');
  if (view.defect !== null) parts.push('a defect of homeostat holds the newest commit back');
  if (view.storeProblem !== null) parts.push('the store can’t be written');
  const healthy = parts.length === 0;
  if (total === 0) {
    return { healthy, summary: parts.length === 0 ? 'No hosts yet' : `No hosts yet; ${parts.join(', ')}` };
  }
  if (healthy) {
    const how = inOrder(by, total);
    return { healthy, summary: total === 1 ? `The one host is ${how}` : `All ${total} hosts are ${how}` };
  }
  return {
    healthy,
    summary: `${good} of ${total} ${total === 1 ? 'host' : 'hosts'} in order; ${parts.join(', ')}`,
  };
}

function inOrder(by: ReadonlyMap<HostState, number>, total: number): string {
  const observing = by.get('Observing') ?? 0;
  const suspended = by.get('Suspended') ?? 0;
  const except = [
    observing === 0 ? '' : `${observing} of them only observed`,
    suspended === 0 ? '' : `${suspended} of them with resources suspended`,
  ].filter((part) => part !== '');
  if (observing === total) return 'observed';
  if (suspended === total) return 'as git says, with resources suspended';
  return ['as git says', ...except].join(', ');
}

function phrase(n: number | undefined, words: string, verb = false): string {
  if (n === undefined || n === 0) return '';
  return verb ? `${n} ${n === 1 ? 'is' : 'are'} ${words}` : `${n} ${words}`;
}
