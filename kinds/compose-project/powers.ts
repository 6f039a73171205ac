// What our part of a project would give to containers, as compose resolves it on this host now. What stands in the
// owner's files is the owner's.
import {
  capabilityPermissions,
  devicePermission,
  imagePermission,
  logPermissions,
  networkPermissions,
  pidPermissions,
  privilegedPermission,
  publishPermissions,
  securityPermissions,
} from '../container-powers.ts';
import { engineRootOf } from '../docker-engine.ts';
import type { Judge, Permission } from '../kind.ts';
import { mountPermissions } from '../mount-powers.ts';
import { bindPermissions, optionPermissions, uncovered, volumePermissions } from '../mounts-wanted.ts';
import { type Io, type Project, readBase } from './compose.ts';
import { narrowed, optionalOf } from './fit.ts';
import { type Model, type ModelService, type ModelVolume, modelOf } from './model.ts';
import { projectPermission } from './permissions.ts';
import { type Override, onBase, overrideOf, textOf, withoutEnvFiles } from './render.ts';
import type { ComposeProjectSpec, D, ExtendedService } from './schema.ts';
import { projectOf, surroundingsOf } from './surroundings.ts';

/** Fields of a service of theirs by which ours gives it more than it has. */
const POWERS = ['cap_add', 'devices', 'logging', 'networks', 'ports', 'security_opt', 'volumes'] as const;

const isPowerful = (service: ExtendedService): boolean =>
  POWERS.some((field) => service[field] !== undefined);

/** Services of theirs that ours gives more than they have. */
function powerfulExtensions({ extend = {} }: ComposeProjectSpec): string[] {
  return Object.entries(extend).flatMap(([name, service]) => (isPowerful(service) ? [name] : []));
}

export const keyOf = ({ type, value, mode }: Permission): string => `${type} ${value} ${mode ?? ''}`;

export async function resolve(d: D, io: Io, signal: AbortSignal): Promise<Permission[]> {
  const at = projectOf(d.spec);
  const real = io.mounts.resolve(at.directory).path;
  const elsewhere = real === at.directory ? [] : [projectPermission(real)];
  const { base: files } = surroundingsOf(at, io).placement;
  const base = await readBase(at, files, io, signal);
  const commands = new Map(Object.keys(base.services).map((name) => [name, []]));
  const ground = { commands, optional: optionalOf(base) };
  const wanted = overrideOf(d.key, d.spec);
  let whole = onBase(wanted, ground);
  const read = (part: Override) => modelOf(at, files, textOf(withoutEnvFiles(part)), io, signal);
  let merged = Object.keys(whole.services).length === 0 ? undefined : await read(whole);
  if (merged === undefined && d.heal) {
    // As much of it as compose takes is what runs.
    whole = (await narrowed(wanted, ground, at, files, io, signal)).override;
    merged = Object.keys(whole.services).length === 0 ? undefined : await read(whole);
  }
  const names = Object.keys(whole.services);
  // What compose refuses it does not run, and whoever validates it says why. What runs is looked at all the same.
  if (merged === undefined) return elsewhere;
  const theirs = await basePermissions(d, at, files, io, signal);
  const engineRoot = await engineRootOf(io.docker, signal);
  const permissions: Permission[] = [...elsewhere];
  for (const name of names) {
    const model = merged.services?.[name];
    if (model === undefined) continue;
    const known = theirs.get(name) ?? new Set();
    if (d.spec.extend?.[name] !== undefined && !isPowerful(d.spec.extend[name])) continue;
    const needed = await servicePermissions(name, model, { model: merged, judge: d, engineRoot, io }, signal);
    permissions.push(...needed.filter((permission) => !known.has(keyOf(permission))));
  }
  return permissions;
}

/** By service that ours gives more: what it has by their files alone. */
export async function basePermissions(
  d: D,
  at: Project,
  files: readonly string[],
  io: Io,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const names = powerfulExtensions(d.spec);
  const known = new Map<string, ReadonlySet<string>>();
  const model = names.length === 0 ? undefined : await modelOf(at, files, undefined, io, signal);
  for (const name of names) {
    const service = model?.services?.[name];
    if (model === undefined || service === undefined) continue;
    const has = await servicePermissions(
      name,
      service,
      { model, judge: d, engineRoot: undefined, io },
      signal,
    );
    known.set(name, new Set(has.map(keyOf)));
  }
  return known;
}

interface Around {
  readonly model: Model;
  readonly judge: Judge;
  readonly engineRoot: string | undefined;
  readonly io: Io;
}

/** All that a service has of the host, whoever gave it. */
async function servicePermissions(
  name: string,
  service: ModelService,
  around: Around,
  signal: AbortSignal,
): Promise<Permission[]> {
  const { image, cap_add = [], security_opt = [], devices = [], logging, ports = [], networks } = service;
  const { network_mode = '', pid = '', privileged } = service;
  const sourceOf = (device: (typeof devices)[number]): string =>
    typeof device === 'string' ? device.split(':')[0]! : device.source;
  const permissions = [
    ...(image === undefined ? [] : [imagePermission(image, `service ${name}`)]),
    ...cap_add.flatMap(capabilityPermissions),
    ...security_opt.flatMap((option) => securityPermissions(name, option)),
    ...devices.map((device) => devicePermission(sourceOf(device))),
    ...logPermissions(logging?.driver ?? '', Object.keys(logging?.options ?? {}).length > 0),
    ...pidPermissions(name, pid),
    ...networkPermissions(network_mode),
    ...otherNetworks(Object.keys(networks ?? {}), around.model),
    ...(privileged === true ? [privilegedPermission(name)] : []),
    ...ports.flatMap(({ host_ip = '', target, protocol = 'tcp' }) =>
      publishPermissions(host_ip, `${target}/${protocol}`),
    ),
  ];
  for (const volume of service.volumes ?? []) {
    permissions.push(...(await mountOf(volume, around, signal)));
  }
  return permissions;
}

/** Beside the project's own, which every service joins of itself. */
function otherNetworks(keys: readonly string[], { networks, name }: Model): Permission[] {
  return keys
    .filter((key) => key !== 'default')
    .map((key) => networks?.[key]?.name ?? `${name}_${key}`)
    .flatMap(networkPermissions);
}

async function mountOf(
  { type, source, target, read_only: readOnly = false, bind }: ModelVolume,
  { model, judge, engineRoot, io }: Around,
  signal: AbortSignal,
): Promise<Permission[]> {
  if (type === 'tmpfs' || source === undefined) return [];
  if (type === 'bind' && source.startsWith('/')) {
    const wanted = { source, target, readOnly, propagation: bind?.propagation, isRecursive: true };
    return bindPermissions(uncovered(wanted, io.mounts), judge.own, io.mounts, engineRoot);
  }
  if (type !== 'volume') return mountPermissions(`${type}:${source}`, readOnly);
  const { name = `${model.name}_${source}`, driver = '', driver_opts = null } = model.volumes?.[source] ?? {};
  const options = { Driver: driver, Options: driver_opts };
  return [
    ...optionPermissions(name, readOnly, options, judge.own, io.mounts),
    ...(await volumePermissions(name, readOnly, judge.own, io, signal)),
  ];
}
