// What keeps systemd from having what is wanted, and what would be right. Pure.
import type { UnitState } from '../ports.ts';
import type { Service } from './memory.ts';
import type { ServiceSpec } from './schema.ts';
import type { Observed } from './state.ts';

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
