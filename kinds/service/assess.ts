// Whether a unit works, once nothing differs. Pure.
import type { Trial, Verdict } from '../kind.ts';
import type { UnitState } from '../ports.ts';
import { no, unknown, YES } from '../shared/verdicts.ts';
import { isDone, type Service } from './memory.ts';
import type { Observed } from './observe.ts';
import { obstacle } from './obstacle.ts';
import type { ServiceSpec } from './schema.ts';
import {
  describeState,
  GATE,
  isRestarting,
  isRunning,
  isStopped,
  restUntilMs,
  wantsRunning,
} from './state.ts';
import type { Before } from './undo.ts';

export function assess(d: Service, observed: Observed, trial?: Trial<Before>): Verdict {
  const { unit } = observed;
  const { unit: name } = d.spec;
  const hindered = obstacle(d, observed);
  if (hindered !== undefined) {
    const { reason, message, canRun } = hindered;
    // One that runs as wanted stays so: a rollback would end that, and enable nothing.
    return canRun ? { verdict: 'No', reason, evidence: message, keep: true } : no(reason, message);
  }
  if (d.spec.state === 'unmanaged') return YES;
  if (!wantsRunning(d.spec))
    return isStopped(unit) ? YES : unknown('Stopping', `${name} is ${describeState(unit)}`);
  if (isDone(unit, d.memory)) return YES;
  const held = heldStill(name, unit);
  if (held !== undefined) return trial === undefined ? no('Frozen', held) : unknown('Frozen', held);
  if (isRunning(unit)) return running(d.spec, observed, trial);
  if (isRestarting(unit) || isStopped(unit)) return ended(d, observed, trial);
  const reason = unit.activeState === 'deactivating' ? 'Stopping' : 'Activating';
  return unknown(reason, `${name} is ${describeState(unit)}`);
}

/** By whom and until when its processes do nothing, though it counts as running. */
function heldStill(name: string, { freezer, mainPID }: UnitState): string | undefined {
  if (freezer === 'frozen' || freezer === 'freezing')
    return `${name} is ${freezer}: its processes do nothing until systemctl thaw ${name}`;
  return freezer === 'stopped'
    ? `the main process of ${name} was stopped by a signal, and does nothing until kill -CONT ${mainPID}`
    : undefined;
}

function running(spec: ServiceSpec, { unit, nowMs }: Observed, trial: Trial<Before> | undefined): Verdict {
  const ageMs = Math.max(0, nowMs - unit.startedAtMs);
  if (unit.restarts === 0 || ageMs >= GATE.settleMs) {
    return { verdict: 'Yes', run: { id: unit.invocationID, ageMs } };
  }
  const times = unit.restarts === 1 ? 'once' : `${unit.restarts} times`;
  const evidence = `${spec.unit} ended by itself and was restarted ${times}, the last time ${seconds(ageMs)} ago; ${hint(spec)}`;
  // Within the trial: what it began with has ended since.
  if (trial !== undefined && ageMs <= trial.elapsedMs) return blame(trial, 'CrashLoop', evidence);
  return unknown('Restarting', evidence, GATE.settleMs - ageMs);
}

/** One that does not run and that nothing is done about for now. */
function ended(d: Service, observed: Observed, trial: Trial<Before> | undefined): Verdict {
  const { spec } = d;
  const { unit, nowMs } = observed;
  const nextMs = isRestarting(unit) ? unit.restartsAtMs : restUntilMs(d, observed);
  const againMs = nextMs ? Math.max(0, nextMs - nowMs) : undefined;
  const who = isRestarting(unit) ? 'its manager starts it again' : 'it is started again';
  const next = againMs === undefined ? '' : `; ${who} in ${seconds(againMs)}`;
  const evidence = `${howItEnded(spec.unit, unit)}${next}; ${hint(spec)}`;
  if (unit.skippedAtMs > 0) return blame(trial, 'StartSkipped', evidence, againMs);
  if (isRestarting(unit) && trial === undefined) return no('Restarting', evidence, againMs);
  return blame(trial, 'CrashLoop', evidence, againMs);
}

function howItEnded(name: string, unit: UnitState): string {
  if (unit.skippedAtMs > 0) {
    return `${name} was not started, since a Condition or Assert of it does not hold (systemctl status ${name} says which)`;
  }
  const by = unit.endedItself ? 'ended by itself' : `is ${describeState(unit)}`;
  const after = unit.livedMs === undefined ? '' : ` ${seconds(unit.livedMs)} after its start`;
  const result = unit.endedItself ? ` (${unit.result})` : '';
  const restarts = unit.restarts === 0 ? '' : `, and was restarted ${unit.restarts} times before`;
  return `${name} ${by}${after}${result}${restarts}`;
}

/** What did not run before either is not blamed on the change. */
function blame(
  trial: Trial<Before> | undefined,
  reason: string,
  evidence: string,
  againMs?: number,
): Verdict {
  return trial?.before.failing === true
    ? unknown(reason, `${evidence}; it did not run before this change either`, againMs)
    : no(reason, evidence, againMs);
}

function hint({ unit, manager }: ServiceSpec): string {
  return manager === 'supervised'
    ? `see supervised/${unit}.log in the state directory`
    : `see journalctl -u ${unit}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}
