// Grafana's HTTP API, as far as the kinds that keep something in it share it: where it is, who asks, which
// generation of the API it serves, and what its refusals mean for the loop.
// Facts: grafana.com/docs/grafana/latest/developer-resources/api-reference/http-api/.
import * as z from 'zod';
import { SecretRef } from '../api/documents.ts';
import { inWords, Stalled, Waiting } from '../api/errors.ts';
import { clip } from '../api/limits.ts';
import type { Claim, Desired, Permission } from './kind.ts';
import type { Http, HttpResponse } from './ports.ts';
import { basicAuth } from './shared/http-auth.ts';
import { originOf } from './shared/urls.ts';

/** Where Grafana is, and who asks. */
export const GrafanaConnection = z
  .strictObject({
    url: z
      .string()
      .regex(
        /^https?:\/\/[^/?#\s]+(?:\/[^?#\s]*[^/?#\s])?$/,
        'the URL of Grafana is http(s)://host:port, without a slash at its end',
      ),
    /** Of a service account: Editor for dashboards, Admin for data sources. */
    token: SecretRef.optional(),
    user: z.string().min(1).optional(),
    password: SecretRef.optional(),
    /** Default 1, the main organisation. A token belongs to one organisation anyway. */
    org: z.int().min(1).optional(),
  })
  .refine((g) => (g.token !== undefined) !== (g.user !== undefined && g.password !== undefined), {
    message: 'give token, or user and password; each secret by secretFrom',
  });
export type GrafanaConnection = z.infer<typeof GrafanaConnection>;

/** How often to look, since Grafana has no events; default 60. */
export const PollSeconds = z.int().min(1).max(86_400);
const DEFAULT_POLL_SECONDS = 60;

/** The uid of a dashboard, a folder or a data source. */
export const GrafanaUid = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,40}$/, 'a uid has letters, digits, "-" and "_", and at most 40 characters');

const TIMEOUT_MS = 15_000;
const AWAY_AGAIN_MS = 30_000;
const FORBIDDEN_AGAIN_MS = 300_000;

export function grafanaPermissions(grafana: GrafanaConnection): Permission[] {
  return [{ type: 'url', value: originOf(grafana.url), why: 'Grafana is written to, with a secret' }];
}

/** `grafana:http://127.0.0.1:3000/dashboards/UID`, with the organisation where it is not the main one. */
export function grafanaClaim(grafana: GrafanaConnection, what: string, uid: string): Claim {
  const org = (grafana.org ?? 1) === 1 ? '' : `/org-${grafana.org}`;
  return `grafana:${grafana.url}${org}/${what}/${uid}`;
}

type Content = Desired<unknown>['content'];

export class Grafana {
  readonly #connection: GrafanaConnection;
  readonly #http: Http;
  readonly #content: Content;
  readonly #signal: AbortSignal;

  /** @param content resolves the connection's secrets, with the first request. */
  constructor(connection: GrafanaConnection, http: Http, content: Content, signal: AbortSignal) {
    this.#connection = connection;
    this.#http = http;
    this.#content = content;
    this.#signal = signal;
  }

  get url(): string {
    return this.#connection.url;
  }

  /** As /apis calls the organisation. */
  get namespace(): string {
    const { org = 1 } = this.#connection;
    return org === 1 ? 'default' : `org-${org}`;
  }

  /**
   * One request with JSON both ways.
   * @throws Waiting while Grafana is away; Stalled('Unauthorized' | 'Forbidden') with what to do.
   */
  async request(
    method: string,
    path: string,
    body?: unknown,
    timeoutMs = TIMEOUT_MS,
  ): Promise<{ status: number; body: unknown }> {
    const { url, org } = this.#connection;
    let response: HttpResponse;
    try {
      response = await this.#http.request(`${url}${path}`, {
        method,
        timeoutMs,
        signal: this.#signal,
        headers: {
          accept: 'application/json',
          authorization: this.#authorization(),
          ...(org === undefined ? {} : { 'x-grafana-org-id': `${org}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (error) {
      this.#signal.throwIfAborted();
      if (error instanceof Stalled) throw error;
      throw new Waiting('GrafanaAway', `Grafana at ${url} does not answer: ${inWords(error)}`, AWAY_AGAIN_MS);
    }
    const parsed = parse(response.body);
    this.#judge(method, path, response.status, parsed);
    return { status: response.status, body: parsed };
  }

  /**
   * The versions of every API group, as Grafana lists them.
   * @returns an empty map for a Grafana without /apis (before 12).
   */
  async discover(): Promise<ReadonlyMap<string, readonly string[]>> {
    // A Grafana before 12 answers with its page, or with 404.
    const { status, body } = await this.request('GET', '/apis');
    const groups = status === 200 && isObject(body) ? objectsIn(body['groups']) : [];
    return new Map(
      groups.map((group) => [
        String(group['name']),
        objectsIn(group['versions']).map(({ version }) => String(version)),
      ]),
    );
  }

  #authorization(): string {
    const { token, user, password } = this.#connection;
    const secret = this.#content((token ?? password)!).bytes.toString();
    return token === undefined ? basicAuth(user!, secret) : `Bearer ${secret}`;
  }

  #judge(method: string, path: string, status: number, body: unknown): void {
    const { url, token } = this.#connection;
    const said = `${status}: ${messageOf(body)}`;
    if (status === 401) {
      const remedy =
        token === undefined
          ? 'put the right user and password where secretFrom names them'
          : 'make a token of a service account (Administration, Service accounts) and put it where secretFrom names it';
      throw new Stalled('Unauthorized', `Grafana at ${url} does not know who asks (${said}): ${remedy}`);
    }
    if (status === 403) {
      throw new Stalled(
        'Forbidden',
        `Grafana at ${url} forbids ${method} ${path.replace(/\?.*/, '')} (${said}): give the service account the role Editor for dashboards, Admin for data sources`,
      );
    }
    // Its own 404 is JSON. One of a proxy does not mean that what is asked for is gone.
    const isOwn = isObject(body) || path === '/apis' || path.endsWith('/health');
    if (status === 404 && !isOwn) {
      const doubt = `is Grafana served below a path (root_url)? Then give url with that path`;
      throw new Waiting(
        'GrafanaAway',
        `what answers at ${url} is not Grafana (${said}): ${doubt}`,
        AWAY_AGAIN_MS,
      );
    }
    if (status >= 400 && status < 500 && typeof body === 'string' && isPage(body) && !isOwn) {
      throw new Waiting(
        'GrafanaAway',
        `what stands before Grafana at ${url} refuses ${method} ${path.replace(/\?.*/, '')} (${said}): Grafana itself answers with JSON, so look at the proxy there`,
        AWAY_AGAIN_MS,
      );
    }
    if (status === 429 || status >= 500) {
      throw new Waiting('GrafanaAway', `Grafana at ${url} is not well (${said})`, AWAY_AGAIN_MS);
    }
  }
}

/**
 * Runs a write. What Grafana forbids is nothing that could be undone, and a role that is given later must help: so
 * it waits, with the same words, and is not quarantined.
 */
export async function writing<T>(write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (error instanceof Stalled && (error.reason === 'Forbidden' || error.reason === 'Unauthorized')) {
      throw new Waiting(error.reason, error.message, FORBIDDEN_AGAIN_MS);
    }
    throw error;
  }
}

/** Wakes once and then at every interval, until the signal aborts. */
export async function poll(
  clock: { sleep(ms: number, signal?: AbortSignal): Promise<void> },
  seconds: number | undefined,
  wake: () => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    wake();
    // Aborted meanwhile, which the loop's condition sees.
    await clock.sleep((seconds ?? DEFAULT_POLL_SECONDS) * 1000, signal).catch(() => undefined);
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The objects of a list; none where it is no list. */
export function objectsIn(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

const LONGEST_MESSAGE = 500;

/**
 * What Grafana, or what stands before it, says in an answer, in its words. Grafana itself has several shapes: an object
 * with `message` (or `error`), a list of such objects, a text; a proxy answers with a page, or with nothing.
 */
export function messageOf(body: unknown): string {
  const said = saidIn(body).join('; ').replace(/\s+/g, ' ').trim();
  return said === '' ? 'it gives no reason' : clip(said, LONGEST_MESSAGE);
}

function saidIn(body: unknown): string[] {
  if (typeof body === 'string') return [isPage(body) ? pageIn(body) : body];
  if (Array.isArray(body)) return body.flatMap(saidIn).filter((said) => said !== '');
  if (!isObject(body)) return body === undefined || body === null ? [] : [String(body)];
  for (const member of [body['message'], body['error'], body['errors']]) {
    const said = saidIn(member).filter((text) => text !== '');
    if (said.length > 0) return said;
  }
  return Object.keys(body).length === 0 ? [] : [JSON.stringify(body)];
}

function isPage(text: string): boolean {
  return /^\s*<(?:!doctype|html|head|body)\b/i.test(text);
}

/** The title of a page, or its first heading: the rest is markup. */
function pageIn(text: string): string {
  const title = /<(title|h1)[^>]*>([^<]{1,200})</i.exec(text.slice(0, 4096))?.[2]?.trim();
  return title ? `a web page, "${title}"` : 'a web page';
}

/** For an answer that nothing else is known to mean. */
export function unexpected(what: string, { status, body }: { status: number; body: unknown }): Error {
  return new Error(`Grafana answers ${what} with ${status}: ${messageOf(body)}`);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
