// The files that make up a unit: ours, and those that others put above them.
import path from 'node:path';
import { digestOf } from '../../api/json.ts';
import type { Desired } from '../kind.ts';
import type { WantedFile } from '../managed-file.ts';
import type { Files, UnitState } from '../ports.ts';
import { definitionOf } from './definition.ts';
import type { ServiceSpec } from './schema.ts';

const ETC = '/etc/systemd/system';
/** Where files are that win over a package's, systemd.unit(5); system.control is `systemctl set-property`'s. */
const OVERRIDES = [ETC, '/etc/systemd/system.control', '/run/systemd/system', '/run/systemd/system.control'];
const VENDOR = ['/usr/local/lib/systemd/system', '/usr/lib/systemd/system', '/lib/systemd/system'];

export function unitFilePath(unit: string): string {
  return path.join(ETC, unit);
}

export function dropInDirectory(unit: string): string {
  return path.join(ETC, `${unit}.d`);
}

export function dropInPath(unit: string, name: string): string {
  return path.join(dropInDirectory(unit), name);
}

/** Where `enable` puts its link for the target that nearly every unit is wanted by. */
export function enablingLink(unit: string): string {
  return path.join(ETC, 'multi-user.target.wants', unit);
}

/** Paths that the spec names, in the order in which they are written. Pure. */
export function ownPaths(spec: ServiceSpec): string[] {
  return [
    ...(spec.unitFile === undefined ? [] : [unitFilePath(spec.unit)]),
    ...Object.keys(spec.dropIns ?? {}).map((name) => dropInPath(spec.unit, name)),
  ];
}

/** @throws Stalled('SecretMissing') */
export function wantedFiles(d: Desired<ServiceSpec>): (WantedFile & { what: string })[] {
  const { unit, unitFile, dropIns } = d.spec;
  const texts = [
    ...(unitFile === undefined ? [] : [{ what: 'unit file', path: unitFilePath(unit), text: unitFile }]),
    ...Object.entries(dropIns ?? {}).map(([name, text]) => ({
      what: `drop-in ${name}`,
      path: dropInPath(unit, name),
      text,
    })),
  ];
  return texts.map(({ what, path, text }) => {
    const content = d.content(text.content ?? '');
    return { what, path, ...content, mode: content.secret ? 0o600 : 0o644, uid: 0, gid: 0 };
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

/** What others put in place to change the unit, by path: drop-ins, and a whole file above a package's. */
export function foreignFiles(spec: ServiceSpec, state: UnitState, files: Files): string[] {
  const own = new Set(ownPaths(spec));
  const dropIns = state.dropInPaths.filter(
    (file) =>
      OVERRIDES.some((directory) => file.startsWith(`${directory}/${spec.unit}.d/`)) && !own.has(file),
  );
  const above =
    OVERRIDES.includes(path.dirname(state.fragmentPath)) &&
    !own.has(state.fragmentPath) &&
    files.read(state.fragmentPath).type === 'file' &&
    VENDOR.some((directory) => files.read(path.join(directory, spec.unit)).type === 'file');
  return above ? [state.fragmentPath, ...dropIns] : dropIns;
}

/** The programs that a unit file runs, without systemd's prefixes. Pure. */
export function programsOf(unitFile: string): string[] {
  const programs = new Set<string>();
  for (const [, command] of unitFile.matchAll(/^[ \t]*Exec[A-Za-z]+[ \t]*=[ \t]*(.+)$/gm)) {
    const program = /^[-@:+!|]*(?:"([^"]+)"|'([^']+)'|(\S+))/.exec(command!);
    const name = program?.[1] ?? program?.[2] ?? program?.[3];
    if (name !== undefined) programs.add(name);
  }
  return [...programs];
}
