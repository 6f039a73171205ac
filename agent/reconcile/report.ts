// How a pass becomes conditions. Only transitions are told to the rest of the agent.
import type { Resource } from '../../api/bundle.ts';
import type { Change, Verdict } from '../../kinds/kind.ts';
import type { Outcome, ReconcilerDeps } from './loop.ts';
import type { Target } from './targets.ts';
import type { ResourceState } from './world.ts';

const CONTENTION_AGAIN_MS = 30_000;

export class Report {
  readonly #deps: ReconcilerDeps;

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps;
  }

  /** Sets a condition; a transition is told to the observer. @returns whether it was one */
  set(
    state: ResourceState,
    type: string,
    status: 'True' | 'False' | 'Unknown',
    reason: string,
    text: string,
  ): boolean {
    const { observer, ports, secrets } = this.#deps;
    const message = secrets.hide(text);
    const isTransition = state.conditions.set(type, status, reason, message, ports.clock.now());
    if (isTransition && type === 'Ready') {
      observer.transition(state.key, status === 'True' ? 'Normal' : 'Warning', reason, message);
    }
    return isTransition;
  }

  wakeDependents(key: string): void {
    for (const dependent of this.#deps.world.dependentsOf(key))
      this.#deps.observer.wake(dependent, 'dependency');
  }

  ready(state: ResourceState, target: Target, reason: string): void {
    if (target.standIn) return;
    this.set(state, 'Applied', 'True', 'Applied', 'written and in force');
    const wasReady = state.conditions.isTrue('Ready');
    // Between ready states only another desired state is news: InSync after Healed is none.
    if (wasReady && reason !== 'Applied') return;
    const words = 'as the manifest says';
    const isTold = this.set(state, 'Ready', 'True', reason, words);
    if (!isTold) this.#deps.observer.transition(state.key, 'Normal', reason, words);
    if (!wasReady) this.wakeDependents(state.key);
  }

  inSync(state: ResourceState, target: Target): Outcome {
    const { observer, ports } = this.#deps;
    if (state.budget.quiet(ports.clock.monotonic())) {
      state.conditions.clear('Contended');
      observer.transition(state.key, 'Normal', 'ContentionOver', 'nothing else changes it any more');
    } else if (state.budget.contended) {
      observer.requeue(state.key, 'resync', CONTENTION_AGAIN_MS);
    }
    this.ready(state, target, 'InSync');
    return 'in_sync';
  }

  /** As it should be, and not well; or nobody can tell. Its watch or the resync asks again. */
  judged(state: ResourceState, target: Target, verdict: Exclude<Verdict, { verdict: 'Yes' }>): Outcome {
    const isNo = verdict.verdict === 'No';
    if (!target.standIn)
      this.set(state, 'Ready', isNo ? 'False' : 'Unknown', verdict.reason, verdict.evidence);
    return isNo ? 'degraded' : 'waiting';
  }

  drifted(
    state: ResourceState,
    resource: Resource,
    changes: readonly Change[],
    by: 'watch' | 'resync',
  ): Outcome {
    const why = resource.drift === 'warn' ? 'the manifest says drift: warn' : 'the host is in mode observe';
    if (changes.length === 0) {
      this.set(state, 'Applied', 'True', 'Observed', 'as the manifest says');
      this.set(state, 'Ready', 'True', 'InSync', 'as the manifest says');
      return 'in_sync';
    }
    if (state.conditions.get('Ready')?.reason !== 'Drifted') this.#deps.observer.driftDetected(state.key, by);
    this.set(state, 'Applied', 'False', 'Drifted', why);
    this.set(state, 'Ready', 'False', 'Drifted', `${state.drift.join('; ')} (nothing is touched: ${why})`);
    return 'drifted';
  }

  contended(state: ResourceState, waitMs: number): Outcome {
    const seconds = Math.ceil(waitMs / 1000);
    const message = `something else keeps changing it: ${state.drift.join('; ')}; healing is slowed down, next in ${seconds} s`;
    this.set(state, 'Contended', 'True', 'Contended', message);
    this.set(state, 'Ready', 'False', 'Contended', message);
    this.#deps.observer.requeue(state.key, 'retry', waitMs);
    return 'waiting';
  }
}
