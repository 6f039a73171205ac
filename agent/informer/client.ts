// The agent's side of the controller's HTTP API: signed requests, bounded answers. undici is loaded at the first
// request, since an agent without a controller does not need its 25 MiB.
import type { KeyObject } from 'node:crypto';
import { z } from 'zod';
import { BundleRefused, keyIdOf, rawPublicKey, SignedBundle } from '../../api/bundle.ts';
import { signRequest } from '../../api/signatures.ts';
import type { AgentStatus } from '../../api/status.ts';
import type { Clock } from '../../kinds/ports.ts';

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const WAIT_SECONDS = 55;
/** What an answer may take beyond the wait that was asked for: one byte a second is not forever. */
const GRACE_MS = 30_000;

/** The controller answered, and not with what was asked for. */
export class ControllerError extends Error {
  override readonly name = 'ControllerError';
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export type Pulled = { readonly bundle: SignedBundle; readonly etag: string } | 'unchanged';

const ErrorBody = z.object({ error: z.object({ code: z.string(), message: z.string() }) });

export interface ControllerClient {
  /** Long poll. @throws BundleRefused (malformed), ControllerError, system errors. */
  pull(
    known: { etag?: string; payloadDigest?: string; waitSeconds?: number },
    signal: AbortSignal,
  ): Promise<Pulled>;
  report(status: AgentStatus, signal: AbortSignal): Promise<void>;
}

export function createControllerClient(options: {
  readonly url: string;
  readonly host: string;
  readonly privateKey: KeyObject;
  readonly clock: Clock;
}): ControllerClient {
  const { host, privateKey, clock } = options;
  const base = options.url.replace(/\/$/, '');
  const keyId = keyIdOf(rawPublicKey(privateKey));
  /** The controller's clock minus ours, seconds; learnt when it says that ours is off. */
  let skewSeconds = 0;

  async function send(
    method: 'GET' | 'PUT',
    path: string,
    init: { headers?: Record<string, string>; body?: string; timeoutMs: number; signal: AbortSignal },
    retried = false,
  ): Promise<{ status: number; headers: Record<string, string | string[] | undefined>; text: string }> {
    const { request } = await import('undici');
    const url = `${base}${path}`;
    const signed = signRequest({
      method,
      url,
      ...(init.body === undefined ? {} : { body: init.body }),
      privateKey,
      keyId,
      createdSeconds: Math.floor(clock.now() / 1000) + skewSeconds,
    });
    const response = await request(url, {
      method,
      headers: {
        ...init.headers,
        ...(init.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...signed,
      },
      ...(init.body === undefined ? {} : { body: init.body }),
      signal: AbortSignal.any([init.signal, AbortSignal.timeout(init.timeoutMs)]),
      headersTimeout: init.timeoutMs,
      bodyTimeout: GRACE_MS,
    });
    const text = await readCapped(response.body);
    if (response.statusCode === 401 && !retried && learnSkew(text, response.headers['date'])) {
      return send(method, path, init, true);
    }
    return { status: response.statusCode, headers: response.headers, text };
  }

  function learnSkew(text: string, date: string | string[] | undefined): boolean {
    const theirs = typeof date === 'string' ? Date.parse(date) : Number.NaN;
    if (Number.isNaN(theirs) || errorOf(text)?.code !== 'ClockSkew') return false;
    skewSeconds = Math.round((theirs - clock.now()) / 1000);
    return true;
  }

  return {
    async pull(known, signal) {
      const wait = known.waitSeconds ?? WAIT_SECONDS;
      const answer = await send('GET', `/v1/hosts/${host}/bundle?wait=${wait}`, {
        headers: {
          ...(known.etag === undefined ? {} : { 'if-none-match': known.etag }),
          ...(known.payloadDigest === undefined ? {} : { 'homeostat-have-payload': known.payloadDigest }),
        },
        timeoutMs: wait * 1000 + GRACE_MS,
        signal,
      });
      if (answer.status === 304) return 'unchanged';
      if (answer.status !== 200) throw refusal(answer.status, answer.text);
      let value: unknown;
      try {
        value = JSON.parse(answer.text);
      } catch {
        throw new BundleRefused('malformed', 'the controller’s answer is not JSON, or was cut off');
      }
      const bundle = SignedBundle.safeParse(value);
      if (!bundle.success)
        throw new BundleRefused('malformed', 'the controller’s answer is not a signed bundle');
      const { etag } = answer.headers;
      return { bundle: bundle.data, etag: typeof etag === 'string' ? etag : '' };
    },

    async report(status, signal) {
      const answer = await send('PUT', `/v1/hosts/${host}/status`, {
        body: JSON.stringify(status),
        timeoutMs: GRACE_MS,
        signal,
      });
      if (answer.status >= 300) throw refusal(answer.status, answer.text);
    },
  };
}

function errorOf(text: string): { code: string; message: string } | undefined {
  try {
    return ErrorBody.parse(JSON.parse(text)).error;
  } catch {
    return undefined;
  }
}

function refusal(status: number, text: string): ControllerError {
  const error = errorOf(text);
  return new ControllerError(
    status,
    error?.code ?? `HTTP${status}`,
    error?.message ?? `the controller answered ${status}`,
  );
}

async function readCapped(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) {
      throw new BundleRefused(
        'malformed',
        `the controller’s answer is larger than ${MAX_ANSWER_BYTES} bytes`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
