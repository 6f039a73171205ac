// The project's containers, through the engine's API: what they were made from, how they are, and their end.
import type { Io } from './compose.ts';
import { LABEL } from './render.ts';

export interface Container {
  readonly id: string;
  readonly name: string;
  readonly service: string;
  /** 'running', 'paused', 'restarting', 'exited', 'created', 'dead', 'removing' (Engine API). */
  readonly state: string;
  /** '' without a healthcheck; else 'starting', 'healthy' or 'unhealthy'. */
  readonly health: string;
  readonly exitCode: number;
  readonly restarts: number;
  readonly startedAt: string;
  readonly labels: Readonly<Record<string, string>>;
  /** `NAME=value`; may hold secrets. */
  readonly env: readonly string[];
  readonly command: readonly string[];
  /** What compose calculated over all it was made from. */
  readonly hash: string;
}

const ASK_MS = 15_000;
const STOP_SECONDS = 10;

interface Listed {
  readonly Id: string;
  readonly Labels?: Readonly<Record<string, string>>;
}
interface Inspected {
  readonly Id: string;
  readonly Name: string;
  readonly RestartCount: number;
  readonly State: {
    readonly Status: string;
    readonly ExitCode: number;
    readonly StartedAt: string;
    readonly Health?: { readonly Status: string };
  };
  readonly Config: {
    readonly Env?: readonly string[] | null;
    readonly Cmd?: readonly string[] | null;
    readonly Labels?: Readonly<Record<string, string>> | null;
  };
}

/** The containers of these services of the project, and all that are labelled as ours: one document has a project. */
export async function containersOf(
  project: string,
  services: ReadonlySet<string>,
  io: Io,
  signal: AbortSignal,
): Promise<Container[]> {
  const filters = { label: [`com.docker.compose.project=${project}`] };
  const listed = await get<Listed[]>('/containers/json', { all: true, filters }, io, signal);
  const ours = (listed ?? []).filter(({ Labels = {} }) => {
    if (Labels['com.docker.compose.oneoff'] === 'True') return false; // of `docker compose run`
    return services.has(Labels['com.docker.compose.service'] ?? '') || LABEL.document in Labels;
  });
  const found: Container[] = [];
  for (const { Id } of ours) {
    const container = await get<Inspected>(`/containers/${Id}/json`, {}, io, signal);
    if (container !== undefined) found.push(parse(container));
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function parse({ Id, Name, RestartCount, State, Config }: Inspected): Container {
  const labels = Config.Labels ?? {};
  return {
    id: Id,
    name: Name.replace(/^\//, ''),
    service: labels['com.docker.compose.service'] ?? '',
    state: State.Status,
    health: State.Health?.Status ?? '',
    exitCode: State.ExitCode,
    restarts: RestartCount,
    startedAt: State.StartedAt,
    labels,
    env: Config.Env ?? [],
    command: Config.Cmd ?? [],
    hash: labels['com.docker.compose.config-hash'] ?? '',
  };
}

export async function hasImage(reference: string, io: Io, signal: AbortSignal): Promise<boolean> {
  return (await get(`/images/${reference}/json`, {}, io, signal)) !== undefined;
}

/** Compose does not wake what somebody froze. */
export async function unpause({ id }: Container, io: Io, signal: AbortSignal): Promise<void> {
  await change('POST', `/containers/${id}/unpause`, {}, io, signal);
}

/** Stops it as `docker stop` does and removes it with its anonymous volumes; named volumes stay. */
export async function remove({ id }: Container, io: Io, signal: AbortSignal): Promise<void> {
  await change('POST', `/containers/${id}/stop`, { t: STOP_SECONDS }, io, signal);
  await change('DELETE', `/containers/${id}`, { v: true, force: true }, io, signal);
}

/** @returns undefined for what is not there. @throws Error in the engine's words. */
async function get<T>(path: string, query: Record<string, boolean | object>, io: Io, signal: AbortSignal) {
  const answer = await io.docker.request('GET', path, { query, timeoutMs: ASK_MS, signal });
  if (answer.status === 404) return undefined;
  if (answer.status !== 200)
    throw new Error(`the Docker engine answers ${answer.status}: ${answer.body.trim()}`);
  return JSON.parse(answer.body) as T;
}

async function change(
  method: 'POST' | 'DELETE',
  path: string,
  query: Record<string, boolean | number>,
  io: Io,
  signal: AbortSignal,
): Promise<void> {
  const timeoutMs = ASK_MS + STOP_SECONDS * 1000;
  const { status, body } = await io.docker.request(method, path, { query, timeoutMs, signal });
  // 304: it is so already; 404: it went away; 409: it is being removed, or does not run.
  if (status < 300 || [304, 404, 409].includes(status)) return;
  throw new Error(`the Docker engine answers ${status}: ${body.trim()}`);
}
