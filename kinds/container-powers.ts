// What a container may do to the host that runs it, as the host's owner is asked for it. Shared by the kinds that make
// containers; mount-powers.ts has what it sees of the host. Pure.
import type { Permission } from './kind.ts';
import { hostAddress, isLoopback } from './shared/addresses.ts';
import { registryOf, resolvedImage } from './shared/images.ts';

/**
 * What may be added without getting at the host (capabilities(7)): a container's defaults, and these. Everything else,
 * and what a later kernel may have, amounts to root.
 */
const HARMLESS_CAPABILITIES = new Set(
  [
    ...[
      'AUDIT_WRITE',
      'CHOWN',
      'DAC_OVERRIDE',
      'FOWNER',
      'FSETID',
      'KILL',
      'MKNOD',
      'NET_BIND_SERVICE',
      'NET_RAW',
    ],
    ...['SETFCAP', 'SETGID', 'SETPCAP', 'SETUID', 'SYS_CHROOT'],
    ...['AUDIT_READ', 'BLOCK_SUSPEND', 'IPC_LOCK', 'IPC_OWNER', 'LEASE', 'LINUX_IMMUTABLE', 'NET_ADMIN'],
    ...[
      'NET_BROADCAST',
      'SYS_NICE',
      'SYS_PACCT',
      'SYS_RESOURCE',
      'SYS_TIME',
      'SYS_TTY_CONFIG',
      'SYSLOG',
      'WAKE_ALARM',
    ],
  ].map((name) => `CAP_${name}`),
);
/** Where an engine's log drivers write to on their own; every other one goes to an address that a container names. */
const LOCAL_LOGS = ['json-file', 'local', 'journald', 'none'];
/** Labels that describe, and that no program goes by; homeostat's own are not a manifest's to give. */
const DESCRIBING_LABELS = /^(?:org\.opencontainers\.image\.|org\.label-schema\.)/;

export function imagePermission(image: string, why?: string): Permission {
  return { type: 'image', value: resolvedImage(image), ...(why === undefined ? {} : { why }) };
}

/** The engine sends the password to whatever answers there. */
export function registryPermission(image: string): Permission {
  const value = `https://${registryOf(image)}`;
  return { type: 'url', value, why: 'the image is asked for with a password' };
}

/** Another person's container of this name is stopped, and what is in its unnamed volumes is taken over. */
export function adoptPermission(name: string): Permission {
  return {
    type: 'capability',
    value: `adopt:${name}`,
    why: 'it may stop a container that somebody else made',
  };
}

export function capabilityPermissions(name: string): Permission[] {
  const value = capability(name);
  const permissions: Permission[] = [{ type: 'capability', value }];
  if (HARMLESS_CAPABILITIES.has(value)) return permissions;
  const why = 'whoever has it gets at the host';
  return [...permissions, { type: 'root-equivalent', value: `capability:${value}`, why }];
}

export function privilegedPermission(name: string): Permission {
  return {
    type: 'root-equivalent',
    value: `privileged:${name}`,
    why: 'a privileged container is root on the host',
  };
}

/** @param pid `host`, or another container's as `container:NAME`. */
export function pidPermissions(name: string, pid: string): Permission[] {
  if (pid === '' || pid === 'private') return [];
  if (pid !== 'host') return [{ type: 'capability', value: `pid:${pid}` }];
  const why = 'among the host’s processes, root in the container is root outside';
  return [{ type: 'root-equivalent', value: `pid:host:${name}`, why }];
}

/** @param network as an engine takes it; what is not its own by default reaches what others have there. */
export function networkPermissions(network: string): Permission[] {
  if (['', 'bridge', 'default', 'none'].includes(network)) return [];
  return [{ type: 'capability', value: `network:${network}` }];
}

/** @param address that a port of the container is published on, in any spelling. */
export function publishPermissions(address: string, port: string): Permission[] {
  const resolved = hostAddress(address);
  if (isLoopback(resolved)) return [];
  const why = `whoever reaches that address reaches the container’s port ${port}`;
  return [{ type: 'capability', value: `publish:${resolved}`, why }];
}

/** Proxies, updaters, schedulers and monitors do what a container's labels say. */
export function labelPermissions(labels: Readonly<Record<string, unknown>>): Permission[] {
  return Object.keys(labels)
    .filter((label) => !DESCRIBING_LABELS.test(label))
    .map((label) => ({
      type: 'capability',
      value: `label:${label}`,
      why: 'programs that go by labels do what it says',
    }));
}

export function securityPermissions(name: string, option: string): Permission[] {
  if (/^no-new-privileges(?:[:=]true)?$/.test(option)) return [];
  const [, what = option, value = ''] = /^([a-z-]+)[:=](.*)$/s.exec(option) ?? [];
  // A profile is a file, of which the engine gets the text.
  const named = what === 'seccomp' && value !== 'unconfined' && value !== 'builtin' ? 'profile' : value;
  const why = 'it takes a wall between the container and the host away';
  return [{ type: 'root-equivalent', value: `security:${what}=${named}:${name}`, why }];
}

export function devicePermission(device: string): Permission {
  const why = 'a container that has it gets at the device itself';
  return { type: 'root-equivalent', value: `device:${device}`, why };
}

/** The engine itself, as root, sends what the container writes where the options say. */
export function logPermissions(driver: string, hasOptions: boolean): Permission[] {
  if (LOCAL_LOGS.includes(driver) || (driver === '' && !hasOptions)) return [];
  // Options without a driver are for the one that the engine has by default, whichever that is.
  const value = `logging:${driver === '' ? 'default' : driver}`;
  return [{ type: 'capability', value, why: 'the engine sends what is written elsewhere' }];
}

/** What of setrlimit(2) keeps a program from taking the processor, or memory that can't be swapped, from the host. */
const RATIONED = ['memlock', 'nice', 'rtprio'];

export function ulimitPermissions(names: readonly string[]): Permission[] {
  const why = 'it may take processor time or locked memory before others';
  return names
    .filter((name) => RATIONED.includes(name))
    .map((name) => ({ type: 'capability', value: `ulimit:${name}`, why }));
}

export function capability(name: string): string {
  const upper = name.toUpperCase();
  return upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
}
