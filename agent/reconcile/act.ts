// The one place that acts on what a pass came to: conditions, log, metrics, and when the key comes back.
import { clip } from '../../api/limits.ts';
import type { PassResult, ReconcilerDeps, Report } from './loop.ts';
import type { ResourceState } from './world.ts';

export function act(deps: ReconcilerDeps, state: ResourceState, result: PassResult, seconds: number): void {
  const { observer, queue } = deps;
  const { key } = state;
  for (const type of result.clear ?? []) state.conditions.clear(type);
  if (result.detected !== undefined) observer.driftDetected(key, result.detected);
  if (result.healed !== undefined) {
    state.healedTotal += 1;
    observer.healed(key, result.healed.seconds);
    observer.transition(key, 'Normal', 'Healed', shown(deps, result.healed.what));
  }
  if (result.rolledBack !== undefined) observer.rolledBack(key, result.rolledBack);
  let wakesDependents = state.wroteNew || result.isFirst === true;
  state.wroteNew = false;
  for (const report of result.reports ?? []) {
    if (set(deps, state, report) && report.status === 'True') wakesDependents = true;
  }
  if (result.event !== undefined) {
    const { type, reason, message } = result.event;
    observer.transition(key, type, reason, shown(deps, message));
  }
  if (wakesDependents) for (const ref of deps.world.dependentsOf(key)) queue.add(ref, 'dependency');
  for (const { key: other, cause } of result.wake ?? []) queue.add(other, cause);
  for (const other of state.relocated.splice(0)) queue.add(other, 'bundle');
  observer.passEnded(key, result.outcome, seconds);
  comeBack(deps, key, result);
  observer.changed(key);
}

function comeBack({ queue }: ReconcilerDeps, key: string, { requeueAfterMs }: PassResult): void {
  if (requeueAfterMs === 'backoff') {
    queue.addRateLimited(key);
    return;
  }
  queue.forget(key);
  if (requeueAfterMs !== undefined) queue.addAfter(key, 'retry', requeueAfterMs);
}

/** @returns whether it was a transition */
function set(deps: ReconcilerDeps, state: ResourceState, report: Report): boolean {
  const { observer, ports } = deps;
  const { type, status, reason } = report;
  // Between ready states only another desired state is news: InSync after Healed is none.
  const isNews = reason === 'Applied' || !state.conditions.isTrue('Ready');
  if (type === 'Ready' && status === 'True' && !isNews) return false;
  const message = shown(deps, report.message);
  const isTransition = state.conditions.set(type, status, reason, message, ports.clock.now());
  if (type === 'Ready' && (isTransition || status === 'True')) {
    observer.transition(state.key, status === 'True' ? 'Normal' : 'Warning', reason, message);
  }
  return isTransition;
}

/** Without secrets, and no longer than a status may hold. */
function shown({ secrets }: ReconcilerDeps, text: string): string {
  return clip(secrets.hide(text));
}
