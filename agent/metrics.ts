// What Prometheus sees of the agent. Every series stands at zero from the start, and there are few of them: a
// resource has a series of its own only while there are at most MAX_NAMED of them.
import Counter from 'prom-client/lib/counter.js';
import Gauge from 'prom-client/lib/gauge.js';
import Histogram from 'prom-client/lib/histogram.js';
import Registry from 'prom-client/lib/registry.js';
import { resourceState, tally } from '../api/health.ts';
import type { AgentStatus, ResourceStatus } from '../api/status.ts';
import type { Outcome } from './reconcile/loop.ts';

const MAX_NAMED = 30;
const OUTCOMES: readonly Outcome[] = [
  'in_sync',
  'healed',
  'applied',
  'unconfirmed',
  'degraded',
  'rolled_back',
  'drifted',
  'suspended',
  'waiting',
  'stalled',
  'removed',
  'error',
];
export const PULL_RESULTS = [
  'new',
  'unchanged',
  'unreachable',
  'refused_by_controller',
  'unassigned',
  'malformed',
  'bad_signature',
  'wrong_host',
  'replayed',
  'bad_digest',
  'not_kept',
] as const;
export type PullResult = (typeof PULL_RESULTS)[number];

export type AgentMetrics = ReturnType<typeof createAgentMetrics>;

/** @param kinds the kinds in use on this host; only they get series, so that the number stays bounded. */
export function createAgentMetrics(version: string) {
  const registry = new Registry();
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Counter({ name: `homeostat_${name}`, help, labelNames, registers });
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Gauge({ name: `homeostat_${name}`, help, labelNames, registers });

  const reconciles = counter('reconcile_total', 'Passes by kind and outcome.', ['kind', 'outcome']);
  const duration = new Histogram({
    name: 'homeostat_reconcile_duration_seconds',
    help: 'How long passes took.',
    labelNames: ['kind'],
    buckets: [0.001, 0.01, 0.1, 1, 10],
    registers,
  });
  const healLatency = new Histogram({
    name: 'homeostat_heal_latency_seconds',
    help: 'From the event that told of drift to the end of the write that healed it.',
    labelNames: ['kind'],
    buckets: [0.002, 0.005, 0.015, 0.05, 0.25, 1, 10],
    registers,
  });
  const drift = counter('drift_detected_total', 'Drift seen, by what saw it.', ['kind', 'by']);
  const healed = counter('drift_healed_total', 'Drift healed.', ['kind']);
  const rollbacks = counter('rollback_total', 'Changes that were undone.', ['kind']);
  const pulls = counter('pull_total', 'Requests to the controller for a bundle, by result.', ['result']);
  const ready = gauge('resource_ready', 'Whether a resource is as the manifest says, and well.', [
    'kind',
    'name',
  ]);
  const resources = gauge('resources', 'Resources by readiness.', ['ready']);
  const sequence = gauge('manifest_sequence', 'Revisions: asked for, tried, confirmed.', ['state']);
  const info = gauge('manifest_info', 'The commit that git asks for; always 1.', ['commit']);
  const success = gauge('last_success_timestamp_seconds', 'When all of a revision was last confirmed.', []);
  const quarantined = gauge(
    'quarantined',
    'Resources whose desired state failed here and is not tried again.',
    [],
  );
  const suspended = gauge('suspended', 'Resources that are suspended.', []);
  const contended = gauge('contended', 'Resources that something else keeps changing.', []);
  const depth = gauge('queue_depth', 'Keys that wait for a pass.', []);
  const watchUp = gauge('watch_up', 'Whether every watch of a kind stands.', ['kind']);
  const watchesPolled = gauge(
    'watches_polled',
    'Directories that are polled, since the system has no file watch left.',
    [],
  );
  const build = gauge('agent_build_info', 'Version of the agent; always 1.', ['version']);
  build.set({ version }, 1);
  for (const result of PULL_RESULTS) pulls.inc({ result }, 0);
  for (const state of ['desired', 'attempted', 'running'] as const) sequence.set({ state }, 0);

  const known = new Set<string>();
  /** Zeroes of a kind that this host has resources of. */
  function introduce(kind: string): void {
    if (known.has(kind)) return;
    known.add(kind);
    for (const outcome of OUTCOMES) reconciles.inc({ kind, outcome }, 0);
    for (const by of ['watch', 'resync'] as const) drift.inc({ kind, by }, 0);
    healed.inc({ kind }, 0);
    rollbacks.inc({ kind }, 0);
    duration.zero({ kind });
    healLatency.zero({ kind });
    watchUp.set({ kind }, 1);
  }
  const kindOf = (key: string): string => {
    const kind = key.slice(0, key.indexOf('/'));
    introduce(kind);
    return kind;
  };
  const downWatches = new Map<string, Set<string>>();

  return {
    registry,
    introduce,
    passEnded(key: string, outcome: Outcome, seconds: number): void {
      const kind = kindOf(key);
      reconciles.inc({ kind, outcome });
      duration.observe({ kind }, seconds);
    },
    driftDetected: (key: string, by: 'watch' | 'resync') => drift.inc({ kind: kindOf(key), by }),
    healed(key: string, seconds: number): void {
      const kind = kindOf(key);
      healed.inc({ kind });
      healLatency.observe({ kind }, seconds);
    },
    rolledBack: (key: string) => rollbacks.inc({ kind: kindOf(key) }),
    pulled: (result: PullResult) => pulls.inc({ result }),
    watch(key: string, up: boolean): void {
      const kind = kindOf(key);
      const down = downWatches.get(kind) ?? new Set();
      downWatches.set(kind, down);
      if (up) down.delete(key);
      else down.add(key);
      watchUp.set({ kind }, down.size === 0 ? 1 : 0);
    },
    confirmedAll: (unixSeconds: number) => success.set(unixSeconds),
    /** Gauges are read off the status just before a scrape. */
    refresh(status: AgentStatus, queueDepth: number, polled: number): void {
      depth.set(queueDepth);
      watchesPolled.set(polled);
      const { total, ready: readyCount, by, contended: disputed } = tally(status);
      resources.set({ ready: 'true' }, readyCount);
      resources.set({ ready: 'false' }, total - readyCount);
      quarantined.set(by.RolledBack.count);
      suspended.set(by.Suspended.count);
      contended.set(disputed);
      ready.reset();
      const isReady = (r: ResourceStatus): number =>
        resourceState(r.conditions, status.at) === 'Ready' ? 1 : 0;
      for (const r of status.resources.toSorted((a, b) => isReady(a) - isReady(b)).slice(0, MAX_NAMED)) {
        const [kind, name] = r.key.split('/') as [string, string];
        ready.set({ kind, name }, isReady(r));
      }
      for (const state of ['desired', 'attempted', 'running'] as const) {
        sequence.set({ state }, status.sequence[state]);
      }
      info.reset();
      if (status.commit.desired !== '') info.set({ commit: status.commit.desired }, 1);
    },
  };
}
