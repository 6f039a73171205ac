// Tailscale's API as far as a policy file needs it
// (https://github.com/tailscale/tailscale/blob/main/publicapi/tailnet.md, https://tailscale.com/kb/1215/oauth-clients).
// Says what each refusal means for the loop; keeps access tokens in memory until they expire.
import * as z from 'zod';
import { Stalled, Waiting } from '../../api/errors.ts';
import { sha256 } from '../../api/json.ts';
import type { Clock, Http, HttpResponse } from '../ports.ts';
import { excerpt } from '../shared/excerpt.ts';
import { readAnswer } from './answers.ts';

export const DEFAULT_API = 'https://api.tailscale.com';
/** If-Match for a policy that nobody ever edited. */
export const UNTOUCHED = 'ts-default';

export interface PolicyFile {
  readonly text: string;
  /** Without its quotes. */
  readonly etag: string;
}

export interface Credentials {
  readonly oauth?: { readonly clientID: string; readonly clientSecret: string };
  readonly apiKey?: string;
}

interface Token {
  readonly value: string;
  /** What it may do; undefined where the server did not say. */
  readonly scopes: string | undefined;
  /** On Clock.monotonic. */
  readonly expiresAt: number;
}

const TOKEN = 'getting an access token';
const TIMEOUT_MS = 30_000;
/** A token is given up a minute before its end, so that none expires on the way. */
const EARLIER_MS = 60_000;
const RATE_LIMITED_MS = 60_000;
const EDITED_MEANWHILE_MS = 1_000;

const tokens = new WeakMap<Http, Map<string, Token>>();

/** 412: the policy is another than If-Match says. */
export class PolicyMoved extends Waiting {
  constructor() {
    super(
      'EditedMeanwhile',
      'the policy was edited while this was being applied; it is looked at again',
      EDITED_MEANWHILE_MS,
    );
  }
}

export class PolicyApi {
  readonly #io: { readonly http: Http; readonly clock: Clock };
  readonly #origin: string;
  readonly #acl: string;
  readonly #credentials: Credentials;

  /** @param tailnet an organisation name, or "-" */
  constructor(
    io: { readonly http: Http; readonly clock: Clock },
    { api = DEFAULT_API, tailnet = '-' }: { api?: string | undefined; tailnet?: string | undefined },
    credentials: Credentials,
  ) {
    this.#io = io;
    this.#origin = api;
    this.#acl = `${api}/api/v2/tailnet/${encodeURIComponent(tailnet)}/acl`;
    this.#credentials = credentials;
  }

  /** @throws Stalled, Waiting and, for what may pass, other errors; like all methods here. */
  async get(signal: AbortSignal): Promise<PolicyFile> {
    const answer = await this.#ask('GET', this.#acl, signal);
    if (answer.status !== 200) throw this.#failure(answer, 'reading the policy', 'policy_file:read');
    return policyOf(answer);
  }

  /** The ETag of the policy. @param known an ETag: the server need not send the policy again */
  async etag(known: string | undefined, signal: AbortSignal): Promise<string> {
    const headers = known === undefined ? {} : { 'if-none-match': `"${known}"` };
    const answer = await this.#ask('GET', this.#acl, signal, headers);
    if (answer.status === 304 && known !== undefined) return known;
    if (answer.status !== 200) throw this.#failure(answer, 'reading the policy', 'policy_file:read');
    return policyOf(answer).etag;
  }

  /**
   * Syntax, references and the policy's own tests, judged by the server.
   * @returns its warnings @throws Stalled('Invalid')
   */
  async validate(text: string, signal: AbortSignal): Promise<readonly string[]> {
    const answer = await this.#ask('POST', `${this.#acl}/validate`, signal, {}, text);
    // 200 says only that the question was understood; what is wrong stands in the body.
    if (answer.status !== 200 && answer.status !== 400)
      throw this.#failure(answer, 'validating the policy', 'policy_file:read');
    const said = readAnswer(answer.body);
    if (said?.problem !== undefined)
      throw new Stalled('Invalid', `Tailscale refuses this policy: ${said.problem}`);
    if (answer.status === 400) {
      const words = said === undefined ? `: ${excerpt(answer.body)}` : ', and does not say why';
      throw new Stalled('Invalid', `Tailscale refuses this policy${words}`);
    }
    if (said === undefined) {
      const begins = excerpt(answer.body).slice(0, 80);
      throw new Error(
        `validating the policy: what ${this.#origin} answers is no JSON (${begins}): is this Tailscale’s API?`,
      );
    }
    return said.warnings;
  }

  /**
   * Replaces the policy when it is still the one with this ETag, and never otherwise.
   * @returns the policy as the server keeps it
   * @throws PolicyMoved when it is another one; Stalled('Refused')
   */
  async replace(text: string, etag: string, signal: AbortSignal): Promise<PolicyFile> {
    const answer = await this.#ask('POST', this.#acl, signal, { 'if-match': `"${etag}"` }, text);
    if (answer.status === 200)
      return answer.headers['etag'] === undefined ? this.get(signal) : policyOf(answer);
    if (answer.status === 412) throw new PolicyMoved();
    if (answer.status === 400) {
      const why = readAnswer(answer.body)?.problem ?? excerpt(answer.body);
      throw new Stalled('Refused', `Tailscale refuses this policy: ${why || 'it does not say why'}`);
    }
    throw this.#failure(answer, 'writing the policy', 'policy_file');
  }

  async #ask(
    method: 'GET' | 'POST',
    url: string,
    signal: AbortSignal,
    headers: Readonly<Record<string, string>> = {},
    body?: string,
  ): Promise<HttpResponse> {
    for (let again = false; ; again = true) {
      const { value } = await this.#token(signal);
      const answer = await this.#io.http.request(url, {
        method,
        timeoutMs: TIMEOUT_MS,
        signal,
        headers: {
          accept: 'application/hujson',
          authorization: `Bearer ${value}`,
          ...(body === undefined ? {} : { 'content-type': 'application/hujson' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body }),
      });
      // A token may be revoked before it expires; the client may get another.
      if (answer.status !== 401 || again || this.#credentials.oauth === undefined) return answer;
      this.#kept().delete(this.#key());
    }
  }

  async #token(signal: AbortSignal): Promise<Token> {
    const { apiKey, oauth } = this.#credentials;
    if (apiKey !== undefined)
      return { value: apiKey, scopes: undefined, expiresAt: Number.POSITIVE_INFINITY };
    const kept = this.#kept().get(this.#key());
    if (kept !== undefined && this.#io.clock.monotonic() < kept.expiresAt) return kept;
    const answer = await this.#io.http.request(`${this.#origin}/api/v2/oauth/token`, {
      method: 'POST',
      timeoutMs: TIMEOUT_MS,
      signal,
      headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: oauth!.clientID,
        client_secret: oauth!.clientSecret,
      }).toString(),
    });
    // RFC 6749, section 5.2: a client that is not known is a 400 or a 401.
    if (answer.status === 400) throw this.#failure({ ...answer, status: 401 }, TOKEN, 'policy_file');
    if (answer.status !== 200) throw this.#failure(answer, TOKEN, 'policy_file');
    const { access_token, expires_in, scope } = tokenOf(answer.body, this.#origin);
    const lifeMs = (expires_in ?? 3600) * 1000;
    const token = {
      value: access_token,
      scopes: scope,
      expiresAt: this.#io.clock.monotonic() + Math.max(lifeMs / 2, lifeMs - EARLIER_MS),
    };
    this.#kept().set(this.#key(), token);
    return token;
  }

  #kept(): Map<string, Token> {
    const { http } = this.#io;
    if (!tokens.has(http)) tokens.set(http, new Map());
    return tokens.get(http)!;
  }

  /** A digest, so that the secret is not kept in one place more. */
  #key(): string {
    return sha256(
      `${this.#origin}\n${this.#credentials.oauth?.clientID}\n${this.#credentials.oauth?.clientSecret}`,
    );
  }

  #failure(answer: HttpResponse, what: string, scope: string): Error {
    const said = readAnswer(answer.body)?.problem;
    const words = `${what}: ${this.#origin} answers ${answer.status}${said === undefined ? '' : ` (${said})`}`;
    switch (answer.status) {
      case 401:
        return new Stalled(
          'Unauthorized',
          this.#credentials.oauth === undefined
            ? `${words}: the API key is wrong, revoked or expired; make another, or an OAuth client, which does not expire`
            : `${words}: the OAuth client's id or secret is wrong, or the client was deleted`,
        );
      case 403: {
        const has = this.#kept().get(this.#key())?.scopes;
        const owns = has === undefined ? '' : `; it has ${has === '' ? 'none' : has}`;
        return new Stalled(
          'MissingScope',
          this.#credentials.oauth === undefined
            ? `${words}: the key's owner must be an Owner, Admin or Network admin of the tailnet`
            : `${words}: the OAuth client needs the scope ${scope}${owns}`,
        );
      }
      case 404:
        return new Stalled(
          'NoSuchTailnet',
          `${words}: is the tailnet's name right, and are the credentials its own?`,
        );
      case 429:
        return new Waiting('RateLimited', words, this.#retryAfterMs(answer.headers['retry-after']));
      default:
        return new Error(words);
    }
  }

  /** Seconds or a date (RFC 9110, section 10.2.3). */
  #retryAfterMs(value: string | undefined): number {
    if (value === undefined) return RATE_LIMITED_MS;
    const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - this.#io.clock.now();
    return Number.isFinite(ms) && ms > 0 ? ms : RATE_LIMITED_MS;
  }
}

const AccessToken = z.looseObject({
  access_token: z.string().min(1),
  expires_in: z.coerce.number().positive().optional().catch(undefined),
  scope: z.string().optional().catch(undefined),
});

/** RFC 6749, section 5.1. */
function tokenOf(body: string, origin: string): z.infer<typeof AccessToken> {
  try {
    return AccessToken.parse(JSON.parse(body));
  } catch {
    throw new Error(`${TOKEN}: what ${origin} answers is no access token: is this Tailscale’s API?`);
  }
}

function policyOf(answer: HttpResponse): PolicyFile {
  const etag = (answer.headers['etag'] ?? '').replace(/^W\//, '').replace(/^"(.*)"$/, '$1');
  if (etag === '') throw new Error('the answer has no ETag: is this Tailscale’s API?');
  return { text: answer.body, etag };
}
