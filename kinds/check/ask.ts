// Asking once. What comes back is undefined when the promise holds, and else why it does not, as a message.
import * as z from 'zod';
import { inWords } from '../../api/errors.ts';
import { milliseconds } from '../fields.ts';
import type { Desired } from '../kind.ts';
import type { HttpResponse, Ports } from '../ports.ts';
import { loadRegExps } from '../shared/linear-regexp.ts';
import { judgeAnswer, oneLine } from './samples.ts';
import type { CheckSpec, HttpCheck, Query } from './schema.ts';

/** For evidence; characters. */
const LOOKED_AT = 10_000;

interface Question {
  readonly request: HttpCheck;
  /** The URL as evidence has it. */
  readonly shown: string;
  fault(answer: HttpResponse): string | undefined | Promise<string | undefined>;
}

/** @throws Stalled('SecretMissing'), and the signal's reason. */
export async function ask(
  d: Desired<CheckSpec>,
  io: Pick<Ports, 'http' | 'sockets'>,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { tcp, timeout = '10s' } = d.spec;
  const timeoutMs = milliseconds(timeout);
  if (tcp !== undefined) {
    const connected = io.sockets.connect(tcp.address, timeoutMs, signal).then(() => undefined);
    return await orWhyNot(connected, signal, `${tcp.address} takes no connection`);
  }
  const { request, shown, fault } = questionOf(d.spec);
  const { url, method = 'GET' } = request;
  const asked = io.http.request(url, { timeoutMs, signal, method, headers: headersOf(request, d) });
  const answer = await orWhyNot(asked, signal, `${shown} does not answer`);
  return typeof answer === 'string' ? answer.replaceAll(url, shown) : await fault(answer);
}

async function orWhyNot<T>(asked: Promise<T>, signal: AbortSignal, fault: string): Promise<T | string> {
  try {
    return await asked;
  } catch (error) {
    signal.throwIfAborted();
    return `${fault}: ${inWords(error)}`;
  }
}

function questionOf({ http, promql, logql }: CheckSpec): Question {
  if (http !== undefined) {
    return { request: http, shown: http.url, fault: (answer) => httpFault(http, answer) };
  }
  const query = promql ?? logql!;
  const path = promql === undefined ? '/loki/api/v1/query' : '/api/v1/query';
  const shown = `${query.url.replace(/\/+$/, '')}${path}`;
  const url = `${shown}?query=${encodeURIComponent(query.query)}`;
  return { request: { ...query, url }, shown, fault: (answer) => queryFault(query, shown, answer) };
}

async function httpFault(check: HttpCheck, answer: HttpResponse): Promise<string | undefined> {
  const { url, contains, matches } = check;
  const { status, body } = answer;
  const wanted = check.status === undefined ? undefined : [check.status].flat();
  const isWanted = wanted === undefined ? status >= 200 && status < 300 : wanted.includes(status);
  const said = check.quote === true ? bodyShown(check, answer) : '';
  if (!isWanted) return `${url} answers ${status}, and ${wanted?.join(' or ') ?? '2xx'} is wanted${said}`;
  if (contains !== undefined && !body.includes(contains)) {
    return `${url} answers ${status} without ${JSON.stringify(contains)} in it${said}`;
  }
  if (matches !== undefined && !(await (await loadRegExps())(matches)(body))) {
    return `${url} answers ${status}, and nothing in it fits /${matches}/${said}`;
  }
  return undefined;
}

function queryFault(query: Query, shown: string, answer: HttpResponse): string | undefined {
  const said = errorShown(query, answer);
  if (answer.status !== 200) return `${shown} answers ${answer.status}${said}`;
  return judgeAnswer(query.query, answer.body, query.expect, said);
}

/** The beginning of what was answered, unless a secret was sent: it could come back. */
function bodyShown(request: HttpCheck, { body }: HttpResponse): string {
  const text = body.slice(0, LOOKED_AT);
  return hasSecret(request) || text.trim() === '' ? '' : `: ${oneLine(text)}`;
}

const ApiError = z.object({ status: z.literal('error'), errorType: z.string(), error: z.string() });

/**
 * What Prometheus or Loki say is wrong with a query: the one in JSON, the other in plain text. What is neither is not
 * quoted: anything might answer there.
 */
function errorShown(query: Query, { status, headers, body }: HttpResponse): string {
  if (hasSecret(query)) return '';
  if (status === 400 && headers['content-type']?.startsWith('text/plain') === true)
    return `: ${oneLine(body.slice(0, LOOKED_AT))}`;
  try {
    const { errorType, error } = ApiError.parse(JSON.parse(body.slice(0, LOOKED_AT)));
    return `: ${oneLine(`${errorType}: ${error}`)}`;
  } catch {
    return '';
  }
}

export function hasSecret({ headers, bearerToken }: Query | HttpCheck): boolean {
  return bearerToken !== undefined || Object.values(headers ?? {}).some((value) => typeof value !== 'string');
}

function headersOf({ headers = {}, bearerToken }: HttpCheck, d: Desired<CheckSpec>): Record<string, string> {
  const named = Object.entries(headers).map(([name, value]) => [name, d.content(value).bytes.toString()]);
  const token = bearerToken && d.content(bearerToken).bytes.toString();
  return {
    ...Object.fromEntries(named),
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  };
}
