// How a container that is there differs from what its spec asks for. Pure.
import { isSecretRef } from '../../api/documents.ts';
import { type Now, newerThan, type Sources, startOf } from '../container-start.ts';
import { anonymousVolumes, type Container, describeContainer, nameOf } from '../docker-engine.ts';
import { backoffMs } from '../docker-verdict.ts';
import type { Change } from '../kind.ts';
import type { ResolvedBind } from '../mounts-wanted.ts';
import { bytesOf, nanoCpus, OWNER_LABEL, restartPolicy, SPEC_LABEL, specDigest } from './create.ts';
import { deviceChanges, movedChanges, type ResolvedDevice } from './devices.ts';
import { networkChanges } from './networks.ts';
import type { ContainerSpec, D, Memory } from './schema.ts';

export function isOurs(key: string, container: Container): boolean {
  return container.Config.Labels?.[OWNER_LABEL] === key;
}

/** What can be changed of a container that exists; all else takes another one. */
const MENDABLE = ['restart', 'network', 'memory', 'cpus', 'pidsLimit'];

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
  /** Where the spec's bind mounts and devices lead now. */
  readonly binds?: readonly ResolvedBind[];
  readonly devices?: readonly ResolvedDevice[];
  /** Containers that see what is not granted, with what that is, by ID. */
  readonly refused?: ReadonlyMap<string, string>;
}

/** How a container of ours differs from what is wanted; [] when it is as wanted, running or not. */
export function configChanges(
  d: D,
  container: Container,
  { peer, binds = [], devices = [] }: Around = {},
): Change[] {
  const { spec } = d;
  const changes: Change[] = [];
  const made = container.Config.Labels?.[SPEC_LABEL] ?? 'none';
  if (made !== specDigest(spec)) {
    const from = container.Config.Image === spec.image ? `of spec ${made}` : container.Config.Image;
    const to = container.Config.Image === spec.image ? `of spec ${specDigest(spec)}` : spec.image;
    changes.push({ what: 'container', from, to });
  }
  if (changes.length === 0) changes.push(...sourceChanges(binds, container));
  if (changes.length === 0) changes.push(...deviceChanges(devices, container));
  changes.push(...envChanges(d, container), ...limitChanges(spec, container));
  const policy = container.HostConfig.RestartPolicy.Name || 'no';
  const wanted = restartPolicy(spec).Name;
  if (policy !== wanted) changes.push({ what: 'restart', from: policy, to: wanted });
  changes.push(...networkChanges(spec, container, peer));
  return changes;
}

function sourceChanges(binds: readonly ResolvedBind[], { HostConfig }: Container): Change[] {
  return movedChanges(
    binds,
    (HostConfig.Mounts ?? []).map(({ Target, Source }) => [Target, Source]),
  );
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
function limitChanges(spec: ContainerSpec, { HostConfig }: Container): Change[] {
  const { memory, cpus, pidsLimit } = spec;
  const { Memory: bytes, NanoCpus: nano, PidsLimit: pids } = HostConfig;
  const limits: readonly [
    what: string,
    isRight: boolean,
    has: string,
    wanted: string | number | undefined,
  ][] = [
    ['memory', bytes === bytesOf(memory), bytes ? `${bytes} bytes` : '', memory],
    ['cpus', nano === nanoCpus(spec), nano ? String(Number(nano) / 1e9) : '', cpus],
    ['pidsLimit', pids === pidsLimit, Number(pids) > 0 ? String(pids) : '', pidsLimit],
  ];
  return limits.flatMap(([what, isRight, has, wanted]) =>
    wanted === undefined || isRight ? [] : [{ what, from: has || 'no limit', to: String(wanted) }],
  );
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
    ...startOf(container, d.memory, nowOf(d, sources)),
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
