// Alloy's HTTP API, 1.18: /-/ready, /-/healthy, /-/reload, /api/v0/web/components and /metrics. Its quirks are
// recorded in data/alloy and told in docs; the ones that matter here:
// - alloy_config_hash is the sha256 of the file that Alloy last *tried* to load, refused or not;
// - a refused reload has already torn the pipeline down;
// - a reload that replaces an unreachable endpoint takes up to 60 s (the queue's flush) and is no failure.
import { errnoOf } from '../../api/errors.ts';
import type { Clock, Http } from '../ports.ts';

export interface AlloyIo {
  readonly http: Http;
  readonly clock: Clock;
}

/** Loopback answers at once; what takes longer than this is not going to. */
const ASK_TIMEOUT_MS = 1_000;
const RELOAD_TIMEOUT_MS = 75_000;
const READY_WITHIN_MS = 10_000;
const POLL_MS = 200;

export type AlloyState =
  /** Nobody listens at the address. */
  | { readonly state: 'stopped' }
  /** Somebody listens, and does not answer as Alloy does. */
  | { readonly state: 'silent'; readonly why: string }
  | {
      readonly state: 'answers';
      /** Of the file that was last loaded, or tried; none before the first load, and on Alloys that don't tell. */
      readonly hashes: readonly string[];
      readonly unhealthy: number;
      readonly version: string;
    };

export async function askAlloy(io: AlloyIo, address: string, signal: AbortSignal): Promise<AlloyState> {
  const answer = await get(io, address, '/metrics', signal);
  if ('state' in answer) return answer;
  if (answer.status !== 200) return { state: 'silent', why: `/metrics answers ${answer.status}` };
  return { state: 'answers', ...parseMetrics(answer.body) };
}

/** Pure; what Alloy's own metrics tell of its configuration. */
export function parseMetrics(text: string): { hashes: string[]; unhealthy: number; version: string } {
  const hashes: string[] = [];
  let unhealthy = 0;
  let version = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('alloy_config_hash{') && !line.endsWith(' 0')) {
      const hash = /[{,]sha256="([0-9a-f]{64})"/.exec(line)?.[1];
      if (hash !== undefined) hashes.push(hash);
    } else if (line.startsWith('alloy_component_controller_running_components{')) {
      if (!line.includes('health_type="healthy"')) unhealthy += Number(line.slice(line.lastIndexOf(' ')));
    } else if (line.startsWith('alloy_build_info{')) {
      version = /[{,]version="([^"]*)"/.exec(line)?.[1] ?? '';
    }
  }
  return { hashes, unhealthy, version };
}

export type Reload =
  | { readonly outcome: 'loaded' }
  /** It loads the file when it starts. */
  | { readonly outcome: 'stopped' }
  | { readonly outcome: 'refused'; readonly why: string };

/** @throws Error when Alloy neither took nor refused it. */
export async function reloadAlloy(io: AlloyIo, address: string, signal: AbortSignal): Promise<Reload> {
  // One that is starting reads the file at a moment that nobody knows; a reload afterwards settles that. One that
  // does not get ready can only be mended by a reload.
  const deadline = io.clock.monotonic() + READY_WITHIN_MS;
  for (;;) {
    const ready = await get(io, address, '/-/ready', signal);
    if ('state' in ready && ready.state === 'stopped') return { outcome: 'stopped' };
    if (('status' in ready && ready.status === 200) || io.clock.monotonic() >= deadline) break;
    await io.clock.sleep(POLL_MS, signal);
  }
  try {
    const url = `http://${address}/-/reload`;
    const response = await io.http.request(url, { method: 'POST', timeoutMs: RELOAD_TIMEOUT_MS, signal });
    if (response.status === 200) return { outcome: 'loaded' };
    if (response.status === 400) return { outcome: 'refused', why: response.body.trim() };
    throw new Error(`Alloy answers ${response.status} to a reload: ${response.body.trim().slice(0, 500)}`);
  } catch (error) {
    if (errnoOf(error) === 'ECONNREFUSED') return { outcome: 'stopped' };
    throw error;
  }
}

export type Health =
  | { readonly health: 'healthy' }
  | { readonly health: 'unhealthy' | 'starting' | 'stopped' | 'silent'; readonly why: string };

/** Ready, healthy as a whole, and every component healthy. */
export async function healthOf(io: AlloyIo, address: string, signal: AbortSignal): Promise<Health> {
  const ready = await get(io, address, '/-/ready', signal);
  if ('state' in ready) return { health: ready.state, why: ready.why };
  if (ready.status !== 200) return { health: 'starting', why: ready.body.trim() };
  const components = await unhealthyComponents(io, address, signal);
  if (components.length > 0) return { health: 'unhealthy', why: components.join('; ') };
  const healthy = await get(io, address, '/-/healthy', signal);
  if ('state' in healthy) return { health: healthy.state, why: healthy.why };
  return healthy.status === 200 ? { health: 'healthy' } : { health: 'unhealthy', why: healthy.body.trim() };
}

async function unhealthyComponents(io: AlloyIo, address: string, signal: AbortSignal): Promise<string[]> {
  const answer = await get(io, address, '/api/v0/web/components', signal);
  // Not there with --server.http.disable-ui or another version: /-/healthy has to do then.
  if ('state' in answer || answer.status !== 200) return [];
  return parseComponents(answer.body);
}

/** Pure; one line for each component that is not healthy. */
export function parseComponents(body: string): string[] {
  const components = JSON.parse(body) as {
    localID?: string;
    health?: { state?: string; message?: string };
  }[];
  return components
    .filter(({ health }) => health?.state !== 'healthy')
    .map(({ localID, health }) => `${localID}: ${health?.state}: ${health?.message ?? ''}`);
}

type NoAnswer = { readonly state: 'stopped' | 'silent'; readonly why: string };

async function get(
  { http }: AlloyIo,
  address: string,
  path: string,
  signal: AbortSignal,
): Promise<{ status: number; body: string } | NoAnswer> {
  try {
    return await http.request(`http://${address}${path}`, { timeoutMs: ASK_TIMEOUT_MS, signal });
  } catch (error) {
    signal.throwIfAborted();
    const why = error instanceof Error ? error.message : String(error);
    return { state: errnoOf(error) === 'ECONNREFUSED' ? 'stopped' : 'silent', why };
  }
}
