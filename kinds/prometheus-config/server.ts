// The Prometheus that reads the config: which version it is, how it reloads, and what it runs.
import { errnoOf } from '../../api/errors.ts';
import type { Ports } from '../ports.ts';

export type Io = Pick<Ports, 'files' | 'processes' | 'http' | 'units' | 'docker' | 'clock'>;

/** How to reach it; JSON, part of the way back. */
export interface Server {
  readonly address: string;
  readonly unit: string | null;
  readonly container?: string | null;
}

export interface Running {
  /** Whether its last reload was good. */
  readonly successful: boolean;
  /** When the config that it runs was loaded, as it says; changes with each good reload. */
  readonly loadedAt: string;
  readonly yaml: string;
}

const TIMEOUT_MS = 30_000;
const ASK_MS = 5_000;
/** A reload by signal takes as long as reading the config takes. */
const SIGNALLED_WITHIN_MS = 15_000;
const SIGNALLED_POLL_MS = 100;

/** What it says of its running config; undefined when it does not answer. */
export async function running(
  { address }: Server,
  io: Io,
  signal: AbortSignal,
): Promise<Running | undefined> {
  try {
    const options = { timeoutMs: ASK_MS, signal };
    const metrics = await io.http.request(`http://${address}/metrics`, options);
    const { yaml } = await api<{ yaml: string }>(address, '/status/config', io, signal);
    const value = (name: string) => new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics.body)?.[1] ?? '';
    return {
      successful: value('prometheus_config_last_reload_successful') === '1',
      loadedAt: value('prometheus_config_last_reload_success_timestamp_seconds'),
      yaml,
    };
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

/** The jobs that it scrapes, from whichever file; it takes some seconds to begin with a new one. */
export async function scraped({ address }: Server, io: Io, signal: AbortSignal): Promise<string[]> {
  return (
    (await api<{ scrapePools: string[] | null }>(address, '/scrape_pools', io, signal)).scrapePools ?? []
  );
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
  try {
    const { version } = await api<{ version: string }>(server.address, '/status/buildinfo', io, signal);
    const flags = await api<Record<string, string>>(server.address, '/status/flags', io, signal);
    return { version, configFile: flags['config.file'] ?? '' };
  } catch {
    signal.throwIfAborted();
  }
  try {
    const { stdout, stderr } = await io.processes.run(promtool, ['--version'], { timeoutMs: ASK_MS, signal });
    const version = /version (\S+)/.exec(stdout + stderr)?.[1]?.replace(/,$/, '');
    return version === undefined ? undefined : { version };
  } catch (error) {
    signal.throwIfAborted();
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function api<T>(address: string, path: string, io: Io, signal: AbortSignal): Promise<T> {
  const { body } = await io.http.request(`http://${address}/api/v1${path}`, { timeoutMs: ASK_MS, signal });
  return (JSON.parse(body) as { data: T }).data;
}

/** Reloads by HTTP, else by SIGHUP through the unit or the container. @returns why it refuses, if it does. */
export async function reload(server: Server, io: Io, signal: AbortSignal): Promise<string | undefined> {
  const { address, unit, container = null } = server;
  let answer: { status: number; body: string };
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
  throw new Error(
    `Prometheus at ${address} does not reload over HTTP (${answer.status}): start it with --web.enable-lifecycle, or name its unit or container here`,
  );
}

async function reloadBySignal(server: Server, io: Io, signal: AbortSignal): Promise<string | undefined> {
  const before = await running(server, io, signal);
  if (server.container) await hangUp(server.container, io, signal);
  else await io.units.run('reload', server.unit!, signal);
  // A signal has no answer: what came of it shows in its metrics.
  const deadline = io.clock.monotonic() + SIGNALLED_WITHIN_MS;
  while (io.clock.monotonic() < deadline) {
    const now = await running(server, io, signal);
    if (now?.successful === false) return 'it was signalled, and could not load the config: its log says why';
    if (now !== undefined && now.loadedAt !== before?.loadedAt) return undefined;
    await io.clock.sleep(SIGNALLED_POLL_MS, signal);
  }
  return undefined; // confirm looks whether it runs what we wrote
}

/** Engine API, ContainerKill. */
async function hangUp(container: string, { docker }: Io, signal: AbortSignal): Promise<void> {
  const path = `/containers/${encodeURIComponent(container)}/kill`;
  const { status, body } = await docker.request('POST', path, {
    query: { signal: 'HUP' },
    timeoutMs: TIMEOUT_MS,
    signal,
  });
  if (status !== 204)
    throw new Error(`container ${container} can't be sent SIGHUP (${status}): ${body.trim()}`);
}
