// What keeps systemd from having what is wanted, and what would be right. Pure.
import type { UnitState } from '../ports.ts';
import type { Service } from './memory.ts';
import type { Observed } from './observe.ts';
import type { ServiceSpec } from './schema.ts';
import { installs, wantedFiles } from './unit-files.ts';

/** systemd's names for units that no link can start at boot, or that are only another unit's name. */
const CANNOT_BE_ENABLED = ['static', 'indirect', 'generated', 'transient'];

/** Why systemd can't have the enablement that is wanted, and what would be right. */
function wrongEnablement(spec: ServiceSpec, unit: UnitState, also: readonly string[]): string | undefined {
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

/** Why the unit could not be enabled as wanted, once it is written, and what would be right. */
export function cannotBeEnabled(d: Service, unit: UnitState, also: readonly string[]): string | undefined {
  const { spec } = d;
  if (spec.enabled && wantedFiles(d).some(({ bytes }) => installs(bytes.toString()))) return undefined;
  if (spec.unitFile === undefined || !spec.enabled) return wrongEnablement(spec, unit, also);
  return `${spec.unit} can't be enabled: its unitFile has no [Install] section with WantedBy=; give it one, or leave enabled out`;
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
  if (unit.loadState === 'not-found' && needsUnit(spec)) {
    return { reason: 'UnitNotFound', message: notFound(name), canRun: false };
  }
  const wrong = wrongEnablement(spec, unit, also);
  return wrong === undefined ? undefined : { reason: 'CannotBeEnabled', message: wrong, canRun: true };
}

/** Whether somebody else has to bring the unit; what is neither to run nor to be enabled need not be there. */
export function needsUnit({ unitFile, state, enabled }: ServiceSpec): boolean {
  return unitFile === undefined && ((state ?? 'running') === 'running' || enabled === true);
}

export function notFound(unit: string): string {
  return `there is no unit ${unit}; install its package, or give unitFile`;
}
