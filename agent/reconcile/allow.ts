// The answer of the host's owner to what a manifest may do. Closed by default; pure. A grant names one object exactly,
// and a mount with its mode; what is the agent's own is granted to nobody.
import path from 'node:path';
import { Stalled } from '../../api/errors.ts';
import type { Permission } from '../../kinds/kind.ts';
import { fitsImage } from '../../kinds/shared/images.ts';
import { isWithin } from '../../kinds/shared/mount-table.ts';
import { fitsPattern } from '../../kinds/shared/pattern.ts';
import type { AllowList } from '../config.ts';

export interface Grants extends OwnThings {
  readonly allow: AllowList;
}

/** What is the agent's own, and granted to nobody. */
export interface OwnThings {
  /** Paths of the agent's own configuration, keys, state and sockets. */
  readonly own?: readonly string[];
  /** Paths of what runs the agent: its program, its unit's files. They may be read, and are never written. */
  readonly ownPrograms?: readonly string[];
  /** Units that run the agent, and prefixes of their names that have drop-ins (`homeostat-.service`). */
  readonly ownUnits?: readonly string[];
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

/** What is missing from the grants, for people; undefined when nothing is. */
export function refusalOf(permissions: readonly Permission[], grants: Grants): string | undefined {
  const missing = missingOf(permissions, grants);
  return missing.length === 0 ? undefined : notAllowed(missing);
}

function refuse(missing: readonly string[]): void {
  if (missing.length > 0) throw new Stalled('NotAllowed', notAllowed(missing));
}

const notAllowed = (missing: readonly string[]): string =>
  `this host's agent does not allow: ${missing.join('; ')}. What its manifest needs, and why: \`homeostat allow --from-plan\` on the host`;

function missingOf(permissions: readonly Permission[], grants: Grants): string[] {
  return permissions
    .filter((permission) => !isGranted(permission, grants))
    .map((permission) => {
      const { type, why } = permission;
      const own = isOwn(permission, grants);
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

export function isGranted(permission: Permission, grants: Grants): boolean {
  const { type, value, mode = 'rw' } = permission;
  if (CONTROL.test(value) || isOwn(permission, grants)) return false;
  const list = grants.allow[LISTS[type]];
  if (type === 'mount') return list.some((grant) => mountGranted(value, mode, grant));
  if (type === 'image') return list.some((grant) => fitsImage(value, grant));
  if (type === 'path' || (type === 'secret' && value.startsWith('/'))) return pathAllowed(value, list);
  if (type === 'exec' && value.startsWith('/')) return list.includes('*') || pathAllowed(value, list);
  return matches(list, value);
}

/** No name of anything that is granted has one of them; a line of a list or of a message is one line. */
const CONTROL = /[\u0000-\u001f\u007f\u2028\u2029]/;

/**
 * Whether a path is one of the listed, or in a listed directory that ends in a slash, or that directory.
 * @param wanted one that ends in a slash is a directory with all that is in it, which no grant of the directory alone gives
 */
export function pathAllowed(wanted: string, grants: readonly string[]): boolean {
  const normal = bare(path.normalize(wanted));
  const isWhole = wanted.endsWith('/');
  return grants.some((grant) =>
    grant.endsWith('/')
      ? isWithin(normal, bare(path.normalize(grant)))
      : !isWhole && normal === path.normalize(grant),
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

/** Other names of anything at all, and what a process keeps in its memory, the agent's secrets too: proc(5). */
const BY_PROCESS = /^\/proc\/(?:self|thread-self|\d+)(?:\/|$)/;

/**
 * What is the agent's own, what is in it, and what holds it: whoever may write, move or chmod a directory above may do
 * so with all that is below.
 */
export function isOwn({ type, value, mode = 'rw', covers = [] }: Permission, grants: Grants): boolean {
  const { own = [], ownPrograms = [], ownUnits = [] } = grants;
  if (type === 'unit') return ownUnits.some((unit) => unit === value || isPrefixOf(value, unit));
  if (!value.startsWith('/') || !['path', 'secret', 'mount'].includes(type)) return false;
  const normal = bare(path.normalize(value));
  if (BY_PROCESS.test(normal)) return true;
  const isReadOnly = type === 'secret' || (type === 'mount' && mode === 'ro');
  return [...own, ...(isReadOnly ? [] : ownPrograms)].some(
    (mine) => isWithin(normal, bare(mine)) || (isWithin(bare(mine), normal) && !covers.includes(mine)),
  );
}

/** systemd.unit(5): the drop-ins of `foo-.service` are those of `foo-bar.service`, too. */
function isPrefixOf(prefix: string, unit: string): boolean {
  const [, name, type] = /^(.+-)(\.[a-z]+)$/.exec(prefix) ?? [];
  return name !== undefined && unit.startsWith(name) && unit.endsWith(type!);
}

function bare(normal: string): string {
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}

/** `*` alone stands for everything, and in a pattern for any characters of one part of a path. */
function matches(patterns: readonly string[], value: string): boolean {
  return patterns.some(
    (pattern) =>
      pattern === '*' || pattern === value || (pattern.includes('*') && fitsPattern(value, pattern, '/')),
  );
}
