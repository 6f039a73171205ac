// A stand-in of Tailscale's API, as far as it concerns the policy file: Tailscale's own can't be had in a test. It
// follows what is documented (https://github.com/tailscale/tailscale/blob/main/publicapi/tailnet.md,
// https://tailscale.com/kb/1215/oauth-clients) and test/unit/support/tailscale-api.test.ts holds it to that. It says
// what it is in its Server header.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ParseError, parse, printParseErrorCode } from 'jsonc-parser';
import {
  Compiler,
  type FilterRule,
  NotKnown,
  type Policy,
  PolicyError,
  type Tailnet,
  type Test,
} from './compile.ts';
import { endsInComment, layOut } from './layout.ts';

/** What a new tailnet begins with: everything passes. */
export const DEFAULT_POLICY = layOut(`// Example/default ACLs for unrestricted connections.
{
  // Declare static groups of users beyond those in the identity service.
  "groups": {
    "group:example": ["admin@example.com"],
  },
  // Access control lists.
  "acls": [
    // Match absolutely everything.
    {"action": "accept", "src": ["*"], "dst": ["*:*"]},
  ],
}
`);

export interface Client {
  readonly id: string;
  readonly secret: string;
  /** As the admin console grants them: policy_file, policy_file:read, devices:core:read, … */
  readonly scopes: readonly string[];
}

export interface TailscaleApiOptions {
  readonly tailnet: Tailnet | (() => Promise<Tailnet>);
  readonly organisation?: string;
  readonly tokenSeconds?: number;
  /** Unix milliseconds; tokens expire by it. */
  readonly now?: () => number;
  /** Called with the packet filter whenever a policy is taken. */
  readonly enforce?: (rules: readonly FilterRule[]) => Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const NO_PERMISSION = 'calling actor does not have enough permissions to perform this function';

export class TailscaleApi {
  readonly #options: TailscaleApiOptions;
  readonly #tokens = new Map<string, { readonly scopes: readonly string[]; readonly expires: number }>();
  readonly clients = new Map<string, Client>();
  /** `METHOD /path`, and the If-Match of writes, in order. */
  readonly asked: string[] = [];
  /** What every request to the policy is answered with instead. */
  failing: Answer | undefined;
  /** Policies that pass validation, and that a write refuses. */
  refuses: (text: string) => boolean = () => false;
  /** What a validation is answered with instead. */
  validates: Answer | undefined;
  /** Runs before a write is looked at: somebody is quicker. */
  beforeWrite: (() => Promise<void>) | undefined;
  #text = DEFAULT_POLICY;
  #touched = false;
  #server: http.Server | undefined;

  constructor(options: TailscaleApiOptions) {
    this.#options = options;
  }

  get text(): string {
    return this.#text;
  }

  /** cmd/gitops-pusher computes the same from a local file. */
  get etag(): string {
    return createHash('sha256').update(this.#text).digest('hex');
  }

  /** An OAuth client, or with `apiKey()` a token that does not expire. */
  addClient(...scopes: string[]): Client {
    const client = { id: `k${randomBytes(6).toString('hex')}CNTRL`, secret: secretOf('client'), scopes };
    this.clients.set(client.id, client);
    return client;
  }

  apiKey(...scopes: string[]): string {
    const key = secretOf('api');
    this.#tokens.set(key, { scopes, expires: Number.POSITIVE_INFINITY });
    return key;
  }

  revokeTokens(): void {
    this.#tokens.clear();
  }

  /** As somebody would in the admin console. */
  async edit(change: (text: string) => string): Promise<void> {
    await this.#take(change(this.#text));
  }

  /** @param host and port to listen on; default: any port of loopback. @returns its origin */
  async start(host = '127.0.0.1', port = 0): Promise<string> {
    const server = http.createServer((request, response) => void this.#serve(request, response));
    this.#server = server;
    server.listen(port, host);
    await once(server, 'listening');
    return `http://${host}:${(server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    let answer: Answer;
    try {
      answer = await this.#answer(request);
    } catch (error) {
      answer = message(error instanceof NotKnown ? 501 : 500, (error as Error).message);
    }
    const headers = { server: 'homeostat stand-in of the Tailscale API', ...answer.headers };
    response.writeHead(answer.status, headers).end(answer.body ?? '');
  }

  async #answer(request: http.IncomingMessage): Promise<Answer> {
    let body = '';
    for await (const chunk of request) body += chunk;
    const url = new URL(request.url ?? '/', 'http://api');
    const method = request.method ?? 'GET';
    const ifMatch = request.headers['if-match'];
    this.asked.push(`${method} ${url.pathname}${ifMatch === undefined ? '' : ` If-Match: ${ifMatch}`}`);
    if (url.pathname === '/api/v2/oauth/token') return this.#token(method, request, body);
    const [, tailnet, what] = /^\/api\/v2\/tailnet\/([^/]+)\/(acl|acl\/validate)$/.exec(url.pathname) ?? [];
    if (tailnet === undefined || what === undefined) return message(404, 'page not found');
    if (this.failing !== undefined) return this.failing;
    const actor = this.#actor(request.headers.authorization);
    if (actor === undefined) return message(401, 'API token invalid');
    if (tailnet !== '-' && decodeURIComponent(tailnet) !== (this.#options.organisation ?? 'example.com')) {
      return message(404, 'tailnet not found');
    }
    const writes = method === 'POST' && what === 'acl';
    const enough = [
      'policy_file',
      'acl',
      'all',
      ...(writes ? [] : ['policy_file:read', 'acl:read', 'all:read']),
    ];
    if (!actor.some((scope) => enough.includes(scope))) return message(403, NO_PERMISSION);
    if (what === 'acl/validate')
      return method === 'POST' ? this.#validate(body) : message(405, 'method not allowed');
    if (method === 'GET') return this.#read(request, url);
    return writes ? this.#write(request, body) : message(405, 'method not allowed');
  }

  /** RFC 6749, section 4.4. */
  #token(method: string, request: http.IncomingMessage, body: string): Answer {
    if (method !== 'POST') return message(405, 'method not allowed');
    const form = new URLSearchParams(body);
    const [basicID, basicSecret] = basic(request.headers.authorization) ?? [];
    const client = this.clients.get(form.get('client_id') ?? basicID ?? '');
    if (client === undefined || client.secret !== (form.get('client_secret') ?? basicSecret)) {
      return message(401, 'API token invalid');
    }
    const wanted = form.get('scope')?.split(' ').filter(Boolean) ?? client.scopes;
    if (wanted.some((scope) => !client.scopes.includes(scope))) {
      return message(403, `OAuth client cannot grant scopes "${wanted.join(' ')}"`);
    }
    const seconds = this.#options.tokenSeconds ?? 3600;
    const token = secretOf('api');
    this.#tokens.set(token, { scopes: wanted, expires: this.#now() + seconds * 1000 });
    return json({ access_token: token, token_type: 'Bearer', expires_in: seconds, scope: wanted.join(' ') });
  }

  #now(): number {
    return this.#options.now?.() ?? Date.now();
  }

  /** The scopes of whoever asks: a bearer token, or the token as the user of basic authentication. */
  #actor(authorization: string | undefined): readonly string[] | undefined {
    const token = /^Bearer (.+)$/.exec(authorization ?? '')?.[1] ?? basic(authorization)?.[0];
    const known = this.#tokens.get(token ?? '');
    return known !== undefined && this.#now() < known.expires ? known.scopes : undefined;
  }

  #read(request: http.IncomingMessage, url: URL): Answer {
    if (request.headers['if-none-match'] === `"${this.etag}"`) {
      return { status: 304, headers: { etag: `"${this.etag}"` } };
    }
    if (url.searchParams.get('details') === '1') {
      const acl = Buffer.from(this.#text).toString('base64');
      return { ...json({ acl, warnings: [], errors: null }), headers: { etag: `"${this.etag}"` } };
    }
    return this.#policy(request);
  }

  #policy(request: http.IncomingMessage): Answer {
    const etag = `"${this.etag}"`;
    if (/application\/json/.test(request.headers.accept ?? '')) {
      const body = JSON.stringify(parse(this.#text, [], { allowTrailingComma: true }));
      return { status: 200, body, headers: { 'content-type': 'application/json', etag } };
    }
    return { status: 200, body: this.#text, headers: { 'content-type': 'application/hujson', etag } };
  }

  async #write(request: http.IncomingMessage, body: string): Promise<Answer> {
    await this.beforeWrite?.();
    const ifMatch = request.headers['if-match'];
    const isFresh = ifMatch === '"ts-default"' ? !this.#touched : ifMatch === `"${this.etag}"`;
    if (ifMatch !== undefined && !isFresh) return message(412, 'precondition failed, invalid old hash');
    const problem = await this.#problem(body);
    if (problem !== undefined) return { ...json(problem), status: 400 };
    if (this.refuses(body)) return message(400, 'this policy is refused');
    await this.#take(body);
    return this.#policy(request);
  }

  async #validate(body: string): Promise<Answer> {
    if (this.validates !== undefined) return this.validates;
    // 200 whatever comes out.
    const tests = body.trimStart().startsWith('[');
    if (!tests) return json((await this.#problem(body)) ?? {});
    const current = parse(this.#text, [], { allowTrailingComma: true }) as Policy;
    const failed = (await this.#compiler(current)).failures(
      parse(body, [], { allowTrailingComma: true }) as Test[],
    );
    return json(failed.length === 0 ? {} : { message: 'test(s) failed', data: failed });
  }

  async #compiler(policy: Policy): Promise<Compiler> {
    const { tailnet } = this.#options;
    return new Compiler(policy, typeof tailnet === 'function' ? await tailnet() : tailnet);
  }

  /** What is wrong with a policy, as the API says it. */
  async #problem(text: string): Promise<{ message: string; data?: unknown } | undefined> {
    const errors: ParseError[] = [];
    const policy = parse(text, errors, { allowTrailingComma: true }) as unknown;
    const [error] = errors;
    if (endsInComment(text)) return { message: 'parsing comment: unexpected EOF' };
    if (error !== undefined || typeof policy !== 'object' || policy === null || Array.isArray(policy)) {
      const before = text.slice(0, error?.offset ?? 0);
      const place = `line ${before.split('\n').length}, column ${before.length - before.lastIndexOf('\n')}`;
      return {
        message: `${place}: ${error === undefined ? 'not an object' : printParseErrorCode(error.error)}`,
      };
    }
    try {
      const failed = (await this.#compiler(policy as Policy)).failures();
      return failed.length === 0 ? undefined : { message: 'test(s) failed', data: failed };
    } catch (e) {
      if (e instanceof PolicyError) return { message: e.message };
      throw e;
    }
  }

  async #take(text: string): Promise<void> {
    const policy = parse(text, [], { allowTrailingComma: true }) as Policy;
    const rules = (await this.#compiler(policy)).rules();
    this.#text = layOut(text);
    this.#touched = true;
    await this.#options.enforce?.(rules);
  }
}

function json(value: unknown): Answer {
  return { status: 200, body: JSON.stringify(value), headers: { 'content-type': 'application/json' } };
}

function message(status: number, text: string): Answer {
  return { ...json({ message: text }), status };
}

function basic(authorization: string | undefined): [string, string] | undefined {
  const encoded = /^Basic (.+)$/.exec(authorization ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const [user = '', ...password] = Buffer.from(encoded, 'base64').toString().split(':');
  return [user, password.join(':')];
}

function secretOf(type: 'api' | 'client'): string {
  return `tskey-${type}-${randomBytes(6).toString('hex')}-${randomBytes(16).toString('hex')}`;
}
