// What a unit's state means, and how it differs from what is wanted. Pure.
import type { Json } from '../../api/json.ts';
import type { Change, Desired } from '../kind.ts';
import type { FileState, UnitState } from '../ports.ts';
import type { ServiceSpec } from './schema.ts';
import { ownPaths, unitDigest } from './unit-files.ts';

/** What the running process was started with; kept by the agent. A type, so that it is Json. */
export type Memory = {
  /** '' when none ran. */
  readonly invocationID: string;
  /** By reference, the digest of each of its inputs. */
  readonly inputs: { readonly [ref: string]: string };
  readonly unitDigest: string;
};

/** Waiting to be restarted is not running; reloading is. */
export function isRunning({ activeState }: UnitState): boolean {
  return activeState === 'active' || activeState === 'reloading';
}

/** Of an invocation that systemd forgot: of a oneshot that is over and that no other unit refers to. */
const FORGOTTEN = 'forgotten';

/** A job that runs once and does not run now; whether it ever did is another question. */
export function isOver({ serviceType, activeState, result }: UnitState): boolean {
  return serviceType === 'oneshot' && activeState === 'inactive' && result === 'success';
}

/** A job that ran once and is over is as running as it gets. */
export function isDone(unit: UnitState, memory: Memory | undefined): boolean {
  return isOver(unit) && (unit.invocationID || memory?.invocationID || '') !== '';
}

export function memoryIn(d: Desired<ServiceSpec>): Memory | undefined {
  return d.memory as Memory | undefined;
}

export function isStopped({ activeState }: UnitState): boolean {
  return activeState === 'inactive' || activeState === 'failed';
}

export function isMasked({ loadState, unitFileState }: UnitState): boolean {
  return loadState === 'masked' || unitFileState.startsWith('masked');
}

export function describeState({ activeState, subState, result }: UnitState): string {
  return `${activeState} (${subState}${result === 'success' || result === '' ? '' : `, ${result}`})`;
}

/** Differences in mask, enablement and activity. */
export function stateChanges(d: Desired<ServiceSpec>, unit: UnitState): Change[] {
  const { spec } = d;
  const changes: Change[] = [];
  const masked = spec.masked ?? false;
  if (isMasked(unit) !== masked) {
    const word = (is: boolean): string => (is ? 'masked' : 'not masked');
    changes.push({ what: 'mask', from: word(!masked), to: word(masked) });
  }
  if (!isLoaded(spec, unit)) changes.push({ what: 'loaded unit', from: 'outdated', to: 'as on disk' });
  if (!masked && spec.enabled !== undefined && isEnabled(unit) !== spec.enabled) {
    const to = spec.enabled ? 'enabled' : 'disabled';
    changes.push({ what: 'enabled', from: unit.unitFileState || 'no unit file', to });
  }
  if ((spec.state ?? 'running') === 'stopped') {
    if (!isStopped(unit)) changes.push({ what: 'state', from: describeState(unit), to: 'stopped' });
  } else if (!isRunning(unit) && !isDone(unit, memoryIn(d))) {
    changes.push({ what: 'state', from: describeState(unit), to: 'running' });
  }
  return changes;
}

/**
 * Whether systemd has loaded what is on disk. It does not notice by itself that a directory of drop-ins is new
 * (systemd 252), so our own files are looked for among those that it has loaded.
 */
export function isLoaded(spec: ServiceSpec, unit: UnitState): boolean {
  const loaded = [unit.fragmentPath, ...unit.dropInPaths];
  return !unit.needDaemonReload && (isMasked(unit) || ownPaths(spec).every((path) => loaded.includes(path)));
}

/** An enablement in /run is gone after the next boot; a mask hides what is below it. */
export function isEnabled({ unitFileState }: UnitState): boolean {
  return unitFileState === 'enabled' || unitFileState === 'alias';
}

/** Whether memory tells of this very invocation, so that it is known what it was started with. */
export function isKnown(d: Desired<ServiceSpec>, unit: UnitState): boolean {
  const memory = memoryIn(d);
  if (memory === undefined || memory.invocationID === '') return false;
  return memory.invocationID === unit.invocationID || isDone(unit, memory);
}

/**
 * Why the running process must be replaced, if so: what it was started with is not what is there now. Known
 * exactly for the invocation that memory tells of. For any other (a restart by hand, by systemd, an adopted unit)
 * the times tell; what nobody ever wrote can't be newer than the process.
 * @param files the unit's own files.
 */
export function staleness(
  d: Desired<ServiceSpec>,
  unit: UnitState,
  files: readonly FileState[],
): string | undefined {
  const memory = memoryIn(d);
  if (!isRunning(unit) && !isDone(unit, memory)) return undefined;
  const known = isKnown(d, unit);
  for (const ref of d.spec.restartOn ?? []) {
    const input = d.inputs[ref];
    if (input === undefined) continue; // never applied yet
    const startedWith = known ? memory?.inputs[ref] : undefined;
    const outdated =
      startedWith === undefined
        ? input.appliedAtMs > 0 && unit.startedAtMs > 0 && unit.startedAtMs < input.appliedAtMs
        : startedWith !== input.digest;
    if (outdated) return `started before ${ref} changed`;
  }
  const changed = known
    ? memory?.unitDigest !== unitDigest(d)
    : files.some(
        (file) => unit.startedAtMs > 0 && file.type === 'file' && (file.mtimeMs ?? 0) > unit.startedAtMs,
      );
  return changed ? 'started before the unit changed' : undefined;
}

/** What to remember of a unit that was just brought to where it should be. */
export function memoryOf(d: Desired<ServiceSpec>, unit: UnitState): Json {
  const inputs = Object.entries(d.inputs).map(([ref, { digest }]) => [ref, digest] as const);
  const memory: Memory = {
    invocationID: isRunning(unit) || isOver(unit) ? unit.invocationID || FORGOTTEN : '',
    inputs: Object.fromEntries(inputs),
    unitDigest: unitDigest(d),
  };
  return memory;
}
