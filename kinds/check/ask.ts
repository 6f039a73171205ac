// Asking once. What comes back is undefined when the promise holds, and else why it does not, in words.
import { inWords } from '../../api/errors.ts';
import { milliseconds } from '../fields.ts';
import type { Desired } from '../kind.ts';
import type { HttpResponse, Ports } from '../ports.ts';
import { excerpt, judgeAnswer } from './samples.ts';
import type { CheckSpec, HttpCheck, Query } from './schema.ts';

type Io = Pick<Ports, 'http' | 'sockets'>;
type Request = Pick<HttpCheck, 'url' | 'method' | 'headers' | 'bearerToken'>;

const TIMEOUT = '10s';

/** @throws Stalled('SecretMissing'), and the signal's reason. */
export async function ask(d: Desired<CheckSpec>, io: Io, signal: AbortSignal): Promise<string | undefined> {
  const { http, tcp, promql, logql } = d.spec;
  if (http !== undefined) return await askHttp(http, d, io, signal);
  if (tcp !== undefined) return await askTcp(tcp.address, d, io, signal);
  if (promql !== undefined) return await askQuery(promql, '/api/v1/query', d, io, signal);
  return await askQuery(logql!, '/loki/api/v1/query', d, io, signal);
}

async function askHttp(
  check: HttpCheck,
  d: Desired<CheckSpec>,
  io: Io,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { url, status, contains, matches } = check;
  const answer = await request(check, d, io, signal);
  if (typeof answer === 'string') return answer;
  const wanted = status === undefined ? undefined : [status].flat();
  const isWanted =
    wanted === undefined ? answer.status >= 200 && answer.status < 300 : wanted.includes(answer.status);
  if (!isWanted) {
    return `${url} answers ${answer.status}, and ${wanted?.join(' or ') ?? '2xx'} is wanted${body(check, answer)}`;
  }
  if (contains !== undefined && !answer.body.includes(contains)) {
    return `${url} answers ${answer.status} without ${JSON.stringify(contains)} in it${body(check, answer)}`;
  }
  if (matches !== undefined && !new RegExp(matches, 'm').test(answer.body)) {
    return `${url} answers ${answer.status}, and nothing in it fits /${matches}/${body(check, answer)}`;
  }
  return undefined;
}

async function askTcp(
  address: string,
  d: Desired<CheckSpec>,
  io: Io,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    await io.sockets.connect(address, timeoutMs(d.spec), signal);
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    return `${address} takes no connection: ${inWords(error)}`;
  }
}

async function askQuery(
  query: Query,
  path: string,
  d: Desired<CheckSpec>,
  io: Io,
  signal: AbortSignal,
): Promise<string | undefined> {
  const url = `${query.url.replace(/\/+$/, '')}${path}`;
  const answer = await request(
    { ...query, url: `${url}?query=${encodeURIComponent(query.query)}` },
    d,
    io,
    signal,
    url,
  );
  if (typeof answer === 'string') return answer;
  if (answer.status !== 200) return `${url} answers ${answer.status}${body(query, answer)}`;
  return judgeAnswer(query.query, answer.body, query.expect);
}

/** @param shown the URL as evidence has it. @returns a text when there is no answer. */
async function request(
  { url, method, headers, bearerToken }: Request,
  d: Desired<CheckSpec>,
  { http }: Io,
  signal: AbortSignal,
  shown = url,
): Promise<HttpResponse | string> {
  const sent = Object.fromEntries(
    Object.entries(headers ?? {}).map(([name, value]) => [name, d.content(value).bytes.toString()]),
  );
  if (bearerToken !== undefined) sent['authorization'] = `Bearer ${d.content(bearerToken).bytes.toString()}`;
  try {
    return await http.request(url, {
      timeoutMs: timeoutMs(d.spec),
      signal,
      headers: sent,
      ...(method === undefined ? {} : { method }),
    });
  } catch (error) {
    signal.throwIfAborted();
    return `${shown} does not answer: ${inWords(error).replaceAll(url, shown)}`;
  }
}

/** What was answered, unless a secret was sent: it could come back. */
function body(request: Pick<Request, 'headers' | 'bearerToken'>, { body }: HttpResponse): string {
  return hasSecret(request) || body.trim() === '' ? '' : `: ${excerpt(body)}`;
}

export function hasSecret({ headers, bearerToken }: Pick<Request, 'headers' | 'bearerToken'>): boolean {
  return bearerToken !== undefined || Object.values(headers ?? {}).some((value) => typeof value !== 'string');
}

function timeoutMs(spec: CheckSpec): number {
  return milliseconds(spec.timeout ?? TIMEOUT);
}
