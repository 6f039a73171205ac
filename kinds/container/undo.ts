// Undo: what was made is removed, and the container that was in service before is again.
import * as z from 'zod';
import { Stalled } from '../../api/errors.ts';
import { devicePermission } from '../container-powers.ts';
import {
  anonymousVolumes,
  ask,
  type Container,
  imageID,
  inspect,
  isStatus,
  nameOf,
  withLabel,
} from '../docker-engine.ts';
import type { InventoryRecord } from '../kind.ts';
import { mountPermissions } from '../mount-powers.ts';
import type { Docker, Ports } from '../ports.ts';
import { OUR_LABELS } from './check.ts';
import { volumeMounts } from './create.ts';
import { enginesDevices } from './devices.ts';
import { isOurs } from './drift.ts';
import { connect, networkingConfig, networksOf } from './networks.ts';
import { removeOthers, rename } from './replace.ts';
import { requireSeen } from './sources.ts';

/** The ID of the container in whose place it was made. */
const MADE_AGAIN_LABEL = `${OUR_LABELS}instead-of`;

/** Of the container in service: whole, since what was kept may be gone when it is needed (`docker system prune`). */
const Kept = z.object({
  id: z.string(),
  name: z.string(),
  running: z.boolean(),
  paused: z.boolean(),
  image: z.string(),
  /** The engine's own, and given back to it as they are. */
  config: z.looseObject({
    Image: z.string(),
    Labels: z.record(z.string(), z.string()).nullish(),
  }),
  hostConfig: z.looseObject({
    RestartPolicy: z.looseObject({ Name: z.string() }),
    NetworkMode: z.string().optional(),
    Mounts: z.array(z.looseObject({ Target: z.string() })).nullish(),
  }),
  /** How often the engine had started it again; release 0.1 did not look. */
  restarts: z.int().optional(),
  /** Volumes that nobody named, by where it saw them. */
  volumes: z.record(z.string(), z.string()).optional(),
  /** Its networks, with its aliases there. */
  networks: z.record(z.string(), z.array(z.string())).optional(),
});
type Kept = z.infer<typeof Kept>;
export const Before = z.object({ before: Kept.nullable() });
export type Before = z.infer<typeof Before>;

export function beforeOf(container: Container | undefined): Before {
  if (container === undefined) return { before: null };
  const { Id, State, Image, Config, HostConfig, RestartCount } = container;
  const kept = {
    id: Id,
    name: nameOf(container),
    running: State.Running,
    paused: State.Paused,
    image: Image,
    config: Config,
    hostConfig: HostConfig,
    restarts: RestartCount,
    volumes: anonymousVolumes(container),
    networks: Object.fromEntries(networksOf(container)),
  };
  return { before: Kept.parse(kept) };
}

/** @throws Error when the old container can't be put back. */
export async function undo(
  { before }: Before,
  record: InventoryRecord,
  io: Pick<Ports, 'docker' | 'mounts'>,
  signal: AbortSignal,
): Promise<void> {
  const { docker } = io;
  const { key } = record;
  const found = before === null ? undefined : await stillThere(before, docker, signal);
  await removeOthers(key, found?.Id ?? '', docker, signal);
  if (before === null) return;
  const old = found ?? (await makeAgain(before, docker, signal));
  if (nameOf(old) !== before.name) await rename(docker, old.Id, before.name, signal);
  const policy = before.hostConfig.RestartPolicy;
  if (old.HostConfig.RestartPolicy.Name !== policy.Name) {
    await ask(docker, 'POST', `/containers/${old.Id}/update`, { body: { RestartPolicy: policy }, signal });
  }
  const { Running, Paused } = old.State;
  if (before.running && !Running) await start(record, old, io, signal);
  if (before.paused && !Paused) await ask(docker, 'POST', `/containers/${old.Id}/pause`, { signal });
  if (!before.paused && Paused) await ask(docker, 'POST', `/containers/${old.Id}/unpause`, { signal });
}

/** One of ours is judged as any start of ours is; another person's container sees what that person gave it. */
async function start(
  record: InventoryRecord,
  old: Container,
  io: Pick<Ports, 'docker' | 'mounts'>,
  signal: AbortSignal,
): Promise<void> {
  const { docker, mounts } = io;
  const wasOurs = isOurs(record.key, old);
  if (wasOurs) requireUnmoved(record, old, mounts);
  await ask(docker, 'POST', `/containers/${old.Id}/start`, { signal });
  const started = wasOurs ? await inspect(docker, old.Id, signal) : undefined;
  if (started !== undefined) await requireSeen(record, started, io, signal);
}

/** It was judged when it was made. @throws Stalled('NotAllowed') where its sources lead elsewhere now */
function requireUnmoved(record: InventoryRecord, container: Container, mounts: Ports['mounts']): void {
  const { HostConfig } = container;
  for (const { PathOnHost } of enginesDevices(container)) {
    const { path, hostPath } = mounts.resolve(mounts.nameOf(PathOnHost));
    const refusal = hostPath === PathOnHost ? undefined : record.refusal([devicePermission(path)]);
    if (refusal !== undefined) throw new Stalled('NotAllowed', refusal);
  }
  for (const { Type, Source = '', ReadOnly = false } of HostConfig.Mounts ?? []) {
    if (Type !== 'bind') continue;
    const { path, hostPath } = mounts.resolve(mounts.nameOf(Source));
    const refusal = hostPath === Source ? undefined : record.refusal(mountPermissions(path, ReadOnly));
    if (refusal !== undefined) throw new Stalled('NotAllowed', refusal);
  }
}

/** The very one, or the one that an undo made in its place before it was cut off. */
async function stillThere({ id }: Kept, docker: Docker, signal: AbortSignal): Promise<Container | undefined> {
  return (
    (await inspect(docker, id, signal)) ?? (await withLabel(docker, `${MADE_AGAIN_LABEL}=${id}`, signal))[0]
  );
}

/** The engine takes back what it shows of a container. @throws EngineError when somebody else has its name. */
async function makeAgain(before: Kept, docker: Docker, signal: AbortSignal): Promise<Container> {
  const { config, hostConfig, volumes = {}, networks = {} } = before;
  const image = (await imageID(docker, before.image, signal)) ?? config.Image;
  const mounts = hostConfig.Mounts ?? [];
  const mode = hostConfig.NetworkMode ?? '';
  const body = {
    ...config,
    Labels: { ...config.Labels, [MADE_AGAIN_LABEL]: before.id },
    Image: image,
    NetworkingConfig: networkingConfig(mode, networks[mode]),
    HostConfig: {
      ...hostConfig,
      Mounts: [
        ...mounts,
        ...volumeMounts(
          volumes,
          mounts.map(({ Target }) => ({ target: Target })),
        ),
      ],
    },
  };
  const query = { name: before.name };
  const { body: answer } = await ask(docker, 'POST', '/containers/create', { query, body, signal });
  const { Id } = JSON.parse(answer) as { Id: string };
  const made = (await inspect(docker, Id, signal))!;
  for (const [network, aliases] of Object.entries(networks)) {
    if (networksOf(made).has(network) || ['host', 'none', mode].includes(network)) continue;
    try {
      await connect(docker, network, Id, aliases, signal);
    } catch (error) {
      // One that is gone by now keeps nothing else from coming back.
      if (!isStatus(error, 404)) throw error;
    }
  }
  return made;
}
