// The project's containers: what they were made from, how they are, and their end.
import {
  ask,
  type Container as EngineContainer,
  inspect,
  isStatus,
  nameOf,
  removeContainer,
} from '../docker-engine.ts';
import type { Io } from './compose.ts';
import { LABEL } from './render.ts';

export interface Container {
  readonly id: string;
  readonly name: string;
  readonly service: string;
  /** 'running', 'paused', 'restarting', 'exited', 'created', 'dead', 'removing' (Engine API). */
  readonly state: string;
  readonly engine: EngineContainer;
  readonly labels: Readonly<Record<string, string>>;
  /** `NAME=value`; may hold secrets. */
  readonly env: readonly string[];
  readonly command: readonly string[];
  /** What compose calculated over all it was made from. */
  readonly hash: string;
}

const STOP_SECONDS = 10;

interface Listed {
  readonly Id: string;
  readonly Labels?: Readonly<Record<string, string>>;
}

/** Which containers are a document's. Two directories may have projects of one name. */
export interface Whose {
  /** Compose's name for it. */
  readonly project: string;
  readonly directory: string;
  /** Key of the document. */
  readonly document: string;
}

/** The containers of these services of the project, and all that carry our label, under an earlier name too. */
export async function containersOf(
  { project, directory, document }: Whose,
  services: ReadonlySet<string>,
  { docker, files }: Io,
  signal: AbortSignal,
): Promise<Container[]> {
  const query = { all: true, filters: { label: [`com.docker.compose.project=${project}`] } };
  const { body } = await ask(docker, 'GET', '/containers/json', { query, signal });
  const ours = (JSON.parse(body) as Listed[]).filter(({ Labels = {} }) => {
    if (Labels['com.docker.compose.oneoff'] === 'True') return false; // of `docker compose run`
    if (services.has(Labels['com.docker.compose.service'] ?? '')) return true;
    const isHere =
      Labels['com.docker.compose.project.working_dir'] === (files.hostPath?.(directory) ?? directory);
    return Labels[LABEL.document] === document || (isHere && LABEL.document in Labels);
  });
  const found: Container[] = [];
  for (const { Id } of ours) {
    const container = await inspect(docker, Id, signal);
    if (container === undefined) continue;
    const { Config, State } = container;
    const labels = Config.Labels ?? {};
    found.push({
      id: Id,
      name: nameOf(container),
      service: labels['com.docker.compose.service'] ?? '',
      state: State.Status,
      engine: container,
      labels,
      env: Config.Env ?? [],
      command: Config.Cmd ?? [],
      hash: labels['com.docker.compose.config-hash'] ?? '',
    });
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * Compose makes a container anew under a name with twelve hex digits before it, and renames it when the old one is gone.
 * Ended in between, it leaves that name for good.
 */
const HALF_MADE = /^[0-9a-f]{12}_(.+)$/;

export const isHalfMade = ({ name }: Container): boolean => HALF_MADE.test(name);

/** Where the old one is there, the half-made one goes; otherwise it takes its name. Then compose can go on. */
export async function mendHalfMade(
  containers: readonly Container[],
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  for (const { id, name } of containers) {
    const whole = HALF_MADE.exec(name)?.[1];
    if (whole === undefined) continue;
    if (containers.some((other) => other.name === whole)) await removeContainer(io.docker, id, signal);
    else await change(`/containers/${id}/rename`, { name: whole }, io, signal);
  }
}

/** Compose does not wake what somebody froze. */
export async function unpauseAll(
  containers: readonly Container[],
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  for (const { id, state } of containers) {
    if (state === 'paused') await change(`/containers/${id}/unpause`, {}, io, signal);
  }
}

/** Its mounts are made anew. */
export function restart({ id }: Container, io: Io, signal: AbortSignal): Promise<void> {
  return change(`/containers/${id}/restart`, { t: STOP_SECONDS }, io, signal);
}

/** Stops it as `docker stop` does and removes it; volumes stay, those that nobody named too. */
export async function remove({ id }: Container, io: Io, signal: AbortSignal): Promise<void> {
  await change(`/containers/${id}/stop`, { t: STOP_SECONDS }, io, signal);
  await removeContainer(io.docker, id, signal);
}

async function change(
  path: string,
  query: Record<string, number | string>,
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  try {
    await ask(io.docker, 'POST', path, { query, signal });
  } catch (error) {
    // It went away meanwhile, or somebody else did the same.
    if (!isStatus(error, 404) && !isStatus(error, 409)) throw error;
  }
}
