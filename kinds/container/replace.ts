// How a container takes its place. In this order, so that a crash at any step leaves at most one that runs, and the
// next pass goes on from whatever it finds:
//   1. the new one is made under another name (what the engine refuses is refused here, with nothing touched);
//   2. whoever has the name, and whatever else of ours runs, is told not to start again, stopped, and renamed;
//   3. the new one gets its name, and is started.
// The old one stays, stopped, until the new one is confirmed, and is a difference from then on (found.ts); or it is put
// back (undo.ts). Volumes that nobody named go from the one to the other, and are never removed.
import { Stalled, Waiting } from '../../api/errors.ts';
import type { Sources } from '../container-start.ts';
import {
  anonymousVolumes,
  ask,
  type Container,
  EngineError,
  imageID,
  inspect,
  isStatus,
  nameOf,
  removeContainer,
  withLabel,
} from '../docker-engine.ts';
import type { Change } from '../kind.ts';
import type { Docker, Ports } from '../ports.ts';
import { bytesOf, createBody, nanoCpus, OWNER_LABEL, restartPolicy, specDigest } from './create.ts';
import { memoryOf, stateChanges } from './drift.ts';
import { type Found, find, inService, requireName, sourcesOf, usable } from './found.ts';
import { oldImages, pullImage, removeImages } from './image.ts';
import { mendNetworks } from './networks.ts';
import type { D, Memory } from './schema.ts';
import { type Given, requireSeen, requireSources } from './sources.ts';

type Io = Pick<Ports, 'docker' | 'files' | 'mounts'>;

/** A container may take 100 seconds to stop by its spec, and 10 without one. */
const STOP_TIMEOUT_MS = 130_000;
const MOUNT_AGAIN_MS = 30_000;

/** @throws Stalled when the engine refuses the new container. */
export async function bringAbout(
  changes: readonly Change[],
  d: D,
  io: Io,
  signal: AbortSignal,
): Promise<Memory> {
  const { docker } = io;
  let found = await find(d, io, signal);
  if (await endRefused(found, docker, signal)) found = await find(d, io, signal);
  const sources = sourcesOf(d, io);
  requireName(d, found);
  // Just before it is used: what the loop had judged may lead elsewhere by now.
  const given = await requireSources(d, io, signal);
  const chosen = usable(d, { ...found, ...given }) ?? (await make(d, found, given, io, signal));
  const stranger = found.ours.includes(found.holder!) ? undefined : found.holder;
  for (const other of [...found.ours, ...(stranger === undefined ? [] : [stranger])]) {
    if (other.Id === chosen.Id) continue;
    if (other.Id === found.holder?.Id || other.State.Running) await retire(d, other, docker, signal);
  }
  if (nameOf(chosen) !== d.spec.name) await rename(docker, chosen.Id, d.spec.name, signal);
  await mend(d, chosen, docker, signal);
  await run(d, chosen, found.peer, sources, docker, signal);
  const started = await inspect(docker, chosen.Id, signal);
  if (started !== undefined) await requireSeen(d, started, io, signal);
  // What runs was confirmed before: what was replaced is not needed to go back.
  const isOver = d.heal && changes.length > 0;
  const replaced = found.ours.filter(({ Id }) => Id !== chosen.Id).map(({ Image }) => Image);
  const old = oldImages(d, chosen.Image, replaced);
  if (isOver) {
    await removeOthers(d.key, chosen.Id, docker, signal);
    await removeImages(old, docker, signal);
  }
  const now = await inspect(docker, chosen.Id, signal);
  const memory = memoryOf(d, now ?? chosen, sources);
  return isOver || old.length === 0 ? memory : { ...memory, oldImages: old };
}

/** Ends those of ours that see what is not granted. */
export async function contain(d: D, io: Io, signal: AbortSignal): Promise<void> {
  await endRefused(await find(d, io, signal), io.docker, signal);
}

/** They are killed, not asked to stop. @returns whether there were any */
async function endRefused({ refused }: Found, docker: Docker, signal: AbortSignal): Promise<boolean> {
  for (const id of refused.keys()) await removeContainer(docker, id, signal);
  return refused.size > 0;
}

async function make(
  d: D,
  found: Found,
  given: Given,
  { docker, mounts }: Io,
  signal: AbortSignal,
): Promise<Container> {
  const { spec } = d;
  // The engine would only say so at the start, when the old one is stopped. It may run in a machine of its own, where
  // this one shows no mounts.
  const absent = given.devices.find(({ resolved }) => resolved.type === 'absent');
  if (absent !== undefined && mounts.table() !== '') {
    const { path } = absent.resolved;
    throw new Waiting('DeviceMissing', `there is no device ${path} on this host`, MOUNT_AGAIN_MS);
  }
  const name = `${spec.name}.homeostat-new`;
  // Left by an agent that was killed, and made for something else.
  for (const { Id } of found.ours.filter((c) => nameOf(c) === name))
    await removeContainer(docker, Id, signal);
  const old = found.holder ?? inService(d.key, found);
  const volumes = { ...d.memory?.volumes, ...(old === undefined ? {} : anonymousVolumes(old)) };
  const image = await imageFor(d, docker, signal);
  const body = createBody(d, { image, ...given, volumes });
  let id: string;
  try {
    const answer = await ask(docker, 'POST', '/containers/create', { query: { name }, body, signal });
    id = (JSON.parse(answer.body) as { Id: string }).Id;
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    if (/bind source path does not exist/.test(error.message)) {
      throw new Waiting('MountMissing', `${error.message} (on this host)`, MOUNT_AGAIN_MS);
    }
    // 409: the name is taken, 404: the image was removed this very moment, 5xx: the engine's own trouble.
    if ([404, 409].includes(error.status) || error.status >= 500) throw error;
    throw refusal(d, 'Refused', error.message);
  }
  const made = await inspect(docker, id, signal);
  if (made === undefined) throw new Error(`somebody removed the container ${name} as soon as it was made`);
  return made;
}

/** What is healed is made of the very image that was confirmed, as long as that is here. */
async function imageFor(d: D, docker: Docker, signal: AbortSignal): Promise<string> {
  const { spec, memory } = d;
  const confirmed = d.heal && memory?.spec === specDigest(spec) ? memory.image : undefined;
  const named = await imageID(docker, spec.image, signal);
  if (confirmed !== undefined && confirmed !== named) {
    if ((await imageID(docker, confirmed, signal)) !== undefined) return confirmed;
  }
  if (named === undefined) {
    await pullImage(d, spec.pull === 'never' ? 'never' : 'missing', docker, signal);
  }
  return spec.image;
}

/** Out of the way, and not started again by the engine, neither now nor at the next boot. */
async function retire({ spec }: D, container: Container, docker: Docker, signal: AbortSignal): Promise<void> {
  const { Id, HostConfig, State } = container;
  if (!['', 'no'].includes(HostConfig.RestartPolicy.Name)) {
    const body = { RestartPolicy: { Name: 'no' } };
    await ask(docker, 'POST', `/containers/${Id}/update`, { body, signal });
  }
  if (State.Running) await stop(docker, Id, signal);
  if (nameOf(container) === spec.name) {
    await rename(docker, Id, `${spec.name}.homeostat-kept-${Id.slice(0, 12)}`, signal);
  }
}

async function stop(docker: Docker, id: string, signal: AbortSignal): Promise<void> {
  const timeoutMs = STOP_TIMEOUT_MS;
  await ask(docker, 'POST', `/containers/${id}/stop`, { timeoutMs, signal }); // 304 when it does not run
}

export async function rename(docker: Docker, id: string, name: string, signal: AbortSignal): Promise<void> {
  await ask(docker, 'POST', `/containers/${id}/rename`, { query: { name }, signal });
}

/** What can be changed of a container that is there. */
async function mend({ spec }: D, container: Container, docker: Docker, signal: AbortSignal): Promise<void> {
  const { Id, HostConfig } = container;
  const update: Record<string, unknown> = {};
  const policy = restartPolicy(spec);
  if ((HostConfig.RestartPolicy.Name || 'no') !== policy.Name) update['RestartPolicy'] = policy;
  const memory = bytesOf(spec.memory);
  if (memory !== undefined && HostConfig['Memory'] !== memory) {
    // With swap as the engine would have it of itself: it refuses less than the memory.
    Object.assign(update, { Memory: memory, MemorySwap: 2 * memory });
  }
  const cpus = nanoCpus(spec);
  if (cpus !== undefined && HostConfig['NanoCpus'] !== cpus) update['NanoCpus'] = cpus;
  const { pidsLimit } = spec;
  if (pidsLimit !== undefined && HostConfig['PidsLimit'] !== pidsLimit) update['PidsLimit'] = pidsLimit;
  if (Object.keys(update).length > 0) {
    await ask(docker, 'POST', `/containers/${Id}/update`, { body: update, signal });
  }
  await mendNetworks(spec, container, docker, signal);
}

/** Started; whether it stays is not waited for. */
async function run(
  d: D,
  chosen: Container,
  peer: Container | undefined,
  sources: Sources,
  docker: Docker,
  signal: AbortSignal,
): Promise<void> {
  const { Id, State } = chosen;
  const isStale = stateChanges(d, chosen, Number.POSITIVE_INFINITY, peer, sources).some(
    ({ what }) => what === 'process',
  );
  const job = isStale ? 'restart' : State.Paused ? 'unpause' : State.Running ? undefined : 'start';
  if (job === undefined) return;
  try {
    await ask(docker, 'POST', `/containers/${Id}/${job}`, { timeoutMs: STOP_TIMEOUT_MS, signal });
  } catch (error) {
    // What can't be started now may be started later, if it ever was.
    if (!(error instanceof EngineError) || isStatus(error, 409)) throw error;
    throw refusal(d, 'StartFailed', error.message);
  }
}

/** Of ours, all but one: what was kept of a change that is over. Volumes stay. */
export async function removeOthers(
  key: string,
  id: string,
  docker: Docker,
  signal: AbortSignal,
): Promise<void> {
  const ours = await withLabel(docker, `${OWNER_LABEL}=${key}`, signal);
  for (const container of ours.filter((c) => c.Id !== id)) {
    if (container.State.Running) await stop(docker, container.Id, signal).catch(unlessEngine);
    await removeContainer(docker, container.Id, signal);
  }
}

/** What can't be stopped is killed. */
function unlessEngine(error: unknown): void {
  if (!(error instanceof EngineError)) throw error;
}

/** A state that ran here before is not refused for failing now: what is in its way may pass. */
function refusal(d: D, reason: 'Refused' | 'StartFailed', message: string): Error {
  return d.heal ? new Error(message) : new Stalled(reason, message);
}
