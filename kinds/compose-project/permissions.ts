// What a project's document must be allowed to do on a host, and what is wrong with one that fits the schema. Pure.
import path from 'node:path';
import {
  capabilityPermissions,
  hostPidPermission,
  mountPermissions,
  privilegedPermission,
  publishPermissions,
} from '../container-powers.ts';
import type { Finding, Permission } from '../kind.ts';
import { LISTED, OVERRIDE } from './placement.ts';
import { envFileName, secretsOf } from './render.ts';
import type { AddedService, ComposeProjectSpec, ExtendedService } from './schema.ts';

type Service = Partial<AddedService> & ExtendedService;

function servicesOf(spec: ComposeProjectSpec): [string, Service][] {
  return [...Object.entries(spec.services ?? {}), ...Object.entries(spec.extend ?? {})];
}

/** Everything that may be written, by path. */
export function pathsOf(spec: ComposeProjectSpec): string[] {
  const secret = servicesOf(spec).filter(([, service]) => secretsOf(service).length > 0);
  const names = [OVERRIDE, LISTED, '.env', ...secret.map(([name]) => envFileName(name))];
  return names.map((name) => path.posix.join(spec.directory, name));
}

export function permissionsOf(spec: ComposeProjectSpec): Permission[] {
  return [
    ...pathsOf(spec).map((value): Permission => ({ type: 'path', value })),
    { type: 'exec', value: spec.docker ?? 'docker', why: 'docker compose' },
    ...servicesOf(spec).flatMap(([name, service]) => servicePermissions(spec.directory, name, service)),
  ];
}

function servicePermissions(directory: string, name: string, service: Service): Permission[] {
  const why = `service ${name}`;
  const permissions: Permission[] = [];
  const capability = (value: string) => permissions.push({ type: 'capability', value, why });
  if (service.image !== undefined) permissions.push({ type: 'image', value: service.image, why });
  for (const volume of service.volumes ?? []) {
    const [source, target, options = ''] = volume.split(':');
    if (target === undefined) continue; // an anonymous volume
    const place = source!.startsWith('.') ? path.posix.join(directory, source!) : source!;
    permissions.push(...mountPermissions(place, options.split(',').includes('ro')));
  }
  for (const added of service.cap_add ?? []) permissions.push(...capabilityPermissions(added.toUpperCase()));
  for (const option of service.security_opt ?? []) capability(`security:${option}`);
  for (const device of service.devices ?? []) {
    const value = `device:${device.split(':')[0]}`;
    permissions.push({ type: 'root-equivalent', value, why: `${why} gets at the device itself` });
  }
  const { network_mode: network, pid } = service;
  if (network !== undefined && !['none', 'bridge'].includes(network)) capability(`network:${network}`);
  if (pid === 'host') permissions.push(hostPidPermission(name));
  else if (pid !== undefined) capability(`pid:${pid}`);
  if (service.privileged === true) permissions.push(privilegedPermission(name));
  for (const port of service.ports ?? []) {
    const address = /^(.+):[^:]*:[^:]+$/.exec(port)?.[1]?.replace(/^\[|\]$/g, '');
    // Compose publishes on all addresses when none is named.
    permissions.push(...publishPermissions(address ?? '0.0.0.0', port.slice(port.lastIndexOf(':') + 1)));
  }
  return permissions;
}

export function checkProject(spec: ComposeProjectSpec): Finding[] {
  const findings: Finding[] = [];
  if (servicesOf(spec).length === 0) {
    findings.push({ path: [], message: 'nothing is asked for; give services that are added, or extend' });
  }
  for (const name of Object.keys(spec.extend ?? {})) {
    if (spec.services?.[name] !== undefined) {
      const message = 'a service is either added (services) or the user’s (extend); keep one of them';
      findings.push({ path: ['extend', name], message });
    } else if (Object.keys(spec.extend![name]!).length === 0) {
      findings.push({
        path: ['extend', name],
        message: 'nothing is added to it; give appendCommand, labels, …',
      });
    }
  }
  for (const [part, services] of [
    ['services', spec.services],
    ['extend', spec.extend],
  ] as const) {
    for (const [name, service] of Object.entries(services ?? {})) {
      for (const [i, volume] of (service.volumes ?? []).entries()) {
        if (!/^[~$]/.test(volume)) continue;
        const message = 'a path of the host is written absolute, or relative to the project as ./name';
        findings.push({ path: [part, name, 'volumes', i], message });
      }
      for (const label of Object.keys(service.labels ?? {})) {
        if (!/^(?:com\.docker\.compose|dev\.homeostat)\./.test(label)) continue;
        const message = 'labels of compose and homeostat are their own; choose another name';
        findings.push({ path: [part, name, 'labels', label], message });
      }
    }
  }
  return findings;
}
