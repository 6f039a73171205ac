// What a Service needs of the host's owner: the unit, by whatever name, and what its texts have it do.
import { Stalled } from '../../api/errors.ts';
import type { Permission } from '../kind.ts';
import type { Files, Ports } from '../ports.ts';
import { execPermission } from '../shared/programs.ts';
import { unitPermissions } from '../shared/units.ts';
import type { Service } from './memory.ts';
import { isSteering, needsOf } from './needs.ts';
import { isSupervised } from './observe.ts';
import type { ServiceSpec } from './schema.ts';
import { wantedFiles } from './unit-files.ts';

/** As far as the spec says it; what a secret holds, and where programs really are, is known on the host. */
export function permissions(spec: ServiceSpec): Permission[] {
  const { unit, unitFile, dropIns } = spec;
  const texts = [
    ...(unitFile === undefined ? [] : [{ content: unitFile.content, isWhole: true }]),
    ...Object.values(dropIns ?? {}).map(({ content }) => ({ content, isWhole: false })),
  ];
  const written = texts.flatMap(({ content, isWhole }) =>
    typeof content === 'string' ? needsOf(unit, content, isWhole).permissions : [],
  );
  const unitFileWhy = 'whoever writes its unit file runs what is granted, with any arguments, as root';
  return [
    { type: 'unit', value: unit },
    ...(texts.length === 0 ? [] : [rootEquivalent(`unit-file:${unit}`, unitFileWhy)]),
    ...(isSupervised(spec) ? commandPermissions(spec) : []),
    ...written,
  ];
}

function commandPermissions({ unit, env = {} }: ServiceSpec): Permission[] {
  const why = 'the variable has the program run other code, as the agent';
  return [
    rootEquivalent(`command:${unit}`, 'it runs as the agent'),
    ...Object.keys(env)
      .filter(isSteering)
      .map((name) => rootEquivalent(`command:${unit}:${name}`, why)),
  ];
}

export async function resolve(
  d: Service,
  io: Pick<Ports, 'files' | 'units'>,
  signal: AbortSignal,
): Promise<Permission[]> {
  const { spec } = d;
  const { files } = io;
  if (isSupervised(spec)) {
    const [program = ''] = spec.command ?? [];
    if (!program.startsWith('/'))
      throw new Stalled('Invalid', 'command names the program by its absolute path');
    return programs(files, spec.unit, [program]);
  }
  const texts = wantedFiles(d).map(({ what, bytes }) =>
    needsOf(spec.unit, bytes.toString(), what === 'unit file'),
  );
  return [
    // Of what was confirmed it was asked: a heal does not wait for it again.
    ...(d.heal ? [] : await unitPermissions(io.units, spec.unit, signal)),
    ...texts.flatMap((text) => text.permissions),
    ...programs(
      files,
      spec.unit,
      texts.flatMap((text) => text.programs),
    ),
  ];
}

function programs(files: Files, unit: string, names: readonly string[]): Permission[] {
  return [...new Set(names)].map((name) => execPermission(files, name, `${unit} runs it`));
}

function rootEquivalent(value: string, why: string): Permission {
  return { type: 'root-equivalent', value, why };
}
