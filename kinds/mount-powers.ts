// What a mount of the host's paths gives to a container, as the host's owner is asked for it. Shared by the kinds that
// make containers. Pure. docs/decisions/0063 has the reasons for the lists.
import type { Permission } from './kind.ts';
import { isWithin } from './shared/mount-table.ts';

/** Data by convention (hier(7), FHS 3.0): nothing here is run by root, or read by programs that root runs. */
const HARMLESS = ['/data', '/media', '/mnt', '/srv'];
/** Whoever reads here becomes somebody else, or gets at the host's processes and devices. */
const SECRET = [
  '/boot/efi/loader/random-seed',
  '/dev',
  '/etc/NetworkManager/system-connections',
  '/etc/credstore',
  '/etc/credstore.encrypted',
  '/etc/gshadow',
  '/etc/homeostat',
  '/etc/krb5.keytab',
  '/etc/kubernetes',
  '/etc/letsencrypt',
  '/etc/openvpn',
  '/etc/shadow',
  '/etc/ssh',
  '/etc/ssl/private',
  '/etc/wireguard',
  '/home',
  '/proc',
  '/root',
  '/run/credentials',
  '/run/secrets',
  '/var/backups',
  '/var/lib/containerd',
  '/var/lib/containers',
  '/var/lib/docker',
  '/var/lib/homeostat',
  '/var/lib/private',
  '/var/lib/systemd',
  '/var/lib/tailscale',
];
/** Whoever reaches one of these has root do something; a read-only mount does not keep one from it. */
const SOCKETS = [
  'containerd/containerd.sock',
  'crio/crio.sock',
  'dbus/system_bus_socket',
  'docker.sock',
  'homeostat/agent.sock',
  'podman/podman.sock',
  'systemd/private',
  'tailscale/tailscaled.sock',
].flatMap((socket) => [`/run/${socket}`, `/var/run/${socket}`]);

/** What is known of a mount's source beside its path. */
export interface MountFacts {
  /** Sockets that are reached through it. */
  readonly sockets?: readonly string[];
  /** How many names a file has. */
  readonly links?: number;
  readonly propagation?: string;
  /** The agent's own paths that are covered. */
  readonly covers?: readonly string[];
  /** Where the engine keeps its data. */
  readonly engineRoot?: string;
}

/** @param source a path of the host, or a volume's name. */
export function mountPermissions(source: string, readOnly: boolean, facts: MountFacts = {}): Permission[] {
  const { covers = [] } = facts;
  const mount: Permission = { type: 'mount', value: source, mode: readOnly ? 'ro' : 'rw' };
  const why = source.startsWith('/') ? whyRoot(source, readOnly, facts) : undefined;
  const permissions = [covers.length === 0 ? mount : { ...mount, covers }];
  if (why === undefined) return permissions;
  return [...permissions, { type: 'root-equivalent', value: `mount:${source}${readOnly ? ':ro' : ''}`, why }];
}

/** A volume that is made with options, or by a plugin: what is behind its name is not the engine's own directory. */
export function volumePermission(name: string, what: string): Permission {
  const why = `the volume is ${what}, which is no directory of the engine’s own`;
  return { type: 'root-equivalent', value: `mount:${name}`, why };
}

/** Why a bind mount amounts to root on the host, if it does. */
function whyRoot(source: string, readOnly: boolean, facts: MountFacts): string | undefined {
  const { sockets = [], links = 1, propagation, covers = [], engineRoot } = facts;
  if (source === '/') return 'it shows the whole host; what is mounted below it can be written to';
  const socket = SOCKET_NAME.test(source)
    ? source
    : [...sockets, ...SOCKETS].find((path) => isWithin(path, source));
  if (socket !== undefined) return `whoever reaches the socket ${socket} has the program behind it do things`;
  if (covers.length > 0) return 'it holds what is the agent’s own, which is covered';
  if (propagation === 'rshared') return 'what a container mounts there is mounted on the host';
  if (links > 1) return 'the file has another name, which may be one that root reads or runs';
  const secret = [...SECRET, ...(engineRoot === undefined ? [] : [engineRoot])].find(
    (path) => isWithin(path, source) || isWithin(source, path),
  );
  if (secret !== undefined) return `${secret} holds what opens the host to whoever reads it`;
  if (readOnly || HARMLESS.some((root) => isWithin(source, root))) return undefined;
  return `it can be written to, and is not below ${HARMLESS.join(', ')}: root may run or read what stands there`;
}

/** An engine's socket by its name, wherever it listens. */
const SOCKET_NAME = /\/(?:docker|containerd|podman|crio|tailscaled)\.sock$/;
