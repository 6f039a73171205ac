// What kinds ask a Docker engine, over the Docker port: containers and images by the names that its API gives them.
// Facts: docs.docker.com/reference/api/engine, and moby 20.10 to 28 where the documents are silent.
import { Stalled, Waiting } from '../api/errors.ts';
import type { Docker, DockerRequest, HttpResponse, RegistryAccount } from './ports.ts';

/** Loopback, and no more than a look at a table. */
const ASK_TIMEOUT_MS = 15_000;
const CHANGE_TIMEOUT_MS = 60_000;
const PULL_WAIT_MS = 3_000;
const PULL_AGAIN_MS = 1_000;
const REGISTRY_AGAIN_MS = 30_000;
const DENIED = /denied|unauthorized|authentication required|no basic auth/i;

/** An answer with the status of a failure; its message is the engine's. */
export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** As it was asked for. */
interface EngineMount {
  readonly Type: string;
  readonly Source?: string;
  readonly Target: string;
  readonly ReadOnly?: boolean;
}

/** What is read of GET /containers/ID/json. */
export interface Container {
  readonly Id: string;
  /** With a slash before it. */
  readonly Name: string;
  /** The image's ID, whatever its name points to now. */
  readonly Image: string;
  readonly RestartCount: number;
  /** What runs in it: entrypoint and command as one. */
  readonly Path?: string;
  readonly Args?: readonly string[] | null;
  readonly State: {
    readonly Status: string;
    readonly Running: boolean;
    readonly Paused: boolean;
    readonly Restarting: boolean;
    readonly OOMKilled: boolean;
    readonly Pid: number;
    readonly ExitCode: number;
    readonly Error: string;
    /** RFC 3339; year 1 before the first start. */
    readonly StartedAt: string;
    /** Of the run before this one, while it runs. */
    readonly FinishedAt: string;
    readonly Health?: {
      readonly Status: 'none' | 'starting' | 'healthy' | 'unhealthy';
      readonly Log?: readonly { readonly ExitCode: number; readonly Output: string }[] | null;
    };
  };
  readonly Config: {
    readonly Image: string;
    readonly Env: readonly string[] | null;
    readonly Cmd?: readonly string[] | null;
    readonly Labels: Readonly<Record<string, string>> | null;
  };
  readonly HostConfig: {
    readonly NetworkMode: string;
    readonly RestartPolicy: { readonly Name: string; readonly MaximumRetryCount: number };
    readonly Privileged?: boolean;
    readonly PidMode?: string;
    readonly Mounts?: readonly EngineMount[] | null;
  } & Readonly<Record<string, unknown>>;
  readonly NetworkSettings: {
    readonly Networks: Readonly<
      Record<string, { readonly Aliases?: readonly string[] | null } | null>
    > | null;
  };
  readonly Mounts: readonly {
    readonly Type: string;
    /** Of a volume; 64 hex digits where nobody gave it one. */
    readonly Name?: string;
    /** Of the host: as it was given, or where the engine keeps the volume. */
    readonly Source?: string;
    readonly Destination: string;
  }[];
  /** In the directory in which the engine keeps the container's own files. */
  readonly ResolvConfPath?: string;
}

/** @throws EngineError for every status of 400 and more. */
export async function ask(
  docker: Docker,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  options: DockerRequest & { timeoutMs?: number },
): Promise<HttpResponse> {
  const timeoutMs = options.timeoutMs ?? (method === 'GET' ? ASK_TIMEOUT_MS : CHANGE_TIMEOUT_MS);
  const response = await docker.request(method, path, { ...options, timeoutMs });
  if (response.status < 400) return response;
  throw new EngineError(response.status, messageOf(response));
}

function messageOf({ status, body }: HttpResponse): string {
  try {
    const { message } = JSON.parse(body) as { message?: unknown };
    if (typeof message === 'string') return message.trim();
  } catch {
    // a proxy's page, for one
  }
  return `the Docker engine answers ${status}: ${body.trim().slice(0, 300)}`;
}

export const isStatus = (error: unknown, status: number): boolean =>
  error instanceof EngineError && error.status === status;

/** By name or ID; undefined when there is none. A name is never read as the beginning of an ID. */
export async function inspect(
  docker: Docker,
  nameOrID: string,
  signal: AbortSignal,
): Promise<Container | undefined> {
  try {
    const path = `/containers/${encodeURIComponent(nameOrID)}/json`;
    const found = JSON.parse((await ask(docker, 'GET', path, { signal })).body) as Container;
    return nameOf(found) === nameOrID || found.Id === nameOrID ? found : undefined;
  } catch (error) {
    if (isStatus(error, 404)) return undefined;
    throw error;
  }
}

export function nameOf({ Name }: Container): string {
  return Name.replace(/^\//, '');
}

/** All that carry a label, running or not, as `name` or `name=value`. */
export async function withLabel(docker: Docker, label: string, signal: AbortSignal): Promise<Container[]> {
  const query = { all: true, filters: { label: [label] } };
  const { body } = await ask(docker, 'GET', '/containers/json', { query, signal });
  const found: Container[] = [];
  for (const { Id } of JSON.parse(body) as { Id: string }[]) {
    const container = await inspect(docker, Id, signal);
    if (container !== undefined) found.push(container);
  }
  return found;
}

/** What is read of GET /images/NAME/json. */
export interface Image {
  readonly Id: string;
  readonly Config?: {
    readonly Cmd?: readonly string[] | null;
    readonly Entrypoint?: readonly string[] | null;
  } | null;
}

/** @returns undefined when it is not on this engine. */
export async function imageOf(
  docker: Docker,
  reference: string,
  signal: AbortSignal,
): Promise<Image | undefined> {
  try {
    // Slashes of a reference are the path's own: the engine's route takes them all.
    const { body } = await ask(docker, 'GET', `/images/${encodeURI(reference)}/json`, { signal });
    return JSON.parse(body) as Image;
  } catch (error) {
    if (isStatus(error, 404)) return undefined;
    throw error;
  }
}

export async function imageID(
  docker: Docker,
  reference: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  return (await imageOf(docker, reference, signal))?.Id;
}

/**
 * Has the image on this engine. A pull may take longer than a pass, which then comes back to it.
 * @param denied what to do where the registry gives it to others only.
 * @throws Stalled('ImageNotFound'), Waiting('Pulling') with how far it is, Waiting('PullFailed').
 */
export async function requireImage(
  docker: Docker,
  reference: string,
  pull: 'missing' | 'always' | 'never',
  signal: AbortSignal,
  { account, denied = '' }: { account?: RegistryAccount | undefined; denied?: string } = {},
): Promise<void> {
  if (pull !== 'always' && (await imageID(docker, reference, signal)) !== undefined) return;
  if (pull === 'never') {
    throw new Stalled(
      'ImageNotFound',
      `there is no image ${reference} on this host, and pull: never forbids to get it`,
    );
  }
  const end = await docker.pull(reference, {
    waitMs: PULL_WAIT_MS,
    signal,
    ...(account === undefined ? {} : { account }),
  });
  if (end.state === 'done') return;
  if (end.state === 'pulling') {
    throw new Waiting('Pulling', `pulls ${reference}: ${end.progress}`, PULL_AGAIN_MS);
  }
  if (end.final) {
    const remedy = denied !== '' && DENIED.test(end.why) ? ` (${denied})` : '';
    throw new Stalled('ImageNotFound', `${reference} can’t be pulled: ${end.why}${remedy}`);
  }
  throw new Waiting('PullFailed', `${reference} could not be pulled: ${end.why}`, REGISTRY_AGAIN_MS);
}

/** What is read of GET /volumes/NAME. */
export interface Volume {
  readonly Driver: string;
  readonly Options: Readonly<Record<string, string>> | null;
  /** Where the engine keeps it, by the host's name. */
  readonly Mountpoint?: string;
}

/** undefined when there is none yet. */
export async function volumeOf(
  docker: Docker,
  name: string,
  signal: AbortSignal,
): Promise<Volume | undefined> {
  try {
    const { body } = await ask(docker, 'GET', `/volumes/${encodeURIComponent(name)}`, { signal });
    return JSON.parse(body) as Volume;
  } catch (error) {
    if (isStatus(error, 404)) return undefined;
    throw error;
  }
}

/** Where the engine keeps its data, by the host's name. */
export async function engineRootOf(docker: Docker, signal: AbortSignal): Promise<string | undefined> {
  const { DockerRootDir } = JSON.parse((await ask(docker, 'GET', '/info', { signal })).body) as {
    DockerRootDir?: string;
  };
  return DockerRootDir === '' ? undefined : DockerRootDir;
}

export const isAnonymous = (volume: string): boolean => /^[0-9a-f]{64}$/.test(volume);

/** By where the container sees them: volumes that nobody named. What is in them is data like any other. */
export function anonymousVolumes({ Mounts }: Container): Record<string, string> {
  const found = Mounts.filter(({ Type, Name = '' }) => Type === 'volume' && isAnonymous(Name));
  return Object.fromEntries(found.map(({ Destination, Name = '' }) => [Destination, Name]));
}

/**
 * Removes it, running or not. Gone already is fine.
 * @param volumes whether those that nobody named go with it: only where there can be no data in them.
 */
export async function removeContainer(
  docker: Docker,
  id: string,
  signal: AbortSignal,
  { volumes = false } = {},
): Promise<void> {
  try {
    await ask(docker, 'DELETE', `/containers/${id}`, { query: { force: true, v: volumes }, signal });
  } catch (error) {
    // 409: somebody else is removing it.
    if (
      isStatus(error, 404) ||
      (isStatus(error, 409) && /already in progress/.test((error as Error).message))
    )
      return;
    throw error;
  }
}

/** How a container stands, for people: exited (137, out of memory). */
export function describeContainer({ State }: Container): string {
  const { Status, ExitCode, OOMKilled, Error: why } = State;
  if (State.Running && !State.Restarting) return State.Paused ? 'paused' : 'running';
  if (Status === 'created') return why === '' ? 'created' : `created (${why})`;
  return `${Status} (exit code ${ExitCode}${OOMKilled ? ', out of memory' : ''}${why === '' ? '' : `, ${why}`})`;
}
