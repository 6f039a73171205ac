// The Prometheus that reads the config: which version it is, and what it runs.
import * as z from 'zod';
import { errnoOf, inWords } from '../../api/errors.ts';
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

const ASK_MS = 5_000;

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
