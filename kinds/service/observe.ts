// What is there of a unit: its files on disk, and how its manager knows it.
import type { FileState, Files, Ports, UnitState, Units } from '../ports.ts';
import type { Service } from './memory.ts';
import type { ServiceSpec } from './schema.ts';
import { alsoOf, claimedPaths, foreignFiles, leftovers, ownPaths, programsOf } from './unit-files.ts';

export type Needs = 'files' | 'units' | 'supervised' | 'clock';
export type Io = Pick<Ports, Needs>;

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
  /** When its unit files or the programs that they name were last changed, unix milliseconds; of one that rests. */
  readonly changedAtMs: number;
  readonly nowMs: number;
}

export const isSupervised = ({ manager }: ServiceSpec): boolean => manager === 'supervised';
export const unitsOf = (spec: ServiceSpec, io: Io): Units => (isSupervised(spec) ? io.supervised : io.units);

export async function observe(d: Service, io: Io, signal: AbortSignal): Promise<Observed> {
  const { spec } = d;
  const unit = await unitsOf(spec, io).show(spec.unit, signal);
  const common = { unit, nowMs: io.clock.now(), definition: undefined, changedAtMs: 0 };
  if (isSupervised(spec)) {
    const definition = io.supervised.definition(spec.unit);
    return { ...common, files: [], leftovers: [], foreign: [], also: [], definition };
  }
  const own = ownPaths(spec);
  const ours = [...own, ...claimedPaths(spec.unit, d.held, unit)];
  const fragment = unit.unitFileState === 'indirect' ? io.files.read(unit.fragmentPath) : undefined;
  return {
    ...common,
    files: own.map((path) => io.files.read(path)),
    leftovers: leftovers(d, unit, io.files),
    foreign: foreignFiles(spec, unit, io.files, ours),
    changedAtMs: mayRest(unit) ? changedAt(unit, io.files) : 0,
    also: fragment?.type === 'file' ? alsoOf(fragment.content.toString()) : [],
  };
}

/** It ended by itself, or could not be started, and runs no more. */
function mayRest({ activeState, endedItself, skippedAtMs }: UnitState): boolean {
  return activeState === 'failed' || endedItself || skippedAtMs > 0;
}

/** A package that was installed anew, or a program that was put in place, may be what it ended for the want of. */
function changedAt({ fragmentPath, dropInPaths }: UnitState, files: Files): number {
  const paths = [fragmentPath, ...dropInPaths].filter((path) => path !== '');
  const programs = paths.flatMap((path) => {
    const state = files.read(path);
    return state.type === 'file' ? programsOf(state.content.toString()) : [];
  });
  const absolute = [...paths, ...programs].filter((path) => path.startsWith('/'));
  return Math.max(0, ...absolute.map((path) => files.changedAtMs(path)));
}
