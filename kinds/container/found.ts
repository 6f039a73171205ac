// Which containers there are that concern a resource: the one that has its name, and those that carry its label.
// More than one is ours while one takes the place of another, and after a crash in the middle of that.
import { Stalled } from '../../api/errors.ts';
import type { Sources } from '../container-start.ts';
import { type Container, describeContainer, inspect, nameOf, withLabel } from '../docker-engine.ts';
import { logOf } from '../docker-verdict.ts';
import type { Change } from '../kind.ts';
import type { Ports } from '../ports.ts';
import { OWNER_LABEL } from './create.ts';
import { configChanges, envSecrets, isOurs, isUsable, stateChanges } from './drift.ts';
import { oldImages } from './image.ts';
import { peerOf } from './networks.ts';
import type { D } from './schema.ts';
import { type Given, givenTo, refusalsOf } from './sources.ts';

/** With where the spec's bind mounts and devices lead now. */
export interface Found extends Given {
  /** Who has the name, ours or not. */
  readonly holder: Container | undefined;
  /** With our label, the holder too. */
  readonly ours: readonly Container[];
  /** The one in whose network it is to be. */
  readonly peer: Container | undefined;
  /** Of ours, those that see what is not granted, with what that is, by ID. */
  readonly refused: ReadonlyMap<string, string>;
}

export interface Observed extends Found {
  readonly nowMs: number;
  readonly sources: Sources;
  /** What the one in service wrote, where it is not well. */
  readonly log: string;
}

export async function find(d: D, io: Pick<Ports, 'docker' | 'mounts'>, signal: AbortSignal): Promise<Found> {
  const { name } = d.spec;
  const { docker } = io;
  const ours = await withLabel(docker, `${OWNER_LABEL}=${d.key}`, signal);
  const holder =
    ours.find((container) => nameOf(container) === name) ?? (await inspect(docker, name, signal));
  const shared = peerOf(d.spec);
  return {
    ours,
    holder,
    peer: shared === undefined ? undefined : await inspect(docker, shared, signal),
    ...givenTo(d, io.mounts),
    refused: await refusalsOf(d, ours, io, signal),
  };
}

export async function observe(
  d: D,
  io: Pick<Ports, 'docker' | 'files' | 'mounts' | 'clock'>,
  signal: AbortSignal,
): Promise<Observed> {
  const found = await find(d, io, signal);
  const nowMs = io.clock.now();
  const container = current(d, found);
  const log =
    container === undefined
      ? ''
      : await logOf({ name: d.spec.name, container, nowMs }, io.docker, envSecrets(d), signal);
  return { ...found, nowMs, sources: sourcesOf(d, io), log };
}

export function sourcesOf({ spec }: D, { files }: Pick<Ports, 'files'>): Sources {
  if (files.bornAtMs === undefined) return {};
  const binds = (spec.mounts ?? []).flatMap((mount) => (mount.type === 'bind' ? [mount.source] : []));
  return Object.fromEntries(binds.map((source) => [source, files.bornAtMs!(source)]));
}

/** The one of ours that is, or can be made, what is wanted; undefined when another must be made. */
export function usable(d: D, found: Found): Container | undefined {
  const { holder, ours } = found;
  const fitting = ours.filter((container) => isUsable(d, container, found));
  return (
    fitting.find(({ Id }) => Id === holder?.Id) ?? fitting.find(({ State }) => State.Running) ?? fitting[0]
  );
}

/** The one that is to be judged, and mended. */
export const current = (d: D, found: Found): Container | undefined =>
  usable(d, found) ?? inService(d.key, found);

/** The one in service now, as wanted or not. */
export function inService(key: string, { holder, ours }: Found): Container | undefined {
  if (holder !== undefined && isOurs(key, holder)) return holder;
  return ours.find(({ State }) => State.Running) ?? ours[0];
}

export function changesOf(d: D, found: Observed): Change[] {
  const { holder, ours, peer, refused, nowMs, sources } = found;
  const changes: Change[] = [];
  if (holder !== undefined && !isOurs(d.key, holder)) {
    changes.push({ what: 'owner', from: `a container ${d.spec.name} of somebody else`, to: 'homeostat' });
  }
  const one = current(d, found);
  if (one === undefined) {
    changes.push({ what: 'container', from: 'absent', to: d.spec.image });
    return changes;
  }
  for (const refusal of refused.values())
    changes.push({ what: 'mounts', from: refusal, to: 'what is granted' });
  changes.push(...configChanges(d, one, found), ...stateChanges(d, one, nowMs, peer, sources));
  for (const other of ours.filter(({ Id }) => Id !== one.Id)) {
    const what = `also ${nameOf(other)}`;
    // One that waits, stopped, to be put back is no difference until what replaced it is confirmed.
    if (d.heal) changes.push({ what, from: describeContainer(other), to: 'removed' });
    else if (other.State.Running) changes.push({ what, from: 'running', to: 'stopped' });
  }
  // None before a change is confirmed: they are the way back.
  const old = d.heal ? oldImages(d, one.Image) : [];
  if (old.length > 0)
    changes.push({ what: 'image', from: `${old.length} that it had before`, to: 'removed' });
  return changes;
}

/** @throws Stalled when the name is somebody else's, and is not to be taken over. */
export function requireName(d: D, { holder }: Found): void {
  if (holder === undefined || isOurs(d.key, holder) || d.spec.adopt === true) return;
  const { name } = d.spec;
  throw new Stalled(
    'NotOurs',
    `there is a container ${name} that homeostat did not make, and it is left alone: rename it (docker rename ${name} …), or say adopt: true to have it stopped, kept, and put back when this document goes`,
  );
}
