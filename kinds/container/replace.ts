// How a container takes its place. In this order, so that a crash at any step leaves at most one that runs, and the
// next pass goes on from whatever it finds:
//   1. the new one is made under another name (what the engine refuses is refused here, with nothing touched);
//   2. whoever has the name, and whatever else of ours runs, is told not to start again, stopped, and renamed;
//   3. the new one gets its name, and is started.
// The old one stays, stopped, until the new one is confirmed (index.ts) or it is put back (undo.ts).
import { Stalled, Waiting } from '../../api/errors.ts';
import type { Json } from '../../api/json.ts';
import {
  ask,
  type Container,
  EngineError,
  imageID,
  inspect,
  isStatus,
  nameOf,
  removeContainer,
  requireImage,
  withLabel,
} from '../docker-engine.ts';
import type { Change, Desired } from '../kind.ts';
import type { Docker, Ports } from '../ports.ts';
import {
  createBody,
  memoryIn,
  memoryOf,
  networkOf,
  networksOf,
  OWNER_LABEL,
  restartPolicy,
  specDigest,
  stateChanges,
} from './create.ts';
import { type Found, find, requireName, usable } from './found.ts';
import { evidence, settle } from './gate.ts';
import type { ContainerSpec } from './schema.ts';

type Io = Pick<Ports, 'docker' | 'files' | 'clock'>;
type D = Desired<ContainerSpec>;

/** A container may take 100 seconds to stop by its spec, and 10 without one. */
const STOP_TIMEOUT_MS = 130_000;
const MOUNT_AGAIN_MS = 30_000;

/** @throws Stalled when the engine refuses the new container, or when it does not stay up. */
export async function bringAbout(
  changes: readonly Change[],
  d: D,
  io: Io,
  signal: AbortSignal,
): Promise<Json> {
  const { docker } = io;
  const found = await find(d.key, d.spec.name, docker, signal);
  requireName(d, found);
  const chosen = usable(d, found) ?? (await make(d, found, io, signal));
  const stranger = found.ours.includes(found.holder!) ? undefined : found.holder;
  for (const other of [...found.ours, ...(stranger === undefined ? [] : [stranger])]) {
    if (other.Id === chosen.Id) continue;
    if (other.Id === found.holder?.Id || other.State.Running) await retire(d, other, docker, signal);
  }
  if (nameOf(chosen) !== d.spec.name) await rename(docker, chosen.Id, d.spec.name, signal);
  await mend(d, chosen, docker, signal);
  await run(d, chosen, io, signal);
  // Nothing new is tried: what was replaced is not needed for a way back.
  if (d.heal && changes.length > 0) await removeOthers(d.key, chosen.Id, docker, signal);
  const now = await inspect(docker, chosen.Id, signal);
  return memoryOf(d, now ?? chosen);
}

async function make(d: D, found: Found, { docker, files }: Io, signal: AbortSignal): Promise<Container> {
  const { spec } = d;
  const name = `${spec.name}.homeostat-new`;
  // Left by an agent that was killed, and made for something else.
  for (const { Id } of found.ours.filter((c) => nameOf(c) === name))
    await removeContainer(docker, Id, signal);
  const image = await imageFor(d, docker, signal);
  const body = createBody(d, { image, hostPath: (path) => files.hostPath?.(path) ?? path });
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
  const { spec } = d;
  const memory = memoryIn(d);
  const confirmed = d.heal && memory?.spec === specDigest(spec) ? memory.image : undefined;
  const named = await imageID(docker, spec.image, signal);
  if (confirmed !== undefined && confirmed !== named) {
    if ((await imageID(docker, confirmed, signal)) !== undefined) return confirmed;
  }
  if (named === undefined) {
    await requireImage(docker, spec.image, spec.pull === 'never' ? 'never' : 'missing', signal);
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

export async function stop(docker: Docker, id: string, signal: AbortSignal): Promise<void> {
  const timeoutMs = STOP_TIMEOUT_MS;
  await ask(docker, 'POST', `/containers/${id}/stop`, { timeoutMs, signal }); // 304 when it does not run
}

export async function rename(docker: Docker, id: string, name: string, signal: AbortSignal): Promise<void> {
  await ask(docker, 'POST', `/containers/${id}/rename`, { query: { name }, signal });
}

/** What can be changed of a container that is there. */
async function mend({ spec }: D, container: Container, docker: Docker, signal: AbortSignal): Promise<void> {
  const { Id, HostConfig } = container;
  const policy = restartPolicy(spec);
  if ((HostConfig.RestartPolicy.Name || 'no') !== policy.Name) {
    await ask(docker, 'POST', `/containers/${Id}/update`, { body: { RestartPolicy: policy }, signal });
  }
  const wanted = networkOf(spec);
  const networks = networksOf(container);
  if (wanted === '') return;
  for (const network of networks.filter((name) => name !== wanted)) {
    const path = `/networks/${encodeURIComponent(network)}/disconnect`;
    await ask(docker, 'POST', path, { body: { Container: Id, Force: true }, signal });
  }
  if (!networks.includes(wanted)) {
    const path = `/networks/${encodeURIComponent(wanted)}/connect`;
    await ask(docker, 'POST', path, { body: { Container: Id }, signal });
  }
}

/** Running, and of a new one: for longer than a moment. */
async function run(d: D, chosen: Container, io: Io, signal: AbortSignal): Promise<void> {
  const { docker } = io;
  const { Id, State } = chosen;
  const isStale = stateChanges(d, chosen).some(({ what }) => what === 'process');
  const job = isStale ? 'restart' : State.Paused ? 'unpause' : State.Running ? undefined : 'start';
  try {
    if (job !== undefined) {
      await ask(docker, 'POST', `/containers/${Id}/${job}`, { timeoutMs: STOP_TIMEOUT_MS, signal });
    }
  } catch (error) {
    // What can't be started now may be started later, if it ever was.
    if (!(error instanceof EngineError) || isStatus(error, 409)) throw error;
    throw refusal(d, 'StartFailed', error.message);
  }
  if (!d.heal) {
    const verdict = await settle(d, Id, io, signal);
    if (verdict.verdict !== 'Yes') throw refusal(d, verdict.reason, verdict.evidence);
    return;
  }
  const now = await inspect(docker, Id, signal);
  if (now !== undefined && (!now.State.Running || now.State.Restarting)) {
    throw new Error(await evidence(d, now, io, signal));
  }
}

/** Of ours, all but one: what was kept of a change that is over. */
export async function removeOthers(
  key: string,
  id: string,
  docker: Docker,
  signal: AbortSignal,
): Promise<void> {
  const ours = await withLabel(docker, `${OWNER_LABEL}=${key}`, signal);
  for (const container of ours.filter((c) => c.Id !== id)) {
    if (container.State.Running) await stop(docker, container.Id, signal);
    await removeContainer(docker, container.Id, signal);
  }
}

/** A state that ran here before is not refused for failing now: what is in its way may pass. */
function refusal(d: D, reason: string, message: string): Error {
  return d.heal ? new Error(message) : new Stalled(reason, message);
}
