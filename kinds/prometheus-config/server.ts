// The Prometheus that reads the config: which version it is, and what it runs.
import * as z from 'zod';
import { errnoOf } from '../../api/errors.ts';
import type { HttpResponse } from '../ports.ts';
import { type Io, isUnreached, oddAnswer, type Reached, send, type Unreached } from './connection.ts';

export interface Running {
  readonly state: 'running';
  /** Whether its last reload was good. */
  readonly isReloadGood: boolean;
  /** When the config that it runs was loaded, unix milliseconds. */
  readonly loadedAtMs: number;
  readonly yaml: string;
}

/** What answers at its address. */
export type Answer = Running | Unreached;

const ASK_MS = 5_000;
const CONFIG = '/api/v1/status/config';
const METRICS = '/metrics';

const Config = z.object({ data: z.object({ yaml: z.string() }) });
const BuildInfo = z.object({ data: z.object({ version: z.string() }) });
const Flags = z.object({ data: z.record(z.string(), z.string()) });
const Rules = z.object({ data: z.object({ groups: z.array(z.object({ file: z.string() })) }) });
const Pools = z.object({ data: z.object({ scrapePools: z.array(z.string()).nullable() }) });

/** @throws Stalled('SecretMissing') */
export async function ask(server: Reached, io: Io, signal: AbortSignal): Promise<Answer> {
  const get = (path: string) => send(server, path, io, signal, { timeoutMs: ASK_MS });
  const config = await get(CONFIG);
  if (isUnreached(config)) return config;
  const yaml = parsed(config, Config)?.data.yaml;
  if (yaml === undefined) {
    const first = config.status === 404 ? await get('/') : undefined;
    const leadsTo = first === undefined || isUnreached(first) ? undefined : first.headers['location'];
    return oddAnswer(server, CONFIG, config, leadsTo);
  }
  const metrics = await get(METRICS);
  if (isUnreached(metrics)) return metrics;
  const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics.body)?.[1]);
  const loadedAt = value('prometheus_config_last_reload_success_timestamp_seconds');
  if (Number.isNaN(loadedAt)) return oddAnswer(server, METRICS, metrics);
  const isReloadGood = value('prometheus_config_last_reload_successful') === 1;
  return { state: 'running', isReloadGood, loadedAtMs: loadedAt * 1000, yaml };
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
  server: Reached,
  path: string,
  schema: z.ZodType<T>,
  io: Io,
  signal: AbortSignal,
): Promise<T | undefined> {
  const answer = await send(server, `/api/v1${path}`, io, signal, { timeoutMs: ASK_MS });
  return isUnreached(answer) ? undefined : parsed(answer, schema);
}

/** The jobs that it scrapes, from whichever file; it takes some seconds to begin with a new one. */
export async function scraped(server: Reached, io: Io, signal: AbortSignal): Promise<string[]> {
  return (await api(server, '/scrape_pools', Pools, io, signal))?.data.scrapePools ?? [];
}

/** The files of the rules that it runs, as it names them. */
export async function ruleFilesOf(server: Reached, io: Io, signal: AbortSignal): Promise<string[]> {
  const rules = await api(server, '/rules', Rules, io, signal);
  return [...new Set(rules?.data.groups.map(({ file }) => file))];
}

/** What it was started with; undefined when it does not say. */
export async function flags(
  server: Reached,
  io: Io,
  signal: AbortSignal,
): Promise<Record<string, string> | undefined> {
  return (await api(server, '/status/flags', Flags, io, signal))?.data;
}

/**
 * Its version, and the config that it was started with as it sees it; of a Prometheus that does not answer, the
 * version of promtool, which comes with it. Undefined when neither can be asked.
 */
export async function identify(
  server: Reached,
  promtool: string,
  io: Io,
  signal: AbortSignal,
): Promise<{ version: string; configFile?: string } | undefined> {
  const build = await api(server, '/status/buildinfo', BuildInfo, io, signal);
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
