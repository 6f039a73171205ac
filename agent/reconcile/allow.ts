// The answer of the host's owner to what a manifest may do. Closed by default; pure. A grant names one object exactly,
// and a mount with its mode; what is the agent's own is granted to nobody.
import path from 'node:path';
import { Stalled } from '../../api/errors.ts';
import type { Permission } from '../../kinds/kind.ts';
import type { AllowList } from '../config.ts';

export interface Grants {
  readonly allow: AllowList;
  /** Paths of the agent's own configuration, keys, state and sockets. */
  readonly own?: readonly string[];
}

/** @throws Stalled('NotAllowed') that names everything that is missing from the grants, at once. */
export function requireAllowed(kind: string, permissions: readonly Permission[], grants: Grants): void {
  const missing = matches(grants.allow.kinds, kind) ? [] : [`kind ${kind} (allow.kinds)`];
  refuse([...missing, ...missingOf(permissions, grants)]);
}

/** @throws Stalled('NotAllowed') */
export function requireGranted(permissions: readonly Permission[], grants: Grants): void {
  refuse(missingOf(permissions, grants));
}

function refuse(missing: readonly string[]): void {
  if (missing.length === 0) return;
  throw new Stalled('NotAllowed', `this host's agent does not allow: ${missing.join('; ')}`);
}

function missingOf(permissions: readonly Permission[], grants: Grants): string[] {
  return permissions
    .filter((permission) => !isGranted(permission, grants))
    .map((permission) => {
      const { type, why } = permission;
      const own = isOwn(permission, grants.own ?? []);
      const because = own ? 'it is the agent’s own, and no grant opens it' : `allow.${LISTS[type]}`;
      return `${type} ${grantOf(permission)} (${because}${why === undefined ? '' : `; ${why}`})`;
    });
}

export const LISTS = {
  path: 'paths',
  unit: 'units',
  exec: 'exec',
  user: 'users',
  tailscale: 'tailscale',
  image: 'images',
  mount: 'mounts',
  capability: 'capabilities',
  package: 'packages',
  url: 'urls',
  secret: 'secrets',
  'root-equivalent': 'rootEquivalent',
} as const satisfies Record<Permission['type'], keyof AllowList>;

/** The grant that gives a permission and nothing else, as it is written in the list of its type. */
export function grantOf({ type, value, mode = 'rw' }: Permission): string {
  return type === 'mount' ? `${value}:${mode}` : value;
}

export function isGranted(permission: Permission, { allow, own = [] }: Grants): boolean {
  if (isOwn(permission, own)) return false;
  const { type, value, mode = 'rw' } = permission;
  const list = allow[LISTS[type]];
  if (type === 'mount') return list.some((grant) => mountGranted(value, mode, grant));
  if (type === 'path' || (type === 'secret' && value.startsWith('/'))) return pathAllowed(value, list);
  return matches(list, value);
}

/** Whether a path is one of the listed, or in a listed directory that ends in a slash, or that directory. */
export function pathAllowed(wanted: string, grants: readonly string[]): boolean {
  const normal = bare(path.normalize(wanted));
  return grants.some((grant) =>
    grant.endsWith('/') ? isWithin(normal, bare(grant)) : normal === path.normalize(grant),
  );
}

function mountGranted(source: string, mode: 'ro' | 'rw', grant: string): boolean {
  // Who writes a star alone grants everything.
  if (grant === '*') return true;
  const [, place, granted = 'ro'] = /^(.*?)(?::(ro|rw))?$/s.exec(grant)!;
  if (mode === 'rw' && granted === 'ro') return false;
  if (!source.startsWith('/') || place === '*') return matches([place!], source);
  const normal = bare(path.normalize(source));
  if (place === '/') return normal === '/';
  return pathAllowed(normal, [place!]);
}

/** What is the agent's own, what is in it, and for a mount what holds it. */
function isOwn({ type, value }: Permission, own: readonly string[]): boolean {
  if (!value.startsWith('/') || !['path', 'secret', 'mount'].includes(type)) return false;
  const normal = bare(path.normalize(value));
  return own.some(
    (mine) => isWithin(normal, bare(mine)) || (type === 'mount' && isWithin(bare(mine), normal)),
  );
}

function isWithin(normal: string, directory: string): boolean {
  return normal === directory || normal.startsWith(directory === '/' ? '/' : `${directory}/`);
}

function bare(normal: string): string {
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}

function matches(patterns: readonly string[], value: string): boolean {
  return patterns.some((pattern) => {
    if (!pattern.includes('*')) return pattern === value;
    const [first, ...rest] = pattern.split('*');
    if (!value.startsWith(first!)) return false;
    let at = first!.length;
    for (const [i, part] of rest.entries()) {
      const found = i === rest.length - 1 ? value.length - part.length : value.indexOf(part, at);
      if (found < at || !value.startsWith(part, found)) return false;
      at = found + part.length;
    }
    return true;
  });
}
