// The way back: what was made is removed, and the container that was in service before is again.
import type { Json } from '../../api/json.ts';
import { ask, type Container, imageID, inspect, nameOf, withLabel } from '../docker-engine.ts';
import type { InventoryRecord, Snapshot } from '../kind.ts';
import type { Docker } from '../ports.ts';
import { OUR_LABELS } from './check.ts';
import { removeOthers, rename } from './replace.ts';

/** The ID of the container in whose place it was made. */
const MADE_AGAIN_LABEL = `${OUR_LABELS}instead-of`;

/** Of the container in service: whole, since what was kept may be gone when it is needed (`docker system prune`). */
interface Before {
  readonly id: string;
  readonly name: string;
  readonly running: boolean;
  readonly paused: boolean;
  readonly image: string;
  readonly config: Container['Config'];
  readonly hostConfig: Container['HostConfig'];
}
interface Data {
  readonly before: Before | null;
}

export function snapshotOf(container: Container | undefined): Snapshot {
  const data: Data = { before: container === undefined ? null : beforeOf(container) };
  return { existed: container !== undefined, data: data as unknown as Json };
}

function beforeOf(container: Container): Before {
  const { Id, State, Image, Config, HostConfig } = container;
  return {
    id: Id,
    name: nameOf(container),
    running: State.Running,
    paused: State.Paused,
    image: Image,
    config: Config,
    hostConfig: HostConfig,
  };
}

/** @throws Error when the old container can't be put back. */
export async function undo(
  snapshot: Snapshot,
  { key }: InventoryRecord,
  docker: Docker,
  signal: AbortSignal,
): Promise<void> {
  const { before } = snapshot.data as unknown as Data;
  await removeOthers(key, before?.id ?? '', docker, signal);
  if (before === null) return;
  const old = (await inspect(docker, before.id, signal)) ?? (await makeAgain(before, docker, signal));
  if (nameOf(old) !== before.name) await rename(docker, old.Id, before.name, signal);
  const policy = before.hostConfig.RestartPolicy;
  if (old.HostConfig.RestartPolicy.Name !== policy.Name) {
    await ask(docker, 'POST', `/containers/${old.Id}/update`, { body: { RestartPolicy: policy }, signal });
  }
  const { Running, Paused } = old.State;
  if (before.running && !Running) await ask(docker, 'POST', `/containers/${old.Id}/start`, { signal });
  if (before.paused && !Paused) await ask(docker, 'POST', `/containers/${old.Id}/pause`, { signal });
  if (!before.paused && Paused) await ask(docker, 'POST', `/containers/${old.Id}/unpause`, { signal });
}

/** The engine takes back what it shows of a container. @throws EngineError when somebody else has its name. */
async function makeAgain(before: Before, docker: Docker, signal: AbortSignal): Promise<Container> {
  // Of an undo that was cut off.
  const [made] = await withLabel(docker, `${MADE_AGAIN_LABEL}=${before.id}`, signal);
  if (made !== undefined) return made;
  const image = (await imageID(docker, before.image, signal)) ?? before.config.Image;
  const Labels = { ...before.config.Labels, [MADE_AGAIN_LABEL]: before.id };
  const body = { ...before.config, Labels, Image: image, HostConfig: before.hostConfig };
  const query = { name: before.name };
  const { body: answer } = await ask(docker, 'POST', '/containers/create', { query, body, signal });
  return (await inspect(docker, (JSON.parse(answer) as { Id: string }).Id, signal))!;
}
