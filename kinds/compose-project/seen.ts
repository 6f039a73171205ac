// What the containers of our part have and see in truth, by the engine and the kernel: what compose read when it made
// them may have been something else than what was judged. What sees more than was granted is ended.
import { Stalled } from '../../api/errors.ts';
import {
  capabilityPermissions,
  devicePermission,
  imagePermission,
  networkPermissions,
  pidPermissions,
  privilegedPermission,
  publishPermissions,
  securityPermissions,
} from '../container-powers.ts';
import { removeContainer } from '../docker-engine.ts';
import type { Judge, Permission } from '../kind.ts';
import { refusalOfSeen } from '../mounts-seen.ts';
import { type Io, type Project, up } from './compose.ts';
import type { Container } from './containers.ts';
import { keyOf } from './powers.ts';
import { LABEL } from './render.ts';

/** What is known of theirs, by service: the owner's files give it. */
export type Known = ReadonlyMap<string, ReadonlySet<string>>;

/** Why what they have is not granted, by ID. Of theirs only those that ours gives more. */
export async function refusalsOf(
  judge: Judge,
  containers: readonly Container[],
  known: Known,
  io: Io,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const refused = new Map<string, string>();
  for (const container of containers) {
    const theirs = known.get(container.service);
    if (theirs === undefined && container.labels[LABEL.part] !== 'added') continue;
    const isKnown = (permissions: readonly Permission[]) => permissions.every((p) => theirs?.has(keyOf(p)));
    const powers = powersOf(container).filter((permission) => !isKnown([permission]));
    const refusal =
      judge.refusal(powers) ?? (await refusalOfSeen(judge, container.engine, io, signal, isKnown));
    if (refusal !== undefined) refused.set(container.id, refusal);
  }
  return refused;
}

interface HostConfig {
  readonly CapAdd?: readonly string[] | null;
  readonly SecurityOpt?: readonly string[] | null;
  readonly Devices?: readonly { readonly PathOnHost: string }[] | null;
  readonly PortBindings?: Readonly<Record<string, readonly { readonly HostIp?: string }[] | null>> | null;
}

/** As the engine has it; mounts are looked at by themselves. */
function powersOf({ service, engine, labels }: Container): Permission[] {
  const { Privileged, PidMode = '', NetworkMode } = engine.HostConfig;
  const { CapAdd, SecurityOpt, Devices, PortBindings } = engine.HostConfig as HostConfig;
  return [
    ...(labels[LABEL.part] === 'added' ? [imagePermission(engine.Config.Image, `service ${service}`)] : []),
    ...(CapAdd ?? []).flatMap(capabilityPermissions),
    // Of itself the engine gives a privileged container and one among the host's processes some.
    ...(SecurityOpt ?? [])
      .filter((option) => option !== 'label=disable')
      .flatMap((option) => securityPermissions(service, option)),
    ...(Devices ?? []).map(({ PathOnHost }) => devicePermission(PathOnHost)),
    // Another service's, or another container's by name, is an ID here; it was judged by its name.
    ...(PidMode === 'host' ? pidPermissions(service, PidMode) : []),
    ...(NetworkMode === 'host' ? networkPermissions(NetworkMode) : []),
    ...(Privileged === true ? [privilegedPermission(service)] : []),
    ...Object.entries(PortBindings ?? {}).flatMap(([port, bindings]) =>
      (bindings ?? []).flatMap(({ HostIp = '' }) => publishPermissions(HostIp, port)),
    ),
  ];
}

/** Ends what sees more than was granted: one that we added is removed, one of theirs goes back to what their files say. */
export async function end(
  refused: ReadonlyMap<string, string>,
  containers: readonly Container[],
  at: Project,
  files: readonly string[],
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  const found = containers.filter(({ id }) => refused.has(id));
  // Killed, not asked to stop.
  for (const { id } of found) await removeContainer(io.docker, id, signal);
  const theirs = new Set(found.filter((c) => c.labels[LABEL.part] !== 'added').map(({ service }) => service));
  if (theirs.size > 0) await up(at, files, [...theirs], new Map(), io, signal);
}

/** @throws Stalled('NotAllowed') */
export function refuse(refused: ReadonlyMap<string, string>): void {
  const [first] = refused.values();
  if (first !== undefined) throw new Stalled('NotAllowed', first);
}
