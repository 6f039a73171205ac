// What a container's spec asks of a host's owner, and what is wrong with one that fits the schema. Pure.
import {
  adoptPermission,
  capabilityPermissions,
  imagePermission,
  labelPermissions,
  logPermissions,
  networkPermissions,
  pidPermissions,
  privilegedPermission,
  publishPermissions,
  registryPermission,
  ulimitPermissions,
} from '../container-powers.ts';
import type { Finding, Permission } from '../kind.ts';
import { mountPermissions } from '../mount-powers.ts';
import { modeOf } from './networks.ts';
import type { ContainerSpec } from './schema.ts';

export const OUR_LABELS = 'dev.homeostat.';

/** Where a path of the host leads is known there only (sources.ts). */
export function permissionsOf(spec: ContainerSpec): Permission[] {
  const { name, image, mounts = [], privileged, pid = '', capAdd = [], labels = {}, logging = {} } = spec;
  const networks = [spec.network ?? '', ...(spec.networks ?? []).map((joined) => joined.name)];
  return [
    imagePermission(image),
    ...(spec.registry === undefined ? [] : [registryPermission(image)]),
    ...(spec.adopt === true ? [adoptPermission(name)] : []),
    ...mounts.flatMap((mount) =>
      mount.type === 'volume' ? mountPermissions(mount.source, mount.readOnly === true) : [],
    ),
    ...(privileged === true ? [privilegedPermission(name)] : []),
    ...pidPermissions(name, pid),
    ...networks.flatMap(networkPermissions),
    ...capAdd.flatMap(capabilityPermissions),
    ...logPermissions(logging.driver ?? '', Object.keys(logging.options ?? {}).length > 0),
    ...ulimitPermissions(Object.keys(spec.ulimits ?? {})),
    ...labelPermissions(labels),
    ...(spec.ports ?? []).map(parsePort).flatMap((port) => publishPermissions(port.address, port.container)),
  ];
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

export function checkContainer(spec: ContainerSpec): Finding[] {
  return [
    ...checkPorts(spec),
    ...checkMounts(spec),
    ...checkLabels(spec),
    ...checkNetwork(spec),
    ...checkUlimits(spec),
  ];
}

function checkUlimits({ ulimits = {} }: ContainerSpec): Finding[] {
  return Object.entries(ulimits).flatMap(([name, limit]) => {
    if (limit === undefined || typeof limit === 'number') return [];
    const { soft, hard } = limit;
    const isAbove = hard !== -1 && (soft === -1 || soft > hard);
    return isAbove ? [{ path: ['ulimits', name], message: 'its soft limit is above its hard one' }] : [];
  });
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
  const seen = new Set<string>();
  return targets.flatMap((target, i) =>
    seen.size < seen.add(target).size
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
  const { networks = [] } = spec;
  const network = modeOf(spec);
  const findings: Finding[] = [];
  const shared = network === 'host' || network.startsWith('container:');
  if (spec.ports !== undefined && spec.ports.length > 0 && (shared || network === 'none')) {
    const message = `with network ${network} nothing is published: ${shared ? 'its ports are that network’s own' : 'there is no network'}`;
    findings.push({ path: ['ports'], message });
  }
  if (networks.length > 0 && (shared || network === 'none')) {
    findings.push({
      path: ['networks'],
      message: `with network ${network} it can join no other: take one out`,
    });
  }
  const names = networks.map(({ name }) => name);
  for (const [i, { name, aliases }] of networks.entries()) {
    const path = ['networks', i];
    if (names.indexOf(name) < i) findings.push({ path, message: `${name} is named twice; keep one` });
    if (name === 'bridge' && aliases !== undefined)
      findings.push({ path: [...path, 'aliases'], message: 'the default network bridge knows no aliases' });
  }
  if (spec.extraHosts !== undefined && network.startsWith('container:')) {
    findings.push({
      path: ['extraHosts'],
      message: `with network ${network} the names are that container’s`,
    });
  }
  if (spec.hostname !== undefined && network.startsWith('container:')) {
    findings.push({ path: ['hostname'], message: `with network ${network} the name is that container’s` });
  }
  return findings;
}
