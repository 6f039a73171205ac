// What the agent remembers of a unit's last run, and what follows from it. Pure.
import * as z from 'zod';
import type { Desired } from '../kind.ts';
import type { FileState, UnitState } from '../ports.ts';
import type { ServiceSpec } from './schema.ts';
import { unitDigest } from './unit-files.ts';

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

/** Whether this desired state was put into force here before: confirmed, or on trial. */
export function isInForce(d: Service): boolean {
  return d.heal || d.memory?.digest === d.digest;
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
  if (
    unit.replacedProgram !== undefined &&
    d.spec.restartOn?.some((ref) => ref.startsWith('Package/')) === true
  )
    return `runs ${unit.replacedProgram} as it was before it was replaced`;
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
