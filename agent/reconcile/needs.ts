// What a manifest must be allowed to do on this host, whatever is granted so far: the answer of `homeostat allow` to the
// host's owner. Gathered as the loop does before it touches anything; the sorting is pure.
import { inWords } from '../../api/errors.ts';
import type { AnyKind, Permission } from '../../kinds/kind.ts';
import type { Ports } from '../../kinds/ports.ts';
import { AllowList } from '../config.ts';
import { secretPermissions, secretRefsIn } from '../secrets/store.ts';
import { type Grants, grantOf, isGranted, isOwn, LISTS } from './allow.ts';
import type { Targets } from './targets.ts';
import type { ResourceState, World } from './world.ts';

export type ListName = keyof AllowList;

/** What one resource must be allowed to do. */
export interface ResourcePermissions {
  readonly key: string;
  readonly kind: string;
  readonly permissions: readonly Permission[];
  /** What its last confirmed state needs, which is kept up while the desired one can't be had. */
  readonly fallback: readonly Permission[];
  /** Why this host could not be asked for all of it. */
  readonly unknown?: string;
}

/**
 * Writes nothing. @param targets of an agent that allows everything: what is not granted yet is what is looked for.
 */
export async function permissionsOf(
  state: ResourceState,
  { world, targets, ports }: { world: World; targets: Targets; ports: Ports },
  signal: AbortSignal,
): Promise<ResourcePermissions | undefined> {
  const { key, resource } = state;
  if (resource === undefined) return undefined;
  const kind = world.kindOf(key);
  const parsed = world.specOf(resource);
  const nothing = { key, kind: resource.kind, permissions: [], fallback: [] };
  if (kind === undefined || parsed?.success !== true)
    return { ...nothing, unknown: 'this agent does not understand it (is it too old for it?)' };
  const early = textPermissions(kind, parsed.data);
  const missing = new Set<string>();
  let [resolved, fallback]: [readonly Permission[], readonly Permission[]] = [[], []];
  try {
    await targets.ready(state);
    const confirmed = targets.confirmed(state)?.desired.spec;
    if (confirmed !== undefined) fallback = textPermissions(kind, confirmed);
    const { desired } = targets.wanted(state, resource);
    resolved = (await kind.resolve?.(desired, notingPrograms(ports, missing), signal)) ?? [];
  } catch (error) {
    return { ...nothing, permissions: early, fallback, unknown: inWords(error) };
  }
  const found = { ...nothing, permissions: [...early, ...resolved], fallback };
  if (missing.size === 0) return found;
  return { ...found, unknown: `there is no program ${[...missing].join(', ')} here yet` };
}

/** What is not there needs no grant yet, and will need one as soon as a package brings it. */
function notingPrograms(ports: Ports, missing: Set<string>): Ports {
  const { processes } = ports;
  const locate = (program: string): string | undefined => {
    const found = processes.locate?.(program);
    if (found === undefined) missing.add(program);
    return found;
  };
  const noting: Ports['processes'] = { run: (...args) => processes.run(...args), locate };
  const all: Ports = Object.create(ports, { processes: { value: noting } });
  return all;
}

/** As far as the text says: the loop adds the secrets. Pure. */
export function textPermissions(kind: AnyKind, spec: Record<string, unknown>): Permission[] {
  return [...kind.permissions(spec), ...secretPermissions(secretRefsIn(spec))];
}

/** One grant, and who needs it. */
export interface Need {
  readonly list: ListName;
  readonly grant: string;
  /** The grant that gives it already, which may be a wider one. */
  readonly grantedBy: string | undefined;
  /** Why no grant should or can give it. */
  readonly never: string | undefined;
  readonly by: readonly { readonly key: string; readonly why: readonly string[] }[];
}

export interface Needs {
  readonly needs: readonly Need[];
  /** What this host could not be asked for all of; where no grant would help, that is all there is to say. */
  readonly unknown: readonly ResourcePermissions[];
  /** Granted, and needed by nothing of this manifest. */
  readonly unused: readonly { readonly list: ListName; readonly grant: string }[];
}

/** Each grant once, in the order of the lists; pure. */
export function needsOf(resources: readonly ResourcePermissions[], grants: Grants): Needs {
  const needs = new Map<string, { need: Omit<Need, 'by'>; by: Map<string, Set<string>> }>();
  const add = (key: string, list: ListName, grant: string, permission?: Permission): void => {
    const id = `${list} ${grant}`;
    const need = needOf(list, grant, permission, grants);
    const before = needs.get(id);
    const entry = {
      need: before === undefined || before.need.never !== undefined ? need : before.need,
      by: before?.by ?? new Map(),
    };
    needs.set(id, entry);
    const why = entry.by.get(key) ?? new Set();
    entry.by.set(key, why);
    if (permission?.why !== undefined) why.add(permission.why);
  };
  for (const { key, kind, permissions } of resources) {
    add(key, 'kinds', kind);
    for (const p of withoutNarrower(permissions)) add(key, LISTS[p.type], grantOf(p), p);
  }
  const order = Object.keys(AllowList.shape);
  const sorted = [...needs.values()].sort(
    (a, b) =>
      order.indexOf(a.need.list) - order.indexOf(b.need.list) || (a.need.grant < b.need.grant ? -1 : 1),
  );
  const hopeless = new Set(
    sorted.flatMap(({ need, by }) => (need.never === undefined ? [] : [...by.keys()])),
  );
  return {
    needs: sorted.map(({ need, by }) => ({
      ...need,
      by: [...by].map(([key, why]) => ({ key, why: [...why] })),
    })),
    unknown: resources.filter(({ key, unknown }) => unknown !== undefined && !hopeless.has(key)),
    unused: unusedGrants(resources, grants.allow),
  };
}

/** What to write as `allow`: what is needed, and nothing else. */
export function allowOf({ needs }: Needs): Partial<AllowList> {
  return byList(needs.filter(({ never }) => never === undefined));
}

/** As they stand in a configuration. */
export function byList(
  grants: readonly { readonly list: ListName; readonly grant: string }[],
): Partial<AllowList> {
  const lists = Map.groupBy(grants, ({ list }) => list);
  return Object.fromEntries([...lists].map(([list, all]) => [list, all.map(({ grant }) => grant)]));
}

function needOf(
  list: ListName,
  grant: string,
  permission: Permission | undefined,
  grants: Grants,
): Omit<Need, 'by'> {
  const { allow } = grants;
  const gives = (granted: string): boolean =>
    permission === undefined
      ? granted === grant || granted === '*'
      : isGranted(permission, { ...grants, allow: only(list, granted) });
  // An exact one is the better answer to who gives it.
  const grantedBy =
    allow[list].find((granted) => granted === grant && gives(granted)) ?? allow[list].find(gives);
  return { list, grant, grantedBy, never: permission && neverGranted(permission, grant, grants) };
}

function neverGranted(permission: Permission, grant: string, grants: Grants): string | undefined {
  if (isOwn(permission, grants)) return 'it is the agent’s own';
  // In a list it would be a pattern, and grant more than this one.
  return grant.includes('*') && permission.type !== 'path'
    ? 'its name has a *, which no exact grant can say'
    : undefined;
}

/** Of the same mount, rw gives ro as well. */
function withoutNarrower(permissions: readonly Permission[]): Permission[] {
  const writable = new Set(
    permissions.filter((p) => p.type === 'mount' && p.mode !== 'ro').map(({ value }) => value),
  );
  return permissions.filter((p) => p.type !== 'mount' || p.mode !== 'ro' || !writable.has(p.value));
}

function unusedGrants(resources: readonly ResourcePermissions[], allow: AllowList): Needs['unused'] {
  const all = resources.flatMap(({ permissions, fallback }) => [...permissions, ...fallback]);
  const isUsed = (list: ListName, grant: string): boolean =>
    list === 'kinds'
      ? resources.some(({ kind }) => grant === '*' || kind === grant)
      : all.some((p) => LISTS[p.type] === list && isGranted(p, { allow: only(list, grant) }));
  return listsOf(allow).flatMap(([list, grants]) =>
    grants.filter((grant) => !isUsed(list, grant)).map((grant) => ({ list, grant })),
  );
}

function listsOf(allow: AllowList): [ListName, readonly string[]][] {
  return AllowList.keyof().options.map((list) => [list, allow[list]]);
}

function only(list: ListName, grant: string): AllowList {
  return { ...NOTHING, [list]: [grant] };
}
const NOTHING = AllowList.parse({});
