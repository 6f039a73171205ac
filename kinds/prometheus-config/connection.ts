// How Prometheus is reached, and as whom; and what it means that something else answers than what Prometheus says.
import * as z from 'zod';
import { SecretRef } from '../../api/documents.ts';
import { errnoOf, inWords, Stalled } from '../../api/errors.ts';
import type { Desired, Permission } from '../kind.ts';
import type { Files, HttpResponse, Ports } from '../ports.ts';
import { basicAuth, UNTRUSTED } from '../shared/http-auth.ts';
import { originOf } from '../shared/urls.ts';
import type { PrometheusConfigSpec } from './schema.ts';

export type Io = Pick<Ports, 'files' | 'processes' | 'http' | 'units' | 'docker' | 'clock'>;

/** Part of what undo goes by; secrets by reference. */
export const Server = z.object({
  address: z.string(),
  unit: z.string().nullable(),
  container: z.string().nullable().optional(),
  user: z.string().optional(),
  password: SecretRef.optional(),
  bearerToken: SecretRef.optional(),
  caFile: z.string().optional(),
});
export type Server = z.infer<typeof Server>;

/** With who resolves its secrets. */
export type Reached = Server & Pick<Desired<unknown>, 'content'>;

export function serverOf(spec: PrometheusConfigSpec): Server {
  const { address = '127.0.0.1:9090', unit = null, container = null } = spec;
  const { user, password, bearerToken, caFile } = spec;
  const given = Object.entries({ user, password, bearerToken, caFile }).filter(([, value]) => value);
  return { address, unit, container, ...Object.fromEntries(given) };
}

export const reachedBy = ({ spec, content }: Desired<PrometheusConfigSpec>): Reached => ({
  ...serverOf(spec),
  content,
});

/** It is asked over HTTP unless the address names https. */
const urlOf = ({ address }: Pick<Server, 'address'>): string =>
  address.includes('://') ? address : `http://${address}`;

export function serverPermissions(server: Server): Permission[] {
  const why = hasSecret(server)
    ? 'it is sent a secret, and reloaded'
    : 'Prometheus is asked and reloaded there';
  return [{ type: 'url', value: originOf(urlOf(server)), why }];
}

const hasSecret = ({ password, bearerToken }: Server): boolean =>
  password !== undefined || bearerToken !== undefined;

/** What is at its address in place of a Prometheus that says what it runs. */
export interface Unreached {
  /** silent: nobody. starting: Prometheus, not ready yet. other: an answer, and not what Prometheus says. */
  readonly state: 'silent' | 'starting' | 'other';
  /** CamelCase. */
  readonly reason: string;
  /** For people. */
  readonly words: string;
}

export const isUnreached = (answer: HttpResponse | Unreached): answer is Unreached => 'state' in answer;

const other = (reason: string, words: string): Unreached => ({ state: 'other', reason, words });

/** @throws Stalled('SecretMissing'), the signal's reason */
export async function send(
  server: Reached,
  path: string,
  io: Pick<Io, 'http' | 'files'>,
  signal: AbortSignal,
  options: { method?: string; timeoutMs: number },
): Promise<HttpResponse | Unreached> {
  const url = urlOf(server);
  const headers = headersOf(server);
  try {
    const tls = server.caFile === undefined ? {} : { tls: { ca: authorities(server.caFile, io.files) } };
    return await io.http.request(`${url}${path}`, { ...options, signal, headers, ...tls });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof Stalled) throw error;
    return whyNot(server, error);
  }
}

function headersOf({ user, password, bearerToken, content }: Reached): Record<string, string> {
  const value = (secret: SecretRef) => content(secret).bytes.toString();
  if (bearerToken !== undefined) return { authorization: `Bearer ${value(bearerToken)}` };
  if (user === undefined || password === undefined) return {};
  return { authorization: basicAuth(user, value(password)) };
}

/** For an undo: the secret may have left with its document, and a signal needs none. */
export function withoutLostSecrets<S extends Reached>(server: S): S {
  try {
    headersOf(server);
    return server;
  } catch {
    const { user: _user, password: _password, bearerToken: _token, ...rest } = server;
    return rest as S;
  }
}

class BadAuthorities extends Error {}

function authorities(file: string, files: Files): string {
  const state = files.read(files.realPath(file, true));
  const text = state.type === 'file' ? state.content.toString() : '';
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
  const what = state.type === 'absent' ? 'is not there' : 'has no certificate in PEM';
  throw new BadAuthorities(`caFile ${file} ${what}: name the file with the certificate of its authority`);
}

/** Of an attempt that came to nobody. Whatever else fails, somebody is there. */
const SILENT: ReadonlySet<string> = new Set(
  ['ECONNREFUSED', 'EHOSTUNREACH', 'EHOSTDOWN', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT'].concat([
    ...['EADDRNOTAVAIL', 'ENETDOWN', 'EACCES', 'EPERM', 'UND_ERR_CONNECT_TIMEOUT'],
  ]),
);

function whyNot(server: Server, error: unknown): Unreached {
  const { address, caFile } = server;
  const code = errnoOf(error instanceof AggregateError ? error.errors[0] : error);
  const words = inWords(error).trim();
  if (error instanceof BadAuthorities) return other('NotTrusted', words);
  if (SILENT.has(code)) {
    return {
      state: 'silent',
      reason: 'PrometheusNotRunning',
      words: `nobody answers at ${address}: ${words}`,
    };
  }
  if (UNTRUSTED.test(code)) {
    const remedy =
      code === 'ERR_TLS_CERT_ALTNAME_INVALID'
        ? 'give address by a name that it is for'
        : code === 'CERT_HAS_EXPIRED'
          ? 'renew it'
          : caFile === undefined
            ? 'name the file of its authority in caFile'
            : `it is not of the authority in ${caFile}: name the right file`;
    // Node's advice after the semicolon is for who starts it.
    const fault = words.split(/; | to the CA/)[0];
    return other(
      'NotTrusted',
      `what answers at ${address} has a certificate that is not trusted (${fault}): ${remedy}`,
    );
  }
  if (urlOf(server).startsWith('https:') && /^ERR_SSL_|^EPROTO$/.test(code)) {
    const remedy = 'give address without https://, if it is Prometheus';
    return other(
      'NotPrometheus',
      `what answers at ${address} does not speak TLS as it should (${code}): ${remedy}`,
    );
  }
  const remedy = 'is it Prometheus? Else give the right address';
  return other(
    'NotPrometheus',
    `what answers at ${address} does not speak HTTP as it should (${words}): ${remedy}`,
  );
}

/** A path to which a first page leads; but for those of Prometheus's own pages (web/web.go, 2.x and 3.x). */
const PATH = /^((?:\/(?!graph$|query$)[A-Za-z0-9._~-]+)+)\/?$/;

/**
 * What an answer means that is not what Prometheus says.
 * @param firstPage where its first page leads to: below a path, Prometheus leads there.
 */
export function oddAnswer(
  server: Server,
  path: string,
  response: HttpResponse,
  firstPage?: string,
): Unreached {
  const { status, headers, body } = response;
  const said = saidBy(server, path, response);
  const { location } = headers;
  switch (status) {
    case 401:
      return other('Unauthorized', `${said}: ${whoIs(server)}`);
    case 403:
      return other('Forbidden', `${said}: let it be asked for /api/v1/status/config and /metrics here`);
    case 503: {
      const words = `${said}: Prometheus is starting, or who stands before it does not reach it`;
      return { state: 'starting', reason: 'PrometheusStarting', words };
    }
    case 502:
    case 504:
      return other(
        'NotPrometheus',
        `${said}: who stands before Prometheus does not reach it: is it running?`,
      );
    default:
  }
  // Go's and nginx's words to those who speak HTTP where TLS is spoken.
  if (status === 400 && /https/i.test(body))
    return other('NotPrometheus', `${said}: it speaks TLS: begin address with https://`);
  const notOurs = `${said}, which is not what Prometheus says`;
  if (status >= 300 && status < 400 && location !== undefined) {
    const to = hasSecret(server) ? 'elsewhere' : `to ${location.slice(0, 200)}`;
    return other(
      'NotPrometheus',
      `${notOurs}: it leads ${to}: give the address at which Prometheus itself answers`,
    );
  }
  const below = new URL(urlOf(server)).pathname;
  const found = below === '/' && PATH.exec(firstPage ?? '')?.[1];
  if (found)
    return other(
      'NotPrometheus',
      `${notOurs}: it is served below ${found}: give address ${server.address}${found}`,
    );
  const remedy =
    below === '/'
      ? 'is Prometheus served below a path (--web.external-url)? Then give address with that path, else the right one'
      : `is Prometheus served below ${below} (--web.external-url, --web.route-prefix)? Give the right path or address`;
  return other('NotPrometheus', `${notOurs}: ${remedy}`);
}

function whoIs({ user, bearerToken, password }: Server): string {
  if (bearerToken !== undefined)
    return 'it does not take this token: put the right one where bearerToken names it';
  if (password !== undefined)
    return `it does not take user ${user} with this password: put the right one where password names it`;
  return 'it wants to know who asks: give user and password, or bearerToken, by secretFrom';
}

/** In words. Where a secret was sent the body is left out: it could come back. */
export function saidBy(server: Server, path: string, { status, body }: HttpResponse): string {
  const text = body.trim().replaceAll(/\s+/g, ' ').slice(0, 200);
  return `${urlOf(server)}${path} answers ${status}${hasSecret(server) || text === '' ? '' : ` ("${text}")`}`;
}
