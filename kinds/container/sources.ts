// What a container is to see of the host, as the host resolves it now, and whether the one that runs sees nothing else.
import { Stalled } from '../../api/errors.ts';
import { type Container, engineRootOf, nameOf, removeContainer } from '../docker-engine.ts';
import type { Judge, Permission } from '../kind.ts';
import { refusalOfSeen } from '../mounts-seen.ts';
import { bindPermissions, type ResolvedBind, resolveBind, volumePermissions } from '../mounts-wanted.ts';
import type { Ports } from '../ports.ts';
import { devicePermissions, devicesOf, type ResolvedDevice } from './devices.ts';
import type { ContainerSpec, D } from './schema.ts';

type Io = Pick<Ports, 'docker' | 'mounts'>;

/** What is mounted read-only is so with all that is below: an engine makes only the topmost mount read-only. */
export function bindsOf(
  spec: ContainerSpec,
  own: readonly string[],
  mounts: Ports['mounts'],
): ResolvedBind[] {
  return (spec.mounts ?? []).flatMap((mount) => {
    if (mount.type !== 'bind') return [];
    const { source, target, readOnly = false, propagation } = mount;
    const isRecursive = !readOnly || (propagation !== undefined && propagation !== 'rprivate');
    return [resolveBind({ source, target, readOnly, propagation, isRecursive }, own, mounts)];
  });
}

/** What of the host a container is to get, as it is resolved now. */
export interface Given {
  readonly binds: readonly ResolvedBind[];
  readonly devices: readonly ResolvedDevice[];
}

export function givenTo({ spec, own }: D, mounts: Ports['mounts']): Given {
  return { binds: bindsOf(spec, own, mounts), devices: devicesOf(spec, mounts) };
}

async function sourcePermissions(
  d: D,
  { binds, devices }: Given,
  io: Io,
  signal: AbortSignal,
): Promise<Permission[]> {
  const engineRoot = binds.length === 0 ? undefined : await engineRootOf(io.docker, signal);
  const permissions = binds.flatMap((bind) => bindPermissions(bind, d.own, io.mounts, engineRoot));
  permissions.push(...devicePermissions(devices));
  for (const mount of d.spec.mounts ?? []) {
    if (mount.type !== 'volume') continue;
    const { source, readOnly = false } = mount;
    permissions.push(...(await volumePermissions(source, readOnly, d.own, io, signal)));
  }
  return permissions;
}

export function resolve(d: D, io: Io, signal: AbortSignal): Promise<Permission[]> {
  return sourcePermissions(d, givenTo(d, io.mounts), io, signal);
}

/** Where the spec's sources lead. @throws Stalled('NotAllowed') just before they are used */
export async function requireSources(d: D, io: Io, signal: AbortSignal): Promise<Given> {
  const given = givenTo(d, io.mounts);
  const refusal = d.refusal(await sourcePermissions(d, given, io, signal));
  if (refusal !== undefined) throw new Stalled('NotAllowed', refusal);
  return given;
}

/** Of those that run, why what they see is not granted, by ID. */
export async function refusalsOf(
  judge: Judge,
  containers: readonly Container[],
  io: Io,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const refused = new Map<string, string>();
  for (const container of containers) {
    const refusal = await refusalOfSeen(judge, container, io, signal);
    if (refusal !== undefined) refused.set(container.Id, refusal);
  }
  return refused;
}

/** Killed, not asked to stop: it sees what it must not. @throws Stalled('NotAllowed') once it is gone */
export async function requireSeen(
  judge: Judge,
  container: Container,
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  const refusal = await refusalOfSeen(judge, container, io, signal);
  if (refusal === undefined) return;
  await removeContainer(io.docker, container.Id, signal);
  throw new Stalled('NotAllowed', `${refusal}; ${nameOf(container)} was removed`);
}
