// What a unit's state means, and what is to be done so that it runs what is wanted. Pure.
import * as z from 'zod';
import type { Change, Desired, Gate } from '../kind.ts';
import type { FileState, UnitJob, UnitState } from '../ports.ts';
import type { ServiceSpec } from './schema.ts';
import { ownPaths, unitDigest } from './unit-files.ts';

/** What the last run was started with; kept by the agent. */
export const Memory = z.object({
  /** '' when none ran. */
  invocationID: z.string(),
  /** By reference, the digest of each of its inputs. */
  inputs: z.record(z.string(), z.string()),
  unitDigest: z.string(),
  /** The desired state that was put into force; release 0.1 wrote none. */
  digest: z.string().optional(),
});
export type Memory = z.infer<typeof Memory>;
export type Service = Desired<ServiceSpec, Memory>;

export interface Observed {
  readonly unit: UnitState;
  /** Our own, in the order of `wantedFiles`. */
  readonly files: readonly FileState[];
  /** Of earlier documents of ours, by path. */
  readonly leftovers: readonly string[];
  /** Other people's, by path. */
  readonly foreign: readonly string[];
  /** Units that are enabled instead of this one, where it can't be enabled itself. */
  readonly also: readonly string[];
  /** Of a supervised unit, as JSON text. */
  readonly definition: string | undefined;
  readonly nowMs: number;
}

/** A start that takes longer is not refused: the unit's own TimeoutStartSec ends it, and a oneshot has none. */
export const GATE: Gate = { withinMs: 90_000, settleMs: 5_000 };

export function wantsRunning({ state }: ServiceSpec): boolean {
  return state !== 'stopped';
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

/** Of an invocation that systemd forgot: of a oneshot that is over and that no other unit refers to. */
const FORGOTTEN = 'forgotten';

/** A job that runs once and does not run now; whether it ever did is another question. */
function isOver({ serviceType, activeState, result }: UnitState): boolean {
  return serviceType === 'oneshot' && activeState === 'inactive' && result === 'success';
}

/** A job that ran once and is over is as running as it gets. */
export function isDone(unit: UnitState, memory: Memory | undefined): boolean {
  return isOver(unit) && (unit.invocationID || memory?.invocationID || '') !== '';
}

export function describeState({ activeState, subState, result }: UnitState): string {
  return `${activeState} (${subState}${result === 'success' || result === '' ? '' : `, ${result}`})`;
}

/** Whether this desired state was put into force here before: confirmed, or on trial. */
export function isInForce(d: Service): boolean {
  return d.heal || d.memory?.digest === d.digest;
}

/** systemd's names for units that no link can start at boot, or that are only another unit's name. */
const CANNOT_BE_ENABLED = ['static', 'indirect', 'generated', 'transient'];

/** Why systemd can't have the enablement that is wanted, and what would be right. */
export function wrongEnablement(
  spec: ServiceSpec,
  unit: UnitState,
  also: readonly string[],
): string | undefined {
  const { unit: name, enabled } = spec;
  const state = unit.unitFileState;
  if (enabled === false && state === 'alias') {
    return `${name} is another name of ${unit.fragmentPath}: name that unit, or leave enabled out`;
  }
  if (enabled !== true || !CANNOT_BE_ENABLED.includes(state)) return undefined;
  if (state !== 'indirect') {
    return `${name} is ${state}: it has no [Install] section with WantedBy=, and other units start it; give it one in a drop-in, or leave enabled out`;
  }
  const others = also.length === 0 ? 'the unit that it names with Also=' : also.join(', ');
  return `${name} is indirect: its [Install] section only names other units; leave enabled out here, and say enabled: true in a Service for ${others}`;
}

interface Obstacle {
  readonly reason: 'BadUnit' | 'UnitNotFound' | 'CannotBeEnabled';
  readonly message: string;
  /** Whether the unit can run all the same. */
  readonly canRun: boolean;
}

/** What keeps systemd from having what is wanted, whatever is applied. */
export function obstacle({ spec }: Service, { unit, also }: Observed): Obstacle | undefined {
  const { unit: name } = spec;
  if (unit.loadState === 'bad-setting' || unit.loadState === 'error') {
    return { reason: 'BadUnit', message: `systemd can't load ${name}: ${unit.loadError}`, canRun: false };
  }
  if (unit.loadState === 'not-found' && spec.unitFile === undefined) {
    return { reason: 'UnitNotFound', message: notFound(name), canRun: false };
  }
  const wrong = wrongEnablement(spec, unit, also);
  return wrong === undefined ? undefined : { reason: 'CannotBeEnabled', message: wrong, canRun: true };
}

export function notFound(unit: string): string {
  return `there is no unit ${unit}; install its package, or give unitFile`;
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
export function dueJob(d: Service, { unit, files, nowMs }: Observed): DueJob | undefined {
  const from = describeState(unit);
  if (unit.activeState === 'deactivating') return undefined; // what it becomes is looked at again
  if (!wantsRunning(d.spec)) {
    return isStopped(unit) ? undefined : { job: 'stop', change: { what: 'state', from, to: 'stopped' } };
  }
  const stale = staleness(d, unit, files);
  if (isStopped(unit) && !isDone(unit, d.memory)) {
    if (stale === undefined && restUntilMs(d, unit, nowMs) !== undefined) return undefined;
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
export function restUntilMs(d: Service, unit: UnitState, nowMs: number): number | undefined {
  if (!isInForce(d)) return undefined;
  const ended = unit.endedItself || (unit.activeState === 'failed' && (!d.heal || unit.livedMs === 0));
  const isShort = !d.heal || unit.serviceType === 'oneshot' || (unit.livedMs ?? 0) < SHORT_LIFE_MS;
  let until = 0;
  if (unit.skippedAtMs > 0) until = unit.skippedAtMs + REST_MS;
  else if (unit.result === 'start-limit-hit') until = unit.inactiveSinceMs + GIVEN_UP_REST_MS;
  else if (ended && isShort) until = unit.inactiveSinceMs + (hasGivenUp(unit) ? GIVEN_UP_REST_MS : REST_MS);
  // The clock may have been set back.
  return nowMs < until && until <= nowMs + GIVEN_UP_REST_MS ? until : undefined;
}

/** Whether memory knows of this very invocation, so that it is known what it was started with. */
export function isKnown({ memory }: Service, unit: UnitState): boolean {
  if (memory === undefined || memory.invocationID === '') return false;
  return memory.invocationID === unit.invocationID || isDone(unit, memory);
}

/**
 * Why what runs, or ran last, must be started anew, if so: what it was started with is not what is there now. Known
 * exactly for the invocation that memory has. For any other (a restart by hand, by systemd, an adopted unit) the
 * times say it; what nobody ever wrote can't be newer than the process.
 * @param files the unit's own files.
 */
export function staleness(d: Service, unit: UnitState, files: readonly FileState[]): string | undefined {
  const known = isKnown(d, unit);
  const beganMs = unit.startedAtMs || unit.inactiveSinceMs - (unit.livedMs ?? 0);
  if (!known && beganMs <= 0) return undefined;
  for (const ref of d.spec.restartOn ?? []) {
    const input = d.inputs[ref];
    if (input === undefined) continue; // never applied yet
    const startedWith = known ? d.memory?.inputs[ref] : undefined;
    const outdated =
      startedWith === undefined
        ? input.appliedAtMs > 0 && beganMs > 0 && beganMs < input.appliedAtMs
        : startedWith !== input.digest;
    if (outdated) return `started before ${ref} changed`;
  }
  const changed = known
    ? d.memory?.unitDigest !== unitDigest(d)
    : files.some((file) => file.type === 'file' && (file.mtimeMs ?? 0) > beganMs);
  return changed ? 'started before the unit changed' : undefined;
}

/** Whether another state of the unit's files was put into force last, whoever started what runs now. */
export function isAnotherUnit(d: Service): boolean {
  return !d.heal && d.memory !== undefined && d.memory.unitDigest !== unitDigest(d);
}

/** What to remember of a unit that was just brought to where it should be. */
export function memoryOf(d: Service, unit: UnitState): Memory {
  const inputs = Object.entries(d.inputs).map(([ref, { digest }]) => [ref, digest] as const);
  // One that is still being stopped was started with something else.
  const isOld = unit.activeState === 'deactivating';
  return {
    invocationID: isOld ? '' : unit.invocationID || (isOver(unit) ? FORGOTTEN : ''),
    inputs: Object.fromEntries(inputs),
    unitDigest: unitDigest(d),
    digest: d.digest,
  };
}
