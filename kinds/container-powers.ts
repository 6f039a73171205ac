// What a container may do to the host that runs it, as the host's owner is asked for it (Permission). Shared by the kinds that
// make containers. Pure.
import type { Permission } from './kind.ts';

/** Capabilities whose holder gets at the host, with a container around or without (capabilities(7)). */
const ROOT_CAPABILITIES = new Set([
  'ALL',
  'CAP_SYS_ADMIN',
  'CAP_SYS_MODULE',
  'CAP_SYS_PTRACE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_BOOT',
  'CAP_DAC_READ_SEARCH',
  'CAP_MAC_ADMIN',
  'CAP_BPF',
  'CAP_PERFMON',
]);
/** Whoever reaches one of these tells an engine, as root, what to run; a read-only mount does not keep one from it. */
const SOCKETS = [
  'docker.sock',
  'containerd/containerd.sock',
  'podman/podman.sock',
  'systemd/private',
  'homeostat/agent.sock',
].flatMap((socket) => [`/run/${socket}`, `/var/run/${socket}`]);
/** Whoever writes here changes what root runs. */
const ROOT_RUNS = [
  '/etc/cron.d',
  '/etc/homeostat',
  '/etc/ld.so.preload',
  '/etc/passwd',
  '/etc/shadow',
  '/etc/sudoers.d',
  '/etc/systemd',
  '/bin',
  '/boot',
  '/dev',
  '/lib',
  '/opt',
  '/proc',
  '/root',
  '/sbin',
  '/sys',
  '/usr',
  '/var/lib/containerd',
  '/var/lib/docker',
  '/var/lib/homeostat',
  '/var/spool/cron',
];

/** A path of the host, or a named volume, that a container sees. */
export function mountPermissions(source: string, readOnly: boolean): Permission[] {
  const permissions: Permission[] = [{ type: 'mount', value: source, mode: readOnly ? 'ro' : 'rw' }];
  const why = source.startsWith('/') ? whyRoot(source, readOnly) : undefined;
  if (why !== undefined) {
    permissions.push({ type: 'root-equivalent', value: `mount:${source}${readOnly ? ':ro' : ''}`, why });
  }
  return permissions;
}

export function capabilityPermissions(name: string): Permission[] {
  const value = capability(name);
  const permissions: Permission[] = [{ type: 'capability', value }];
  if (ROOT_CAPABILITIES.has(value)) {
    permissions.push({
      type: 'root-equivalent',
      value: `capability:${value}`,
      why: 'whoever has it gets at the host',
    });
  }
  return permissions;
}

export function privilegedPermission(name: string): Permission {
  return {
    type: 'root-equivalent',
    value: `privileged:${name}`,
    why: 'a privileged container is root on the host',
  };
}

export function hostPidPermission(name: string): Permission {
  const why = 'among the host’s processes, root in the container is root outside';
  return { type: 'root-equivalent', value: `pid:host:${name}`, why };
}

/** @param address that a port of the container is published on. */
export function publishPermissions(address: string, port: string): Permission[] {
  if (!isEverywhere(address)) return [];
  const why = `whoever reaches the host reaches the container’s port ${port}`;
  return [{ type: 'capability', value: `publish:${address}`, why }];
}

/** Why a bind mount amounts to root on the host, if it does. */
function whyRoot(source: string, readOnly: boolean): string | undefined {
  // An engine may listen elsewhere than it does by default.
  const isSocket = /\/(?:docker|containerd|podman)\.sock$/.test(source);
  const socket = isSocket ? source : SOCKETS.find((path) => contains(source, path));
  if (socket !== undefined) return `whoever reaches ${socket} through it has root do anything`;
  if (readOnly) return undefined;
  const runs = ROOT_RUNS.find((path) => contains(source, path) || contains(path, source));
  return runs === undefined
    ? undefined
    : `whoever writes to ${contains(source, runs) ? runs : source} has root run anything`;
}

/** Whether a directory holds a path, or is it. */
function contains(directory: string, path: string): boolean {
  return directory === path || path.startsWith(directory === '/' ? '/' : `${directory}/`);
}

export function capability(name: string): string {
  return name === 'ALL' || name.startsWith('CAP_') ? name : `CAP_${name}`;
}

function isEverywhere(address: string): boolean {
  return address === '0.0.0.0' || /^[0:]+$/.test(address);
}
