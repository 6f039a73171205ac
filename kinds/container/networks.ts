// Which networks a container is to be in, and how that is brought about of one that is there. What the engine has is
// changed in place.
import { ask, type Container } from '../docker-engine.ts';
import type { Change } from '../kind.ts';
import type { Docker } from '../ports.ts';
import type { ContainerSpec } from './schema.ts';

/** The network that it is made with. */
export function modeOf({ network, networks = [] }: ContainerSpec): string {
  return network ?? networks[0]?.name ?? 'bridge';
}

/** The container in whose network it is; undefined where it has its own. */
export function peerOf({ network }: ContainerSpec): string | undefined {
  return network?.startsWith('container:') ? network.slice('container:'.length) : undefined;
}

/** By name, its aliases there; empty where there is nothing to connect. */
export function networksWanted(spec: ContainerSpec): ReadonlyMap<string, readonly string[]> {
  const first = modeOf(spec);
  if (first === 'host' || first === 'none' || peerOf(spec) !== undefined) return new Map();
  return new Map([
    [first, []],
    ...(spec.networks ?? []).map(({ name, aliases = [] }) => [name, aliases] as const),
  ]);
}

/** The networks it is connected to, with its aliases there; empty before its first start on some engines. */
export function networksOf({ NetworkSettings }: Container): ReadonlyMap<string, readonly string[]> {
  const found = Object.entries(NetworkSettings.Networks ?? {});
  return new Map(found.map(([name, endpoint]) => [name, endpoint?.Aliases ?? []]));
}

/** @param peer the container that has the name in `container:NAME` now; the engine keeps the ID of the one at the start. */
export function networkChanges(
  spec: ContainerSpec,
  container: Container,
  peer: Container | undefined,
): Change[] {
  const mode = container.HostConfig.NetworkMode;
  if (peer !== undefined && mode !== `container:${peer.Id}` && mode !== spec.network) {
    return [{ what: 'container', from: `in the network of ${mode}`, to: `of container:${peer.Id}` }];
  }
  const { join, leave } = movesOf(spec, container);
  if (join.length === 0 && leave.length === 0) return [];
  const wanted = networksWanted(spec);
  const shown = (networks: ReadonlyMap<string, readonly string[]>) =>
    [...networks].map(([name, aliases]) => [name, ...aliases.filter((a) => isMeant(a, wanted))].join(' as '));
  const [from, to] = [networksOf(container), wanted].map((networks) => shown(networks).join(', ') || 'none');
  return [{ what: 'network', from: from!, to: to! }];
}

/** Engines add names of their own. */
const isMeant = (alias: string, wanted: ReadonlyMap<string, readonly string[]>): boolean =>
  [...wanted.values()].some((aliases) => aliases.includes(alias));

/** Networks to be left, and then to be joined; one in which an alias is missing is both. */
function movesOf(spec: ContainerSpec, container: Container): { leave: string[]; join: string[] } {
  const wanted = networksWanted(spec);
  if (wanted.size === 0) return { leave: [], join: [] };
  const has = networksOf(container);
  const isThere = (name: string) =>
    wanted.get(name)?.every((alias) => has.get(name)?.includes(alias)) === true;
  return {
    leave: [...has.keys()].filter((name) => !isThere(name)),
    join: [...wanted.keys()].filter((name) => !has.has(name) || !isThere(name)),
  };
}

export async function mendNetworks(
  spec: ContainerSpec,
  container: Container,
  docker: Docker,
  signal: AbortSignal,
): Promise<void> {
  const { join, leave } = movesOf(spec, container);
  const wanted = networksWanted(spec);
  for (const network of leave) {
    const path = `/networks/${encodeURIComponent(network)}/disconnect`;
    await ask(docker, 'POST', path, { body: { Container: container.Id, Force: true }, signal });
  }
  for (const network of join) await connect(docker, network, container.Id, wanted.get(network)!, signal);
}

export async function connect(
  docker: Docker,
  network: string,
  id: string,
  aliases: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const path = `/networks/${encodeURIComponent(network)}/connect`;
  const body = { Container: id, ...(aliases.length === 0 ? {} : { EndpointConfig: { Aliases: aliases } }) };
  await ask(docker, 'POST', path, { body, signal });
}

/** Of the network that it is made with: an engine takes one at that moment (API 1.43 and older). */
export function networkingConfig(
  mode: string,
  aliases: readonly string[] | undefined,
): Record<string, unknown> | undefined {
  if (aliases === undefined || aliases.length === 0) return undefined;
  return { EndpointsConfig: { [mode]: { Aliases: aliases } } };
}
