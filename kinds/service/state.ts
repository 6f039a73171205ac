// What a unit's state means, and what is to be done so that it runs what is wanted. Pure.
import type { Change, Gate } from '../kind.ts';
import type { UnitJob, UnitState } from '../ports.ts';
import { isDone, isInForce, type Service, staleness } from './memory.ts';
import type { Observed } from './observe.ts';
import { obstacle } from './obstacle.ts';
import type { ServiceSpec } from './schema.ts';
import { ownPaths } from './unit-files.ts';

/** A start that takes longer is not refused: the unit's own TimeoutStartSec ends it, and a oneshot has none. */
export const GATE: Gate = { withinMs: 90_000, settleMs: 5_000 };

export function wantsRunning({ state = 'running' }: ServiceSpec): boolean {
  return state === 'running';
}

/** Waiting to be restarted is not running; reloading is. */
export function isRunning({ activeState }: UnitState): boolean {
  return activeState === 'active' || activeState === 'reloading';
}

export function isStopped({ activeState }: UnitState): boolean {
  return activeState === 'inactive' || activeState === 'failed';
}

/** Its manager starts it again, by itself. */
export function isRestarting({ subState }: UnitState): boolean {
  return subState.startsWith('auto-restart');
}

export function isMasked({ loadState, unitFileState }: UnitState): boolean {
  return loadState === 'masked' || unitFileState.startsWith('masked');
}

export function describeState({ activeState, subState, result }: UnitState): string {
  return `${activeState} (${subState}${result === 'success' || result === '' ? '' : `, ${result}`})`;
}

/** Differences in mask, enablement and activity. What an obstacle makes impossible is tried once, and then assessed. */
export function stateChanges(d: Service, observed: Observed): Change[] {
  const { spec } = d;
  const { unit } = observed;
  const changes: Change[] = [];
  const masked = spec.masked ?? false;
  if (isMasked(unit) !== masked) {
    const word = (is: boolean): string => (is ? 'masked' : 'not masked');
    changes.push({ what: 'mask', from: word(!masked), to: word(masked) });
  }
  const hindered = isInForce(d) ? obstacle(d, observed) : undefined;
  if (!isLoaded(spec, unit)) changes.push({ what: 'loaded unit', from: 'outdated', to: 'as on disk' });
  if (hindered?.canRun === false) return changes;
  const isRight = spec.enabled === undefined || isEnabledAs(spec.enabled, unit);
  if (!masked && !isRight && hindered?.reason !== 'CannotBeEnabled') {
    const to = spec.enabled ? 'enabled' : 'disabled';
    changes.push({ what: 'enabled', from: unit.unitFileState || 'no unit file', to });
  }
  const due = dueJob(d, observed);
  if (due !== undefined) changes.push(due.change);
  return changes;
}

/**
 * Whether systemd has loaded what is on disk. It does not notice by itself that a directory of drop-ins is new
 * (systemd 252), so our own files are looked for among those that it has loaded.
 */
export function isLoaded(spec: ServiceSpec, unit: UnitState): boolean {
  if (unit.needDaemonReload) return false;
  if (isMasked(unit) || (unit.loadState === 'not-found' && spec.unitFile === undefined)) return true;
  const loaded = [unit.fragmentPath, ...unit.dropInPaths];
  return ownPaths(spec).every((own) => loaded.includes(own));
}

/** As systemctl means it; an enablement in /run is gone after the next boot, and a mask hides what is below it. */
export function isEnabledAs(wanted: boolean, { unitFileState }: UnitState): boolean {
  const isEnabled = unitFileState === 'enabled' || unitFileState === 'alias';
  return wanted ? isEnabled : !isEnabled && unitFileState !== 'enabled-runtime';
}

export interface DueJob {
  readonly job: UnitJob;
  readonly change: Change;
}

/** The job that gets the unit to run what is wanted; undefined while nothing is to be done, or its manager does it. */
export function dueJob(d: Service, observed: Observed): DueJob | undefined {
  const { unit, files } = observed;
  const from = describeState(unit);
  if (d.spec.state === 'unmanaged') return undefined;
  if (unit.activeState === 'deactivating') return undefined; // what it becomes is looked at again
  if (!wantsRunning(d.spec)) {
    return isStopped(unit) ? undefined : { job: 'stop', change: { what: 'state', from, to: 'stopped' } };
  }
  const stale = staleness(d, unit, files);
  if (isStopped(unit) && !isDone(unit, d.memory)) {
    if (stale === undefined && restUntilMs(d, observed) !== undefined) return undefined;
    return { job: 'start', change: { what: 'state', from, to: 'running' } };
  }
  const why = stale ?? (isRestarting(unit) && !isInForce(d) ? from : undefined);
  if (why === undefined) return undefined;
  return {
    job: isStopped(unit) ? 'start' : 'restart',
    change: { what: 'process', from: why, to: 'restarted' },
  };
}

const SHORT_LIFE_MS = 60_000;
const REST_MS = 60_000;
/** After systemd gave up: longer than its own interval for counting starts is, as a rule. */
const GIVEN_UP_REST_MS = 300_000;

/** Its manager restarted it, and does so no longer: its limit was reached, which its result need not say. */
function hasGivenUp({ activeState, restarts }: UnitState): boolean {
  return activeState === 'failed' && restarts > 0;
}

/**
 * Until when a unit that ended by itself is left alone, unix milliseconds; undefined when it is to be started now, as
 * one is that was stopped, or that lived for long. The host tells it, so that a restart of the agent changes nothing.
 */
export function restUntilMs(
  d: Service,
  { unit, nowMs, changedAtMs }: Pick<Observed, 'unit' | 'nowMs' | 'changedAtMs'>,
): number | undefined {
  // What was changed since may have mended it.
  if (!isInForce(d) || changedAtMs > Math.max(unit.inactiveSinceMs, unit.skippedAtMs)) return undefined;
  const ended = unit.endedItself || (unit.activeState === 'failed' && (!d.heal || unit.livedMs === 0));
  const isShort = !d.heal || unit.serviceType === 'oneshot' || (unit.livedMs ?? 0) < SHORT_LIFE_MS;
  let until = 0;
  if (unit.skippedAtMs > 0) until = unit.skippedAtMs + REST_MS;
  else if (unit.result === 'start-limit-hit') until = unit.inactiveSinceMs + GIVEN_UP_REST_MS;
  else if (ended && isShort) until = unit.inactiveSinceMs + (hasGivenUp(unit) ? GIVEN_UP_REST_MS : REST_MS);
  // The clock may have been set back.
  return nowMs < until && until <= nowMs + GIVEN_UP_REST_MS ? until : undefined;
}
