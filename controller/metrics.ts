// The controller's metrics, pulled by Prometheus: an alert must not depend on the host that just broke. Series of
// a host appear with it and go with it; everything else is there, at zero, from the start.
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Fleet } from './fleet/fleet.ts';
import { PUBLISH_RESULTS, type PublishResult } from './fleet/publisher.ts';
import { hostMetrics } from './host-metrics.ts';
import { ERRORS, type ErrorCode } from './http/errors.ts';

export interface ControllerMetrics {
  readonly registry: Registry;
  published(result: PublishResult, seconds: number): void;
  refused(code: ErrorCode): void;
  enrolled(result: 'enrolled' | ErrorCode): void;
  /** @param entries how many of them are in the log now. */
  audited(entries: number): void;
  /** The longest that the event loop stood still in some time, seconds. */
  loopDelayed(longest: number): void;
  /** Everything as portions of text, made in slices; who asks meanwhile gets the same. */
  exposition(fleet: Fleet, storeProblem: string | undefined): Promise<readonly string[]>;
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
  const loopDelay = gauge(
    'event_loop_delay_max_seconds',
    'The longest that the event loop stood still in the last ten seconds',
  );
  const loopDelays = new Histogram({
    name: 'homeostat_controller_event_loop_delay_seconds',
    help: 'The longest that the event loop stood still in each ten seconds',
    buckets: [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
    registers,
  });
  gauge('build_info', 'Version of the controller', 'version').set({ version }, 1);

  for (const result of PUBLISH_RESULTS) publishes.inc({ result }, 0);
  for (const code of Object.keys(ERRORS)) refusals.inc({ code }, 0);
  enrollments.inc({ result: 'enrolled' }, 0);
  audits.inc(0);
  diagnostics.set({ severity: 'error' }, 0);
  diagnostics.set({ severity: 'warning' }, 0);

  let writing: Promise<readonly string[]> | undefined;
  return {
    registry,
    loopDelayed(longest) {
      loopDelay.set(longest);
      loopDelays.observe(longest);
    },
    exposition(fleet, storeProblem) {
      writing ??= write(fleet, storeProblem).finally(() => {
        writing = undefined;
      });
      return writing;
    },
    published(result, duration) {
      publishes.inc({ result });
      if (result === 'published') seconds.observe(duration);
    },
    refused: (code) => refusals.inc({ code }),
    enrolled: (result) => enrollments.inc({ result }),
    audited: (entries) => audits.inc(entries),
  };

  async function write(fleet: Fleet, storeProblem: string | undefined): Promise<readonly string[]> {
    refresh(fleet, storeProblem);
    const parts = [await registry.metrics()];
    for await (const part of hostMetrics(fleet)) parts.push(part);
    return parts;
  }

  function refresh(fleet: Fleet, storeProblem: string | undefined): void {
    const found = [...(fleet.compilation?.diagnostics ?? []), ...fleet.unknownKinds];
    const errors = found.filter((d) => d.severity === 'error').length;
    diagnostics.set({ severity: 'error' }, errors);
    diagnostics.set({ severity: 'warning' }, found.length - errors);
    refusedHead.set(errors > 0 || fleet.defect !== undefined ? 1 : 0);
    sourceUp.set(fleet.sourceProblem === undefined ? 1 : 0);
    storeUp.set(storeProblem === undefined ? 1 : 0);
    waiting.set(fleet.waiters.count);
    assigned.set(fleet.assignments.size);
  }
}
