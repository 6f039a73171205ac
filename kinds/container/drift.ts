// How a container that is there differs from what its spec asks for. Pure.
import { isSecretRef } from '../../api/documents.ts';
import { type Now, newerThan, type Sources, startOf } from '../container-start.ts';
import { anonymousVolumes, type Container, describeContainer, nameOf } from '../docker-engine.ts';
import { backoffMs } from '../docker-verdict.ts';
import type { Change } from '../kind.ts';
import type { ResolvedBind } from '../mounts-wanted.ts';
import { bytesOf, OWNER_LABEL, restartPolicy, SPEC_LABEL, specDigest } from './create.ts';
import type { ContainerSpec, D, Memory } from './schema.ts';

export function isOurs(key: string, container: Container): boolean {
  return container.Config.Labels?.[OWNER_LABEL] === key;
}

/** What can be changed of a container that exists; all else takes another one. */
const MENDABLE = ['restart', 'network', 'memory'];

/** Whether it can be made what is wanted. */
export function isUsable(d: D, container: Container, around: Around = {}): boolean {
  return (
    !['removing', 'dead'].includes(container.State.Status) &&
    around.refused?.has(container.Id) !== true &&
    configChanges(d, container, around).every(({ what }) => MENDABLE.includes(what))
  );
}

/** What of the host concerns it. */
export interface Around {
  readonly peer?: Container | undefined;
  /** Where the spec's bind mounts lead now. */
  readonly binds?: readonly ResolvedBind[];
  /** Containers that see what is not granted, with what that is, by ID. */
  readonly refused?: ReadonlyMap<string, string>;
}

/** How a container of ours differs from what is wanted; [] when it is as wanted, running or not. */
export function configChanges(d: D, container: Container, { peer, binds = [] }: Around = {}): Change[] {
  const { spec } = d;
  const changes: Change[] = [];
  const made = container.Config.Labels?.[SPEC_LABEL] ?? 'none';
  if (made !== specDigest(spec)) {
    const from = container.Config.Image === spec.image ? `of spec ${made}` : container.Config.Image;
    const to = container.Config.Image === spec.image ? `of spec ${specDigest(spec)}` : spec.image;
    changes.push({ what: 'container', from, to });
  }
  if (changes.length === 0) changes.push(...sourceChanges(binds, container));
  changes.push(...envChanges(d, container), ...memoryChanges(spec, container));
  const policy = container.HostConfig.RestartPolicy.Name || 'no';
  const wanted = restartPolicy(spec).Name;
  if (policy !== wanted) changes.push({ what: 'restart', from: policy, to: wanted });
  changes.push(...networkChanges(spec, container, peer));
  return changes;
}

/** It was made with where a link led then. */
function sourceChanges(binds: readonly ResolvedBind[], { HostConfig }: Container): Change[] {
  const has = new Map((HostConfig.Mounts ?? []).map(({ Target, Source }) => [Target, Source]));
  const moved = binds.find(({ target, resolved }) => has.get(target) !== resolved.hostPath);
  if (moved === undefined) return [];
  const from = `with ${has.get(moved.target) ?? 'nothing'} at ${moved.target}`;
  return [{ what: 'container', from, to: `with ${moved.resolved.hostPath}` }];
}

/** Values that are shown nowhere, also not in what the program writes. */
export function envSecrets(d: D): string[] {
  const secret = Object.values(d.spec.env ?? {}).filter(isSecretRef);
  return secret.map((value) => d.content(value).bytes.toString('utf8'));
}

/** Only values of secrets can differ while the spec is the same; they are compared, and never shown. */
function envChanges(d: D, { Config }: Container): Change[] {
  const has = new Set(Config.Env ?? []);
  return Object.entries(d.spec.env ?? {})
    .filter(([name, value]) => isSecretRef(value) && !has.has(`${name}=${d.content(value).bytes}`))
    .map(([name]) => ({ what: `env ${name}`, from: '[another secret]', to: '[secret]' }));
}

/** A limit that the spec does not name is the host's owner's; the engine could not take most of them back. */
function memoryChanges({ memory }: ContainerSpec, { HostConfig }: Container): Change[] {
  const has = HostConfig['Memory'];
  if (memory === undefined || has === bytesOf(memory)) return [];
  return [{ what: 'memory', from: has ? `${has} bytes` : 'no limit', to: memory }];
}

/** The one network that the spec names; '' where there is nothing to connect. */
export function networkOf({ network = 'bridge' }: ContainerSpec): string {
  return network === 'host' || network === 'none' || network.startsWith('container:') ? '' : network;
}

/** The networks a container is connected to, by name; empty before its first start on some engines. */
export function networksOf({ NetworkSettings }: Container): string[] {
  return Object.keys(NetworkSettings.Networks ?? {});
}

/** The container in whose network it is; undefined where it has its own. */
export function peerOf({ network }: ContainerSpec): string | undefined {
  return network?.startsWith('container:') ? network.slice('container:'.length) : undefined;
}

/** @param peer the container that has the name in `container:NAME` now; the engine keeps the ID of the one at the start. */
function networkChanges(spec: ContainerSpec, container: Container, peer: Container | undefined): Change[] {
  const mode = container.HostConfig.NetworkMode;
  if (peer !== undefined && mode !== `container:${peer.Id}` && mode !== spec.network) {
    return [{ what: 'container', from: `in the network of ${mode}`, to: `of container:${peer.Id}` }];
  }
  const wanted = networkOf(spec);
  if (wanted === '') return [];
  const has = networksOf(container);
  if (has.length === 1 && has[0] === wanted) return [];
  return [{ what: 'network', from: has.join(', ') || 'none', to: wanted }];
}

/**
 * What a container of ours lacks of being where and how it should, apart from its configuration. One that the engine is
 * about to start again, or that has just ended by itself, is not started by us: how it is, is to be judged.
 */
export function stateChanges(
  d: D,
  container: Container,
  nowMs: number,
  peer?: Container,
  sources: Sources = {},
): Change[] {
  const changes: Change[] = [];
  const name = nameOf(container);
  if (name !== d.spec.name) changes.push({ what: 'name', from: name, to: d.spec.name });
  const { Running, Paused, Restarting } = container.State;
  if (Restarting || backoffMs(container, nowMs) > 0) return changes;
  if (!Running || Paused) {
    changes.push({ what: 'state', from: describeContainer(container), to: 'running' });
    return changes;
  }
  const stale = newerThan(container, d.memory, nowOf(d, sources)) ?? stalePeer(container, peer);
  if (stale !== undefined) {
    changes.push({ what: 'process', from: `started before ${stale}`, to: 'restarted' });
  }
  return changes;
}

export function memoryOf(d: D, container: Container, sources: Sources): Memory {
  return {
    spec: specDigest(d.spec),
    image: container.Image,
    ...startOf(container, nowOf(d, sources)),
    volumes: anonymousVolumes(container),
  };
}

const nowOf = ({ spec: { restartOn = [] }, inputs }: D, sources: Sources): Now => ({
  restartOn,
  inputs,
  sources,
});

/** Another start of the container whose network it shares: that is another network. */
function stalePeer({ State }: Container, peer: Container | undefined): string | undefined {
  if (peer === undefined || !peer.State.Running) return undefined;
  const isNewer = Date.parse(peer.State.StartedAt) > Date.parse(State.StartedAt);
  return isNewer ? `the container ${nameOf(peer)}, whose network it is in` : undefined;
}
