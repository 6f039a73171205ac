// The controller's metrics, pulled by Prometheus: an alert must not depend on the host that just broke. Series of
// a host appear with it and go with it; everything else is there, at zero, from the start.
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { HOST_STATES } from '../api/health.ts';
import { AGENT_CONDITIONS } from '../api/status.ts';
import type { Fleet } from './fleet/fleet.ts';
import { PUBLISH_RESULTS, type PublishResult } from './fleet/publisher.ts';
import { ERRORS, type ErrorCode } from './http/errors.ts';

const SEQUENCES = ['assigned', 'desired', 'attempted', 'running'] as const;

export interface ControllerMetrics {
  readonly registry: Registry;
  published(result: PublishResult, seconds: number): void;
  refused(code: ErrorCode): void;
  enrolled(result: 'enrolled' | ErrorCode): void;
  /** @param entries how many of them are in the log now. */
  audited(entries: number): void;
  /** Gauges are read off the fleet just before a scrape. */
  refresh(fleet: Fleet, storeProblem: string | undefined): void;
}

export function createMetrics(version: string): ControllerMetrics {
  const registry = new Registry();
  const registers = [registry];
  const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]): Gauge<L> =>
    new Gauge({ name: `homeostat_controller_${name}`, help, labelNames, registers });
  const counter = <L extends string>(name: string, help: string, ...labelNames: L[]): Counter<L> =>
    new Counter({ name: `homeostat_controller_${name}`, help, labelNames, registers });

  const publishes = counter('publish_total', 'Commits that were looked at, by what came of it', 'result');
  const seconds = new Histogram({
    name: 'homeostat_controller_publish_duration_seconds',
    help: 'From a commit being seen to its assignments being served',
    buckets: [0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 10],
    registers,
  });
  const refusals = counter(
    'requests_refused_total',
    'Requests that were answered with an error, by its code',
    'code',
  );
  const enrollments = counter('enrollments_total', 'Enrolments by result', 'result');
  const audits = counter('audit_total', 'Entries written to the audit log');
  const diagnostics = gauge('manifest_diagnostics', 'What is wrong with the newest commit', 'severity');
  const refusedHead = gauge(
    'manifest_refused',
    '1 while the newest commit is refused and the last good one is served',
  );
  const sourceUp = gauge('source_up', '1 while git can be read');
  const storeUp = gauge('store_up', '1 while the store can be written');
  const waiting = gauge('waiting_agents', 'Long polls that wait');
  const assigned = gauge('assigned_hosts', 'Hosts in the commit that is served');
  const lastSeen = gauge('host_last_seen_timestamp_seconds', 'When the host last sent its status', 'host');
  const condition = gauge(
    'host_condition',
    '1 for the state that a host is in, 0 for the others',
    'host',
    'condition',
  );
  const observing = gauge(
    'host_observing',
    '1 for a host on which the agent only looks, 0 for one that it enforces',
    'host',
  );
  const resources = gauge('host_resources', 'Resources that the host reports, by state', 'host', 'state');
  const agentCondition = gauge(
    'host_agent_condition',
    '1 for a condition of the agent itself that is True, 0 for one that is not',
    'host',
    'type',
  );
  const sequence = gauge(
    'host_sequence',
    'Sequence that is assigned, and those that the agent reports',
    'host',
    'state',
  );
  gauge('build_info', 'Version of the controller', 'version').set({ version }, 1);

  for (const result of PUBLISH_RESULTS) publishes.inc({ result }, 0);
  for (const code of Object.keys(ERRORS)) refusals.inc({ code }, 0);
  enrollments.inc({ result: 'enrolled' }, 0);
  audits.inc(0);
  diagnostics.set({ severity: 'error' }, 0);
  diagnostics.set({ severity: 'warning' }, 0);

  return {
    registry,
    published(result, duration) {
      publishes.inc({ result });
      if (result === 'published') seconds.observe(duration);
    },
    refused: (code) => refusals.inc({ code }),
    enrolled: (result) => enrollments.inc({ result }),
    audited: (entries) => audits.inc(entries),
    refresh(fleet, storeProblem) {
      const found = [...(fleet.compilation?.diagnostics ?? []), ...fleet.unknownKinds];
      const errors = found.filter((d) => d.severity === 'error').length;
      diagnostics.set({ severity: 'error' }, errors);
      diagnostics.set({ severity: 'warning' }, found.length - errors);
      refusedHead.set(errors > 0 || fleet.defect !== undefined ? 1 : 0);
      sourceUp.set(fleet.sourceProblem === undefined ? 1 : 0);
      storeUp.set(storeProblem === undefined ? 1 : 0);
      waiting.set(fleet.waiters.count);
      assigned.set(fleet.assignments.size);
      for (const one of [lastSeen, condition, observing, sequence, resources, agentCondition]) one.reset();
      for (const view of fleet.view().hosts) {
        const host = view.name;
        for (const state of HOST_STATES)
          condition.set({ host, condition: state }, view.state === state ? 1 : 0);
        const summary = fleet.statuses.summary(host);
        lastSeen.set({ host }, view.lastSeen === '' ? 0 : Date.parse(view.lastSeen) / 1000);
        // What a host that left git said last is nobody's to mend: no alert rests on it.
        if (fleet.assignments.get(host) === undefined) continue;
        observing.set({ host }, (summary?.report.mode ?? view.mode) === 'observe' ? 1 : 0);
        for (const [state, n] of Object.entries(view.resources)) resources.set({ host, state }, n);
        for (const type of AGENT_CONDITIONS) {
          const status = summary?.report.conditions[type];
          if (status !== undefined) agentCondition.set({ host, type }, status === 'True' ? 1 : 0);
        }
        for (const state of SEQUENCES) {
          sequence.set(
            { host, state },
            state === 'assigned' ? view.desired.sequence : (summary?.sequence[state] ?? 0),
          );
        }
      }
    },
  };
}
