// What a container that runs really sees of the host, from its own mount table: a link that was swapped after it was
// judged, and what the engine followed anew when it started the container again. Shared by the kinds that make containers.
import { type Container, inspect, isAnonymous, nameOf } from './docker-engine.ts';
import type { Judge, Permission } from './kind.ts';
import { mountPermissions } from './mount-powers.ts';
import { isThere } from './mounts-wanted.ts';
import type { Docker, Mounts } from './ports.ts';
import { isWithin, type Mounted, namesOf, type Place, parseTable, placeOf } from './shared/mount-table.ts';

interface Io {
  readonly docker: Docker;
  readonly mounts: Mounts;
}

/** Why what it sees is not granted, for people; undefined when all is, and for a container that does not run. */
export async function refusalOfSeen(
  judge: Judge,
  container: Container,
  io: Io,
  signal: AbortSignal,
  isKnown: (permissions: readonly Permission[]) => boolean = () => false,
): Promise<string | undefined> {
  const { Id, State, Mounts: mounts } = container;
  if (!State.Running || State.Pid === 0) return undefined;
  const host = io.mounts.table();
  // Without a table this is no Linux, and the engine is in a machine of its own.
  if (host === '') return undefined;
  const table = io.mounts.tableOf(Id, State.Pid);
  if (table !== undefined) {
    return refusalOf({ judge, container, io, host: parseTable(host), isKnown }, parseTable(table));
  }
  const now = await inspect(io.docker, Id, signal);
  if (now === undefined || !now.State.Running || now.State.Pid !== State.Pid) return undefined;
  if (mounts.every(({ Type }) => Type !== 'bind')) return undefined;
  return `what ${nameOf(container)} has mounted can't be seen: its process is none of this host`;
}

interface Look {
  readonly judge: Judge;
  readonly container: Container;
  readonly io: Io;
  readonly host: readonly Mounted[];
  readonly isKnown: (permissions: readonly Permission[]) => boolean;
}

function refusalOf(look: Look, table: readonly Mounted[]): string | undefined {
  const { judge, container, io, host, isKnown } = look;
  for (const own of judge.own) {
    const real = io.mounts.resolve(own);
    const place = isThere(real, io.mounts) ? placeOf(host, real.hostPath) : undefined;
    const sight = place === undefined ? undefined : sightOf(table, place);
    if (sight !== undefined) {
      return `${nameOf(container)} sees the agent’s own ${own}, as ${sight}, which no grant opens`;
    }
  }
  for (const mount of table) {
    const candidates = candidatesOf(look, mount);
    const refusals = candidates.map((needed) => (isKnown(needed) ? undefined : judge.refusal(needed)));
    if (candidates.length > 0 && refusals.every((refusal) => refusal !== undefined)) {
      return `${nameOf(container)} sees ${mount.point}: ${refusals[0]}`;
    }
  }
  return undefined;
}

/** Where a thing, or something in it, is seen. */
function sightOf(table: readonly Mounted[], place: Place): string | undefined {
  const inside = table.find(({ device, root }) => device === place.device && isWithin(root, place.path));
  return inside?.point ?? namesOf(table, place)[0];
}

/** By each name that the host has for it, what it needs; one of them has to be granted. None for what is no host's. */
function candidatesOf({ judge, container, io, host }: Look, mount: Mounted): Permission[][] {
  if (mount.root.endsWith('//deleted') || isEngines(container, mount)) return [];
  const names = namesOf(host, { device: mount.device, path: mount.root }).filter(
    (name) => !isEnginesFile(container, name),
  );
  if (names.length === 0 || isBelowAll(container, mount)) return [];
  const volume = container.Mounts.find(
    ({ Type, Source }) => Type === 'volume' && Source !== undefined && names.some((n) => isWithin(n, Source)),
  );
  const ofPath = (name: string) => {
    // That none of them is seen was looked at before.
    const covers = judge.own.filter(
      (own) => mount.readOnly && isWithin(io.mounts.resolve(own).hostPath, name),
    );
    return mountPermissions(io.mounts.nameOf(name), mount.readOnly, { covers });
  };
  if (volume === undefined) return names.map(ofPath);
  const { Name = '', Source = '' } = volume;
  const asked = isAnonymous(Name) ? [] : mountPermissions(Name, mount.readOnly);
  // With options, what the engine mounted at the volume's place is what counts.
  const isMounted = host.some(({ point }) => point === Source);
  const others = names.filter((name) => !isWithin(name, Source));
  if (!isMounted || others.length === 0) return [asked];
  return others.map((name) => [...asked, ...ofPath(name)]);
}

/** File systems that the engine mounts for every container, which are the host's own where it shares a namespace. */
function isEngines({ HostConfig }: Container, { point, type, readOnly, root }: Mounted): boolean {
  if (point === '/') return true;
  const isClosed = readOnly || HostConfig.Privileged === true;
  if (type === 'proc') return isWithin(point, '/proc') && HostConfig.PidMode === 'host';
  if (type === 'sysfs') return point === '/sys' && isClosed;
  if (type.startsWith('cgroup')) return isWithin(point, '/sys/fs/cgroup') && isClosed;
  return point === '/sbin/docker-init' && readOnly && /\/(?:docker-init|tini)$/.test(root);
}

/** Of the directory in which the engine keeps a container's hosts, names and shared memory. */
function isEnginesFile({ ResolvConfPath = '' }: Container, name: string): boolean {
  const [, containers] = /^(.*)\/[^/]+\/resolv\.conf$/.exec(ResolvConfPath) ?? [];
  if (containers === undefined || !name.startsWith(`${containers}/`)) return false;
  return /^\/[0-9a-f]{64}\/(?:hosts|hostname|resolv\.conf|mounts\/shm)$/.test(name.slice(containers.length));
}

/** What is mounted below all of the host was granted with that, whatever it is. */
function isBelowAll({ Mounts: mounts }: Container, { point }: Mounted): boolean {
  const above = mounts.filter(({ Destination }) => isWithin(point, Destination.replace(/(.)\/$/, '$1')));
  const [nearest] = above.toSorted((a, b) => b.Destination.length - a.Destination.length);
  return nearest?.Type === 'bind' && nearest.Source === '/' && nearest.Destination !== point;
}
