// What a container is to see of the host, as the host resolves it now: every link followed, what a volume's options name,
// and what is mounted below. Shared by the kinds that make containers.
import path from 'node:path';
import { type Volume, volumeOf } from './docker-engine.ts';
import type { Permission } from './kind.ts';
import { type MountFacts, mountPermissions, volumePermission } from './mount-powers.ts';
import type { Docker, Mounts, Resolved } from './ports.ts';
import {
  isWithin,
  type Mounted,
  mountedBelow,
  type Place,
  parseTable,
  placeOf,
} from './shared/mount-table.ts';

export interface WantedBind {
  /** As the manifest names it. */
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly propagation?: string | undefined;
  /** Whether what is mounted below the source is seen, too. */
  readonly isRecursive: boolean;
}

export interface ResolvedBind extends WantedBind {
  readonly resolved: Resolved;
  /** What hides the agent's own: something empty is mounted there. As the container names it. */
  readonly covers: readonly string[];
  /** The agent's own paths that are hidden so. */
  readonly covered: readonly string[];
}

/**
 * Only what can't be written to is covered: through a writable mount what is above a cover can be moved away. What is
 * covered is a directory that stays: a file that is replaced, and a directory below /run that comes and goes with the
 * agent, would take its cover with it (the kernel drops what is mounted on what is removed elsewhere).
 */
export function resolveBind(bind: WantedBind, own: readonly string[], mounts: Mounts): ResolvedBind {
  const resolved = mounts.resolve(bind.source);
  const canCover = bind.readOnly && bind.propagation !== 'rshared' && resolved.type === 'directory';
  const covers = new Set<string>();
  const covered: string[] = [];
  for (const name of canCover ? own : []) {
    const real = mounts.resolve(name);
    if (real.path === resolved.path || !isWithin(real.path, resolved.path)) continue;
    const cover = coverOf(real, resolved.path, mounts);
    if (cover === undefined) continue;
    covered.push(name);
    if (cover !== '') covers.add(path.join(bind.target, path.relative(resolved.path, cover)));
  }
  return { ...bind, resolved, covers: [...covers], covered };
}

/**
 * The directory that is to be covered; '' for one that is not there, since each look at the container sees when it is;
 * undefined where it would be the whole mount, or hide much else.
 */
function coverOf(own: Resolved, source: string, mounts: Mounts): string | undefined {
  if (isWithin(own.path, '/run')) return source === '/' ? '/run' : undefined;
  const directory = directoryOf(own);
  if (mounts.resolve(directory).type === 'absent') return '';
  const isDeep = directory.split('/').length > 2;
  if (!isDeep || directory === source || !isWithin(directory, source)) return undefined;
  return directory;
}

const directoryOf = ({ type, path: own }: Resolved): string =>
  type === 'directory' ? own : path.dirname(own);

/** What is not there can't be seen: neither the thing itself nor the directory that it would be in. */
export const isThere = (own: Resolved, mounts: Mounts): boolean =>
  mounts.resolve(directoryOf(own)).type !== 'absent';

/** For what nothing can be mounted over. */
export function uncovered(bind: WantedBind, mounts: Mounts): ResolvedBind {
  return { ...bind, resolved: mounts.resolve(bind.source), covers: [], covered: [] };
}

export function bindPermissions(
  bind: ResolvedBind,
  own: readonly string[],
  mounts: Mounts,
  engineRoot: string | undefined,
): Permission[] {
  const { resolved, readOnly, propagation, covered } = bind;
  const facts: MountFacts = {
    sockets: resolved.path === '/' ? [] : mounts.socketsIn(resolved.hostPath).map(mounts.nameOf),
    links: resolved.type === 'file' ? resolved.links : 1,
    covers: covered,
    ...(propagation === undefined ? {} : { propagation }),
    ...(engineRoot === undefined ? {} : { engineRoot: mounts.nameOf(engineRoot) }),
  };
  const host = parseTable(mounts.table());
  const below = bind.isRecursive ? mountedBelow(host, resolved.hostPath) : [];
  return [
    ...mountPermissions(resolved.path, readOnly, facts),
    ...ownSeen(bind, own, mounts, host, below),
    ...submountPermissions(bind, mounts, facts, below),
  ];
}

/**
 * The agent's own by another name than its configuration has, so that no text shows that it is seen: through links, and
 * through what is bind-mounted elsewhere, which no cover over its own name hides.
 */
function ownSeen(
  { resolved, covered }: ResolvedBind,
  own: readonly string[],
  mounts: Mounts,
  host: readonly Mounted[],
  below: readonly Mounted[],
): Permission[] {
  const source = placeOf(host, resolved.hostPath);
  const isSeen = (real: Resolved, isCovered: boolean): boolean => {
    const isNamed = isWithin(real.path, resolved.path) || isWithin(resolved.path, real.path);
    if (isNamed) return !isCovered;
    const place = placeOf(host, real.hostPath);
    return place !== undefined && source !== undefined && touch(place, source);
  };
  const isAlias = (real: Resolved, { device, root, point }: Mounted): boolean => {
    const place = placeOf(host, real.hostPath);
    const isElsewhere = !isWithin(point, real.hostPath) && !isWithin(real.hostPath, point);
    return isElsewhere && place !== undefined && touch(place, { device, path: root });
  };
  return own
    .filter((name) => {
      const real = mounts.resolve(name);
      if (!isThere(real, mounts)) return false;
      return isSeen(real, covered.includes(name)) || below.some((other) => isAlias(real, other));
    })
    .map((value) => ({ type: 'mount', value, mode: 'ro', why: `${resolved.path} shows it` }));
}

/** Whether one of them is the other, or in it. */
function touch(a: Place, b: Place): boolean {
  return a.device === b.device && (isWithin(a.path, b.path) || isWithin(b.path, a.path));
}

/** An engine makes only the topmost of them read-only (moby before 25). All of the host was granted as such. */
function submountPermissions(
  { resolved }: ResolvedBind,
  mounts: Mounts,
  facts: MountFacts,
  below: readonly Mounted[],
): Permission[] {
  if (resolved.path === '/') return [];
  return below.flatMap(({ point, readOnly }) => {
    const { engineRoot } = facts;
    return mountPermissions(mounts.nameOf(point), readOnly, engineRoot === undefined ? {} : { engineRoot });
  });
}

/** A volume that is there is what its driver and options make it. */
export async function volumePermissions(
  name: string,
  readOnly: boolean,
  own: readonly string[],
  io: { readonly docker: Docker; readonly mounts: Mounts },
  signal: AbortSignal,
): Promise<Permission[]> {
  const volume = await volumeOf(io.docker, name, signal);
  return [
    ...mountPermissions(name, readOnly),
    ...(volume === undefined ? [] : optionPermissions(name, readOnly, volume, own, io.mounts)),
  ];
}

/** What the options of the `local` driver mount, as mount(8) takes them; of others nothing is known. */
export function optionPermissions(
  name: string,
  readOnly: boolean,
  { Driver, Options, Mountpoint }: Volume,
  own: readonly string[],
  mounts: Mounts,
): Permission[] {
  if (Driver !== 'local' && Driver !== '') return [volumePermission(name, `one of the driver ${Driver}`)];
  const { device = '', type = '', o = '' } = Options ?? {};
  if ((device === '' && type === '' && o === '') || type === 'tmpfs')
    return Mountpoint === undefined || type === 'tmpfs'
      ? []
      : placePermissions(Mountpoint, readOnly, own, mounts);
  const flags = o.split(',');
  const isRecursive = flags.includes('rbind');
  if (!(isRecursive || flags.includes('bind')) || !device.startsWith('/')) {
    return [volumePermission(name, `made with the device ${device || type}`)];
  }
  const bind = uncovered({ source: mounts.nameOf(device), target: '/', readOnly, isRecursive }, mounts);
  return bindPermissions(bind, own, mounts, undefined);
}

/** A volume is a directory that the engine made in its own; what has come to stand there instead is what is mounted. */
function placePermissions(
  mountpoint: string,
  readOnly: boolean,
  own: readonly string[],
  mounts: Mounts,
): Permission[] {
  const source = mounts.nameOf(mountpoint);
  const volumes = mounts.resolve(path.dirname(path.dirname(source))).hostPath;
  const expected = path.join(volumes, ...source.split('/').slice(-2));
  const bind = uncovered({ source, target: '/', readOnly, isRecursive: false }, mounts);
  const isMounted = parseTable(mounts.table()).some(({ point }) => point === expected);
  if (bind.resolved.hostPath === expected && !isMounted) return [];
  return bindPermissions(bind, own, mounts, undefined);
}
