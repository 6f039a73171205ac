// The files that make up a unit: ours, and those that others put above them.
import path from 'node:path';
import { digestOf } from '../../api/json.ts';
import type { Claim, Desired } from '../kind.ts';
import type { WantedFile } from '../managed-file.ts';
import type { Files, UnitState } from '../ports.ts';
import { definitionOf } from './definition.ts';
import type { ServiceSpec } from './schema.ts';
import { commandsIn, settingsIn } from './unit-text.ts';

const ETC = '/etc/systemd/system';
/** Where files win over a package's; system.control is `systemctl set-property`'s. */
const OVERRIDES = [ETC, '/etc/systemd/system.control', '/run/systemd/system', '/run/systemd/system.control'];
const VENDOR = ['/usr/local/lib/systemd/system', '/usr/lib/systemd/system', '/lib/systemd/system'];

export function unitFilePath(unit: string): string {
  return path.join(ETC, unit);
}

export function dropInDirectory(unit: string): string {
  return path.join(ETC, `${unit}.d`);
}

/** Where `enable` puts its link for the target that nearly every unit is wanted by. */
export function enablingLink(unit: string): string {
  return path.join(ETC, 'multi-user.target.wants', unit);
}

/** Paths that the spec names, in the order in which they are written. */
export function ownPaths({ unit, unitFile, dropIns }: ServiceSpec): string[] {
  const names = Object.keys(dropIns ?? {});
  return [
    ...(unitFile === undefined ? [] : [unitFilePath(unit)]),
    ...names.map((name) => path.join(dropInDirectory(unit), name)),
  ];
}

/** Exclusive: the whole directory, whoever wants to put what there. */
export function claims(spec: ServiceSpec): Claim[] {
  const directory = dropInDirectory(spec.unit);
  const files = ownPaths(spec);
  const named = spec.exclusive
    ? [directory, ...files.filter((file) => path.dirname(file) !== directory)]
    : files;
  return [`unit:${spec.unit}`, ...named.map((file) => `file:${file}`)];
}

/** Files of the unit that the claims name, and all that are loaded from a directory that is claimed as a whole. */
export function claimedPaths(unit: string, owned: readonly Claim[], state: UnitState): string[] {
  const directory = dropInDirectory(unit);
  const isIn = (file: string): boolean => path.dirname(file) === directory;
  const named = owned
    .filter((claim) => claim.startsWith('file:'))
    .map((claim) => claim.slice('file:'.length));
  const whole = named.includes(directory) ? state.dropInPaths.filter(isIn) : [];
  return [...new Set([...named.filter((file) => file === unitFilePath(unit) || isIn(file)), ...whole])];
}

/** What an earlier document of ours put there, and this one does not have: by path, as far as it is still there. */
export function leftovers({ spec, held }: Desired<ServiceSpec>, state: UnitState, files: Files): string[] {
  const own = ownPaths(spec);
  const earlier = claimedPaths(spec.unit, held, state).filter((file) => !own.includes(file));
  return earlier.filter((file) => files.read(file).type !== 'absent');
}

/** @throws Stalled('SecretMissing') */
export function wantedFiles(d: Desired<ServiceSpec>): (WantedFile & { what: string })[] {
  const { unit, unitFile, dropIns } = d.spec;
  const texts = [
    ...(unitFile === undefined ? [] : [{ what: 'unit file', text: unitFile }]),
    ...Object.entries(dropIns ?? {}).map(([name, text]) => ({ what: `drop-in ${name}`, text })),
  ];
  const paths = ownPaths({ unit, unitFile, dropIns });
  return texts.map(({ what, text }, i) => {
    const content = d.content(text.content ?? '');
    return { what, path: paths[i]!, ...content, mode: content.secret ? 0o600 : 0o644, uid: 0, gid: 0 };
  });
}

/** Of everything that the spec says about how the unit runs; '' where it says nothing. */
export function unitDigest(d: Desired<ServiceSpec>): string {
  if (d.spec.manager === 'supervised') {
    const { command, env } = definitionOf(d);
    return digestOf([command, env]);
  }
  const files = wantedFiles(d).map((file) => [file.path, digestOf(file.bytes.toString('base64'))]);
  return files.length === 0 ? '' : digestOf(files);
}

/**
 * What others put in place to change the unit, by path: drop-ins, and a whole file above a package's.
 * @param ours by path, of this document and of earlier ones.
 */
export function foreignFiles(
  { unit }: ServiceSpec,
  state: UnitState,
  files: Files,
  ours: readonly string[],
): string[] {
  const isAbove = (file: string): boolean =>
    OVERRIDES.some((directory) => path.dirname(file) === path.join(directory, `${unit}.d`));
  const dropIns = state.dropInPaths.filter((file) => isAbove(file) && !ours.includes(file));
  const { fragmentPath } = state;
  const hidesPackage =
    OVERRIDES.includes(path.dirname(fragmentPath)) &&
    !ours.includes(fragmentPath) &&
    files.read(fragmentPath).type === 'file' &&
    VENDOR.some((directory) => files.read(path.join(directory, unit)).type === 'file');
  return hidesPackage ? [fragmentPath, ...dropIns] : dropIns;
}

/** Whether the unit has a file without ours in /etc; an instance has its template's. */
export function hasAnotherUnitFile(unit: string, files: Files): boolean {
  const names = [unit, unit.replace(/@[^.]*\./, '@.')];
  const places = [...VENDOR, ...OVERRIDES.slice(1), '/run/systemd/generator', '/run/systemd/generator.late']
    .flatMap((directory) => names.map((name) => path.join(directory, name)))
    .concat(names[1] === unit ? [] : [path.join(ETC, names[1]!)]);
  return places.some((place) => files.read(place).type !== 'absent');
}

/** Whether `enable` makes a link for what has this text in one of its files. */
export function installs(text: string): boolean {
  return /^\[Install\][^[]*^(?:WantedBy|RequiredBy|UpheldBy|Alias)[ \t]*=[ \t]*\S/m.test(text);
}

/** The units that are enabled together with the one that has this text. */
export function alsoOf(text: string): string[] {
  return [...text.matchAll(/^Also[ \t]*=[ \t]*(.+)$/gm)].flatMap(([, names]) => names!.trim().split(/\s+/));
}

/** The programs that a unit file names, as far as it can be read. */
export function programsOf(unitFile: string): string[] {
  const all = settingsIn(unitFile).filter(({ key }) => /^Exec[A-Z]/.test(key));
  return [...new Set(all.flatMap(({ value }) => commandsIn(value).flatMap(({ program }) => program ?? [])))];
}
