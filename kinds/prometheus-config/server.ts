// The Prometheus that reads the config: which version it is, what it runs, and how it reloads.
import * as z from 'zod';
import { errnoOf, inWords } from '../../api/errors.ts';
import { inspect } from '../docker-engine.ts';
import type { HttpResponse, Ports } from '../ports.ts';
import type { PrometheusConfigSpec } from './schema.ts';

export type Io = Pick<Ports, 'files' | 'processes' | 'http' | 'units' | 'docker' | 'clock'>;

/** How to reach it; part of what undo goes by. */
export const Server = z.object({
  address: z.string(),
  unit: z.string().nullable(),
  container: z.string().nullable().optional(),
});
export type Server = z.infer<typeof Server>;

export const serverOf = (spec: PrometheusConfigSpec): Server => ({
  address: spec.address ?? '127.0.0.1:9090',
  unit: spec.unit ?? null,
  container: spec.container ?? null,
});

export interface Running {
  readonly state: 'running';
  /** Whether its last reload was good. */
  readonly isReloadGood: boolean;
  /** When the config that it runs was loaded, unix milliseconds. */
  readonly loadedAtMs: number;
  readonly yaml: string;
}

/** What answers at its address. */
export type Answer =
  | Running
  | {
      /** silent: nobody. starting: Prometheus, not ready yet. other: an answer, and not what Prometheus says. */
      readonly state: 'silent' | 'starting' | 'other';
      /** For people. */
      readonly words: string;
    };

const TIMEOUT_MS = 30_000;
const ASK_MS = 5_000;
/** A reload by signal takes as long as reading the config takes. */
const SIGNALLED_WITHIN_MS = 15_000;
const SIGNALLED_POLL_MS = 100;

const Config = z.object({ data: z.object({ yaml: z.string() }) });
const BuildInfo = z.object({ data: z.object({ version: z.string() }) });
const Flags = z.object({ data: z.record(z.string(), z.string()) });
const Rules = z.object({ data: z.object({ groups: z.array(z.object({ file: z.string() })) }) });
const Pools = z.object({ data: z.object({ scrapePools: z.array(z.string()).nullable() }) });

export async function ask({ address }: Server, io: Io, signal: AbortSignal): Promise<Answer> {
  const get = (path: string) => io.http.request(`http://${address}${path}`, { timeoutMs: ASK_MS, signal });
  try {
    const config = await get('/api/v1/status/config');
    if (config.status === 503) return { state: 'starting', words: `Prometheus at ${address} is starting` };
    const yaml = parsed(config, Config)?.data.yaml;
    if (yaml === undefined)
      return { state: 'other', words: inAnswer(`${address}/api/v1/status/config`, config) };
    const metrics = await get('/metrics');
    const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics.body)?.[1]);
    const loadedAt = value('prometheus_config_last_reload_success_timestamp_seconds');
    if (Number.isNaN(loadedAt)) return { state: 'other', words: inAnswer(`${address}/metrics`, metrics) };
    const isReloadGood = value('prometheus_config_last_reload_successful') === 1;
    return { state: 'running', isReloadGood, loadedAtMs: loadedAt * 1000, yaml };
  } catch (error) {
    signal.throwIfAborted();
    return { state: 'silent', words: `nobody answers at ${address}: ${inWords(error)}` };
  }
}

function inAnswer(url: string, { status, body }: HttpResponse): string {
  const remedy =
    status === 401 || status === 403
      ? 'it wants a password, and PrometheusConfig sends none: let it answer here without one (--web.config.file)'
      : 'is Prometheus served below a path (--web.external-url)? Then give address with that path, else the right one';
  const text = body.trim().replaceAll(/\s+/g, ' ').slice(0, 200);
  return `http://${url} answers ${status} ("${text}"), which is not what Prometheus says: ${remedy}`;
}

/** What the schema says of an answer of the API; undefined for any other answer. */
function parsed<T>({ status, body }: HttpResponse, schema: z.ZodType<T>): T | undefined {
  if (status !== 200) return undefined;
  try {
    return schema.safeParse(JSON.parse(body)).data;
  } catch {
    return undefined;
  }
}

async function api<T>(
  address: string,
  path: string,
  schema: z.ZodType<T>,
  io: Io,
  signal: AbortSignal,
): Promise<T | undefined> {
  const options = { timeoutMs: ASK_MS, signal };
  try {
    return parsed(await io.http.request(`http://${address}/api/v1${path}`, options), schema);
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

/** The jobs that it scrapes, from whichever file; it takes some seconds to begin with a new one. */
export async function scraped({ address }: Server, io: Io, signal: AbortSignal): Promise<string[]> {
  return (await api(address, '/scrape_pools', Pools, io, signal))?.data.scrapePools ?? [];
}

/** The files of the rules that it runs, as it names them. */
export async function ruleFilesOf({ address }: Server, io: Io, signal: AbortSignal): Promise<string[]> {
  const rules = await api(address, '/rules', Rules, io, signal);
  return [...new Set(rules?.data.groups.map(({ file }) => file))];
}

/** What it was started with; undefined when it does not say. */
export async function flags(
  { address }: Server,
  io: Io,
  signal: AbortSignal,
): Promise<Record<string, string> | undefined> {
  return (await api(address, '/status/flags', Flags, io, signal))?.data;
}

/**
 * Its version, and the config that it was started with as it sees it; of a Prometheus that does not answer, the
 * version of promtool, which comes with it. Undefined when neither can be asked.
 */
export async function identify(
  server: Server,
  promtool: string,
  io: Io,
  signal: AbortSignal,
): Promise<{ version: string; configFile?: string } | undefined> {
  const build = await api(server.address, '/status/buildinfo', BuildInfo, io, signal);
  if (build !== undefined) {
    const started = await flags(server, io, signal);
    return { version: build.data.version, configFile: started?.['config.file'] ?? '' };
  }
  try {
    const options = { timeoutMs: ASK_MS, signal, chosen: true } as const;
    const { stdout, stderr } = await io.processes.run(promtool, ['--version'], options);
    const version = /version (\S+)/.exec(stdout + stderr)?.[1]?.replace(/,$/, '');
    return version === undefined ? undefined : { version };
  } catch (error) {
    signal.throwIfAborted();
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Reloads by HTTP, else by SIGHUP through the unit or the container. @returns why it refuses, if it does. */
export async function reload(server: Server, io: Io, signal: AbortSignal): Promise<string | undefined> {
  const { address, unit, container = null } = server;
  let answer: HttpResponse;
  try {
    const options = { method: 'POST', timeoutMs: TIMEOUT_MS, signal };
    answer = await io.http.request(`http://${address}/-/reload`, options);
  } catch {
    signal.throwIfAborted();
    return undefined; // not running: it reads the file when it starts
  }
  if (answer.status === 200) return undefined;
  if (answer.status === 500) return answer.body.trim();
  if (unit !== null || container !== null) return await reloadBySignal(server, io, signal);
  throw new Error(`it answers ${answer.status} to a reload: ${cannotReload(address)}`);
}

export const cannotReload = (address: string): string =>
  `Prometheus at ${address} does not reload over HTTP: name its unit or container here, which is then signalled; --web.enable-lifecycle would let everybody who reaches it end it`;

async function reloadBySignal(server: Server, io: Io, signal: AbortSignal): Promise<string | undefined> {
  const before = await ask(server, io, signal);
  const loadedAtMs = before.state === 'running' ? before.loadedAtMs : undefined;
  if (server.container) await hangUp(server.container, io, signal);
  else await io.units.run('reload', server.unit!, signal);
  // A signal has no answer: what came of it shows in its metrics. A failure after a failure shows in nothing.
  const wasGood = before.state === 'running' && before.isReloadGood;
  const deadline = io.clock.monotonic() + SIGNALLED_WITHIN_MS;
  while (io.clock.monotonic() < deadline) {
    const now = await ask(server, io, signal);
    if (now.state === 'running' && now.loadedAtMs !== loadedAtMs) return undefined;
    if (wasGood && now.state === 'running' && !now.isReloadGood) return SIGNALLED_IN_VAIN;
    await io.clock.sleep(SIGNALLED_POLL_MS, signal);
  }
  const last = await ask(server, io, signal);
  return last.state === 'running' && !last.isReloadGood ? SIGNALLED_IN_VAIN : undefined;
}

const SIGNALLED_IN_VAIN = 'it was signalled, and could not load the config: its log says why';

/** Engine API, ContainerKill. */
async function hangUp(container: string, { docker }: Io, signal: AbortSignal): Promise<void> {
  // By its whole name: the engine would take the beginning of another one's ID for it.
  const found = await inspect(docker, container, signal);
  if (found === undefined) throw new Error(`there is no container ${container} to be sent SIGHUP`);
  const path = `/containers/${found.Id}/kill`;
  const { status, body } = await docker.request('POST', path, {
    query: { signal: 'HUP' },
    timeoutMs: TIMEOUT_MS,
    signal,
  });
  if (status !== 204)
    throw new Error(`container ${container} can't be sent SIGHUP (${status}): ${body.trim()}`);
}
