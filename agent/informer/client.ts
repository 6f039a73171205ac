// The agent's side of the controller's HTTP API: signed requests, bounded answers. undici is loaded at the first
// request, since an agent without a controller does not need its memory.
import type { KeyObject } from 'node:crypto';
import { BundleRefused, keyIdOf, rawPublicKey, SignedBundle } from '../../api/bundle.ts';
import { ErrorBody } from '../../api/error-body.ts';
import { fitted } from '../../api/limits.ts';
import { signRequest } from '../../api/signatures.ts';
import type { AgentStatus } from '../../api/status.ts';
import type { Clock } from '../../kinds/ports.ts';

const MAX_BUNDLE_BYTES = 32 * 1024 * 1024;
/** Of every other answer. */
const MAX_WORDS_BYTES = 64 * 1024;
/** A signed bundle has fewer: braces, commas and colons outside of its texts. */
const MAX_TOKENS = 64;
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

type Pulled = { readonly bundle: SignedBundle; readonly etag: string } | 'unchanged';

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
    const { request } = await import('../providers/undici.ts');
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
      // The signal ends all of it in time. undici's own timeouts wake the process twice a second while it waits.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    const limit = method === 'GET' && response.statusCode === 200 ? MAX_BUNDLE_BYTES : MAX_WORDS_BYTES;
    const text = await readCapped(response.body, limit, Number(response.headers['content-length'] ?? 0));
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
      const { etag } = answer.headers;
      return { bundle: parseSignedBundle(answer.text), etag: typeof etag === 'string' ? etag : '' };
    },

    async report(status, signal) {
      const answer = await send('PUT', `/v1/hosts/${host}/status`, {
        // What the controller would not take is never sent: a host must always be able to report.
        body: JSON.stringify(fitted(status)),
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

/** @throws BundleRefused (malformed) */
export function parseSignedBundle(text: string): SignedBundle {
  let value: unknown;
  try {
    if (hasManyTokens(text)) throw new Error('no bundle looks like this');
    value = JSON.parse(text);
  } catch {
    throw new BundleRefused('malformed', 'the controller’s answer is not JSON, or was cut off');
  }
  const bundle = SignedBundle.safeParse(value);
  if (bundle.success) return bundle.data;
  throw new BundleRefused('malformed', 'the controller’s answer is not a signed bundle');
}

/**
 * Nobody has vouched for this text yet, and 32 MiB of `[],[],…` are gigabytes once they are parsed. A bundle is a
 * handful of texts; what is in them is parsed after their signature.
 */
function hasManyTokens(text: string): boolean {
  let tokens = 0;
  for (let i = 0; i < text.length && tokens <= MAX_TOKENS; i++) {
    if (text[i] === '"') i = endOfString(text, i);
    else if (text.charCodeAt(i) > 32) tokens += 1;
  }
  return tokens > MAX_TOKENS;
}

/** Of the string that begins at `start`; the text's end when it is not closed. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text[end - 1 - backslashes] === '\\') backslashes += 1;
    if (backslashes % 2 === 0) return end;
  }
  return text.length;
}

/** @param announced the length that the headers tell, 0 when they don't. */
async function readCapped(body: AsyncIterable<Buffer>, limit: number, announced: number): Promise<string> {
  const chunks: Buffer[] = [];
  let length = announced > limit ? announced : 0;
  for await (const chunk of body) {
    length += chunk.length;
    // Leaving the loop ends the connection.
    if (length > limit) {
      throw new BundleRefused('malformed', `the controller’s answer is larger than ${limit} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
