// What a project's document must be allowed to do on a host, and what is wrong with one that fits the schema. Pure.
import path from 'node:path';
import { labelPermissions } from '../container-powers.ts';
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

/**
 * Not a path: whoever may write these files otherwise has the project's owner run anything with the next
 * `docker compose up`.
 */
export function projectPermission(directory: string): Permission {
  const why = 'our part of the compose project, with its line in .env';
  return { type: 'capability', value: `compose:${directory}`, why };
}

/** What compose makes of the rest is known on the host only (powers.ts). */
export function permissionsOf(spec: ComposeProjectSpec): Permission[] {
  const { directory } = spec;
  const services = servicesOf(spec);
  return [
    projectPermission(directory),
    { type: 'exec', value: spec.docker ?? 'docker', why: 'docker compose' },
    ...Object.keys(spec.extend ?? {}).map(
      (name): Permission => ({
        type: 'capability',
        value: `compose:${directory}#${name}`,
        why: 'whoever says how it runs has all that their files give to it',
      }),
    ),
    ...services.flatMap(([, service]) => labelPermissions(service.labels ?? {})),
    ...[...new Set(services.flatMap(([, service]) => variablesIn(service)))].map(
      (name): Permission => ({
        type: 'secret',
        value: `compose:${directory}:${name}`,
        why: 'compose fills in the variable from .env, or from its environment',
      }),
    ),
  ];
}

/** Names of the variables in all that compose interpolates (compose-go v2, template): `$NAME` and `${NAME…}`. */
function variablesIn(value: unknown): string[] {
  if (typeof value === 'string') {
    return [...value.replaceAll('$$', '').matchAll(/\$\{?([A-Za-z_][A-Za-z0-9_]*)/g)].map(
      ([, name]) => name!,
    );
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(variablesIn);
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
