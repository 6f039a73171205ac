// Alloy's HTTP API, 1.18: /metrics, /-/ready, /-/healthy, /api/v0/web/components and /-/reload. What matters of its
// quirks (recorded from Alloy 1.18):
// - alloy_config_hash is the sha256 of the file that Alloy last *tried* to load, refused or not;
// - a refused reload may have torn the pipeline down, while alloy_config_last_load_successful says 1;
// - a reload that replaces an unreachable endpoint takes up to 60 s (the queue's flush) and is no failure;
// - a config with http { auth } or http { tls } closes all of it to whoever has not what it asks for.
import * as z from 'zod';
import { SecretRef } from '../../api/documents.ts';
import { errnoOf, inWords } from '../../api/errors.ts';
import type { Desired } from '../kind.ts';
import type { Http, HttpResponse } from '../ports.ts';
import { excerpt } from '../shared/excerpt.ts';
import { basicAuth, NO_HANDSHAKE, UNTRUSTED } from '../shared/http-auth.ts';

/** Loopback answers at once; what takes longer than this is not going to. */
const ASK_TIMEOUT_MS = 1_000;
const RELOAD_TIMEOUT_MS = 75_000;

export interface AlloyAnswers {
  readonly state: 'answers';
  readonly ready: boolean;
  /** Of the file that was last loaded, or tried; none before the first load, and on Alloys that don't report it. */
  readonly hashes: readonly string[];
  /** The last file could not even be parsed. */
  readonly lastLoadFailed: boolean;
  readonly startedAtMs: number;
  readonly version: string;
  /** undefined where Alloy serves no list of them. */
  readonly components: readonly Component[] | undefined;
  /** What /-/healthy has against it; '' when nothing. */
  readonly complaint: string;
}

/** stopped: nobody listens. silent: nobody answers as Alloy does. locked: it wants a password, or TLS. */
export interface NoAnswer {
  readonly state: 'stopped' | 'silent' | 'locked';
  readonly why: string;
}
export type AlloyState = AlloyAnswers | NoAnswer;

const Components = z.array(
  z.object({ localID: z.string(), health: z.object({ state: z.string(), message: z.string() }) }),
);
export type Component = z.infer<typeof Components>[number];

const PATHS = ['/metrics', '/-/ready', '/-/healthy', '/api/v0/web/components'];
/** All that homeostat asks for. */
export const API_PATHS = [...PATHS, '/-/reload'];

/** Where the API is, and what it takes to be answered; secrets by reference, since it is kept in snapshots. */
export const Access = z.object({
  address: z.string(),
  basicAuth: z.object({ username: z.string(), password: SecretRef }).optional(),
  tls: z
    .object({ ca: z.union([z.string(), SecretRef]).optional(), serverName: z.string().optional() })
    .optional(),
});
export type Access = z.infer<typeof Access>;

/** An access whose secrets are resolved. */
export interface Door {
  readonly origin: string;
  readonly options: Pick<NonNullable<Parameters<Http['request']>[1]>, 'headers' | 'tls'>;
}

/** @throws Stalled('SecretMissing') */
export function doorOf(
  { address, basicAuth: password, tls }: Access,
  content: Desired<unknown>['content'],
): Door {
  const ca = tls?.ca === undefined ? undefined : content(tls.ca).bytes.toString();
  return {
    origin: `${tls === undefined ? 'http' : 'https'}://${address}`,
    options: {
      ...(password && {
        headers: { authorization: basicAuth(password.username, content(password.password).bytes.toString()) },
      }),
      ...(tls && { tls: { ca, serverName: tls.serverName } }),
    },
  };
}

/** For an undo, which must not depend on a secret that is gone: without it the API is closed, and its runner reloads. */
export function doorOrNone(access: Access, content: Desired<unknown>['content']): Door {
  try {
    return doorOf(access, content);
  } catch {
    return doorOf({ address: access.address }, content);
  }
}

/** As a config without an http block has it. */
export function openDoor(address: string): Door {
  return { origin: `http://${address}`, options: {} };
}

export async function askAlloy(http: Http, door: Door, signal: AbortSignal): Promise<AlloyState> {
  const answers = await Promise.all(PATHS.map((path) => get(http, door, path, signal)));
  // A filter may close some of the paths only, and a reload in between may change the answers.
  const closed = answers.find((answer) => 'state' in answer);
  if (closed !== undefined) return closed;
  const [metrics, ready, healthy, list] = answers.filter((answer) => 'status' in answer);
  if (metrics?.status !== 200) return { state: 'silent', why: `/metrics answers ${metrics?.status}` };
  return {
    state: 'answers',
    ready: ready?.status === 200,
    complaint:
      healthy?.status === 200 ? '' : excerpt(healthy?.body ?? '') || `/-/healthy answers ${healthy?.status}`,
    components: list?.status === 200 ? parseComponents(list.body) : undefined,
    ...parseMetrics(metrics.body),
  };
}

/** Pure; what Alloy's own metrics report of its configuration. */
export function parseMetrics(
  text: string,
): Pick<AlloyAnswers, 'hashes' | 'lastLoadFailed' | 'startedAtMs' | 'version'> {
  const value = (name: string) => new RegExp(`^${name} (\\S+)`, 'm').exec(text)?.[1];
  return {
    hashes: [...text.matchAll(/^alloy_config_hash\{(?:.*,)?sha256="([0-9a-f]{64})".*\} (?!0$)/gm)].map(
      (m) => m[1]!,
    ),
    lastLoadFailed: value('alloy_config_last_load_successful') === '0',
    startedAtMs: 1000 * Number(value('process_start_time_seconds') ?? 0),
    version: /^alloy_build_info\{(?:.*,)?version="([^"]*)"/m.exec(text)?.[1] ?? '',
  };
}

/** Pure; undefined for what is no list of components. */
export function parseComponents(body: string): Component[] | undefined {
  try {
    return Components.safeParse(JSON.parse(body)).data;
  } catch {
    return undefined;
  }
}

export type Reload =
  | { readonly outcome: 'loaded' }
  /** Nobody listens: it loads the file when it starts. */
  | { readonly outcome: 'stopped' }
  | { readonly outcome: 'locked' | 'refused'; readonly why: string };

/**
 * No wait for an Alloy that is starting: loads follow each other, and one that read the old file first shows its hash.
 * @throws Error when Alloy neither took nor refused it.
 */
export async function reloadAlloy(http: Http, door: Door, signal: AbortSignal): Promise<Reload> {
  const url = `${door.origin}/-/reload`;
  try {
    const how = { ...door.options, method: 'POST', timeoutMs: RELOAD_TIMEOUT_MS, signal };
    const response = await http.request(url, how);
    const why = excerpt(response.body);
    if (isLocked(response)) return { outcome: 'locked', why: whyLocked(url, response) };
    if (response.status === 200) return { outcome: 'loaded' };
    if (response.status === 400) return { outcome: 'refused', why };
    throw new Error(`Alloy answers ${response.status} to a reload: ${why}`);
  } catch (error) {
    if (errnoOf(error) === 'ECONNREFUSED') return { outcome: 'stopped' };
    if (isTlsFault(error)) return { outcome: 'locked', why: whyNoTls(url, error) };
    throw error;
  }
}

async function get(
  http: Http,
  door: Door,
  path: string,
  signal: AbortSignal,
): Promise<HttpResponse | NoAnswer> {
  const url = `${door.origin}${path}`;
  try {
    const response = await http.request(url, { ...door.options, timeoutMs: ASK_TIMEOUT_MS, signal });
    return isLocked(response) ? { state: 'locked', why: whyLocked(url, response) } : response;
  } catch (error) {
    signal.throwIfAborted();
    if (isTlsFault(error)) return { state: 'locked', why: whyNoTls(url, error) };
    const why = error instanceof Error ? error.message : String(error);
    return { state: errnoOf(error) === 'ECONNREFUSED' ? 'stopped' : 'silent', why: excerpt(why) };
  }
}

/** Go's server says the second to whoever speaks plain HTTP to TLS, with status 400: no refusal of a config. */
function isLocked({ status, body }: HttpResponse): boolean {
  return status === 401 || status === 403 || (status === 400 && isPlainToTls(body));
}

function whyLocked(url: string, { status, body }: HttpResponse): string {
  return isPlainToTls(body) ? `${url} speaks TLS` : `${url} answers ${status}`;
}

function isPlainToTls(body: string): boolean {
  return body.startsWith('Client sent an HTTP request to an HTTPS server');
}

function isTlsFault(error: unknown): boolean {
  const code = errnoOf(error);
  return UNTRUSTED.test(code) || NO_HANDSHAKE.test(code);
}

function whyNoTls(url: string, error: unknown): string {
  const code = errnoOf(error);
  if (/WRONG_VERSION|PACKET_LENGTH_TOO_LONG/.test(code)) return `${url} does not speak TLS`;
  return `${url} can’t be asked over TLS: ${excerpt(inWords(error))}`;
}
