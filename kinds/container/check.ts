// What a container's spec asks of a host's owner, and what is wrong with one that fits the schema. Pure.
import type { Ask, Finding } from '../kind.ts';
import type { ContainerSpec, Mount } from './schema.ts';

export const OUR_LABELS = 'dev.homeostat.';

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

export function asksOf(spec: ContainerSpec): Ask[] {
  const asks: Ask[] = [{ type: 'image', value: spec.image }];
  const root = (value: string, why: string): void => {
    asks.push({ type: 'root-equivalent', value, why });
  };
  for (const mount of spec.mounts ?? []) {
    if (mount.type === 'tmpfs') continue;
    asks.push({ type: 'mount', value: mount.source });
    const why = mount.type === 'bind' ? whyRoot(mount) : undefined;
    if (why !== undefined && mount.type === 'bind') {
      root(`mount:${mount.source}${mount.readOnly === true ? ':ro' : ''}`, why);
    }
  }
  if (spec.privileged === true) root(`privileged:${spec.name}`, 'a privileged container is root on the host');
  if (spec.pid === 'host') {
    root(`pid:host:${spec.name}`, 'among the host’s processes, root in the container is root outside');
  }
  if (spec.network === 'host' || spec.network?.startsWith('container:')) {
    asks.push({ type: 'capability', value: `network:${spec.network}` });
  }
  for (const name of spec.capAdd ?? []) {
    const value = capability(name);
    asks.push({ type: 'capability', value });
    if (ROOT_CAPABILITIES.has(value)) {
      root(`capability:${value}`, 'whoever has it gets at the host');
    }
  }
  for (const port of spec.ports ?? []) {
    const { address } = parsePort(port);
    if (isEverywhere(address)) {
      const why = `whoever reaches the host reaches the container’s port ${parsePort(port).container}`;
      asks.push({ type: 'capability', value: `publish:${address}`, why });
    }
  }
  return asks;
}

/** Why a bind mount amounts to root on the host, if it does. */
function whyRoot({ source, readOnly }: Extract<Mount, { type: 'bind' }>): string | undefined {
  const socket = SOCKETS.find((path) => contains(source, path));
  if (socket !== undefined) return `whoever reaches ${socket} through it has root do anything`;
  if (readOnly === true) return undefined;
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

export interface Port {
  /** '' when none was named. */
  readonly address: string;
  readonly host: string;
  /** With its protocol: 9090/tcp. */
  readonly container: string;
}

/** Of a text that the schema took. */
export function parsePort(text: string): Port {
  const [, address = '', host, container, protocol = '/tcp'] = /^(?:(.+):)?(\d+):(\d+)(\/(?:tcp|udp))?$/.exec(
    text,
  )!;
  return { address: address.replace(/^\[|\]$/g, ''), host: host!, container: `${container}${protocol}` };
}

function isEverywhere(address: string): boolean {
  return address === '0.0.0.0' || /^[0:]+$/.test(address);
}

export function checkContainer(spec: ContainerSpec): Finding[] {
  return [...checkPorts(spec), ...checkMounts(spec), ...checkLabels(spec), ...checkNetwork(spec)];
}

function checkPorts(spec: ContainerSpec): Finding[] {
  return (spec.ports ?? []).flatMap((text, i) => {
    const path = ['ports', i];
    const { address, host, container } = parsePort(text);
    const findings: Finding[] = [];
    if (address === '') {
      const message = `without an address the engine publishes on all of the host’s: write 127.0.0.1:${text}, or 0.0.0.0:${text} if that is meant`;
      findings.push({ path, message });
    }
    if ([host, container.split('/')[0]!].some((port) => Number(port) < 1 || Number(port) > 65_535)) {
      findings.push({ path, message: 'a port is a number from 1 to 65535' });
    }
    return findings;
  });
}

function checkMounts(spec: ContainerSpec): Finding[] {
  const targets = (spec.mounts ?? []).map(({ target }) => target.replace(/\/+$/, ''));
  return targets.flatMap((target, i) =>
    targets.indexOf(target) === i
      ? []
      : [{ path: ['mounts', i, 'target'], message: `two mounts have the target ${target}; keep one` }],
  );
}

function checkLabels(spec: ContainerSpec): Finding[] {
  return Object.keys(spec.labels ?? {})
    .filter((label) => label.startsWith(OUR_LABELS))
    .map((label) => ({
      path: ['labels', label],
      message: `labels that begin with ${OUR_LABELS} are homeostat’s own`,
    }));
}

/** What the engine refuses together; better told before anything is tried. */
function checkNetwork(spec: ContainerSpec): Finding[] {
  const { network = 'bridge' } = spec;
  const findings: Finding[] = [];
  const shared = network === 'host' || network.startsWith('container:');
  if (spec.ports !== undefined && spec.ports.length > 0 && (shared || network === 'none')) {
    const message = `with network ${network} nothing is published: ${shared ? 'its ports are that network’s own' : 'there is no network'}`;
    findings.push({ path: ['ports'], message });
  }
  if (spec.hostname !== undefined && network.startsWith('container:')) {
    findings.push({ path: ['hostname'], message: `with network ${network} the name is that container’s` });
  }
  return findings;
}
