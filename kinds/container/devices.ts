// Devices of the host that a container is to have, as the host resolves them now. Pure, but for the links.
import { devicePermission } from '../container-powers.ts';
import type { Container } from '../docker-engine.ts';
import type { Change, Permission } from '../kind.ts';
import type { Ports, Resolved } from '../ports.ts';
import type { ContainerSpec } from './schema.ts';

/** A device with its links followed: /dev/serial/by-id/… leads to another one after it was plugged in again. */
export interface ResolvedDevice {
  readonly resolved: Resolved;
  /** Where the container sees it. */
  readonly target: string;
  /** Of r, w and m (mknod). */
  readonly access: string;
}

export function devicesOf({ devices = [] }: ContainerSpec, mounts: Ports['mounts']): ResolvedDevice[] {
  return devices.map((text) => {
    const [, source = '', target = source, access = 'rwm'] =
      /^(\/[^:]+)(?::(\/[^:]+))?(?::([rwm]+))?$/.exec(text) ?? [];
    return { resolved: mounts.resolve(source), target, access };
  });
}

export function devicePermissions(devices: readonly ResolvedDevice[]): Permission[] {
  return devices.map(({ resolved }) => devicePermission(resolved.path));
}

/** As the Engine API takes it, and shows it again. */
export function deviceMappings(devices: readonly ResolvedDevice[]): EngineDevice[] {
  return devices.map(({ resolved, target, access }) => ({
    PathOnHost: resolved.hostPath,
    PathInContainer: target,
    CgroupPermissions: access,
  }));
}

interface EngineDevice {
  readonly PathOnHost: string;
  readonly PathInContainer: string;
  readonly CgroupPermissions: string;
}

export function enginesDevices({ HostConfig }: Container): readonly EngineDevice[] {
  return (HostConfig['Devices'] ?? []) as readonly EngineDevice[];
}

export function deviceChanges(devices: readonly ResolvedDevice[], container: Container): Change[] {
  return movedChanges(
    devices,
    enginesDevices(container).map((d) => [d.PathInContainer, d.PathOnHost]),
  );
}

/** It was made with where a link led then. @param made where the container sees what, and what of the host that is */
export function movedChanges(
  wanted: readonly { readonly target: string; readonly resolved: Resolved }[],
  made: readonly (readonly [target: string, hostPath: string | undefined])[],
): Change[] {
  const has = new Map(made);
  const moved = wanted.find(({ target, resolved }) => has.get(target) !== resolved.hostPath);
  if (moved === undefined) return [];
  const from = `with ${has.get(moved.target) ?? 'nothing'} at ${moved.target}`;
  return [{ what: 'container', from, to: `with ${moved.resolved.hostPath}` }];
}
