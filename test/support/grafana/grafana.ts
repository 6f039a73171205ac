// A stand-in for Grafana, which can't be had here: its HTTP API on a loopback port, in the generation that a test
// asks for, as the documentation has it; dashboards of schema v2 as grafana/grafana's sources have them (v2.ts). test/unit/support/grafana-standin.test.ts holds it to that; with
// GRAFANA_URL and GRAFANA_TOKEN in the environment the same tests run against a real one.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { answerApi, type Request } from './api.ts';
import { answerApis, DASHBOARD_VERSIONS_13 } from './apis.ts';
import { type Answer, GrafanaState, type Obj, Refusal } from './state.ts';

export type Generation = 'api' | 'apis';
export type Role = 'Viewer' | 'Editor' | 'Admin';

export class StandInGrafana {
  readonly generation: Generation;
  readonly state = new GrafanaState();
  /** Of a service account with the role Admin. */
  readonly token = `glsa_${randomBytes(16).toString('hex')}`;
  readonly tokens = new Map<string, Role>([[this.token, 'Admin']]);
  /** By name: password and role. */
  readonly users = new Map<string, readonly [password: string, role: Role]>();
  /** Every request, as `METHOD path`. */
  readonly asked: string[] = [];
  /** Of dashboard.grafana.app, where /apis is served: those of Grafana 13. */
  dashboardVersions: readonly string[] = DASHBOARD_VERSIONS_13;
  /** What is answered in place of everything, while it is set. */
  broken: Answer | undefined;
  /** What is answered in place of writes, while it is set: a text goes out as it is. */
  brokenWrites: Answer | undefined;
  /** What is answered in place of the health of data sources, while it is set. */
  brokenHealth: Answer | undefined;
  /** Runs before a write is carried out: somebody else may be faster. */
  beforeWrite: () => Promise<void> = async () => {};
  url = '';
  #server: http.Server | undefined;

  constructor(generation: Generation = 'apis') {
    this.generation = generation;
  }

  /** @param port that of an earlier start, to come back at the same place. */
  async start(port = 0): Promise<this> {
    const server = http.createServer((request, response) => void this.#serve(request, response));
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return this;
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

  /** What somebody else does, with curl. @throws Error when Grafana refuses it. */
  async curl(method: string, path: string, body?: unknown): Promise<Obj> {
    const answer = await fetch(`${this.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return JSON.parse(text) as Obj;
  }

  /** As in the browser: opened, changed, saved. */
  async edit(uid: string, change: (dashboard: Obj) => void, folderUid?: string): Promise<void> {
    const { dashboard, meta } = (await this.curl('GET', `/api/dashboards/uid/${uid}`)) as Record<string, Obj>;
    change(dashboard!);
    const folder = folderUid ?? meta!['folderUid'];
    await this.curl('POST', '/api/dashboards/db', { dashboard, folderUid: folder, overwrite: false });
  }

  /** As in the browser of Grafana 13, which saves in schema v2. */
  async editV2(uid: string, change: (spec: Obj) => void, folder?: string): Promise<void> {
    const path = `/apis/dashboard.grafana.app/v2/namespaces/default/dashboards/${uid}`;
    const dashboard = (await this.curl('GET', path)) as Record<'metadata' | 'spec', Obj>;
    change(dashboard.spec);
    if (folder !== undefined)
      Object.assign(dashboard.metadata, { annotations: { 'grafana.app/folder': folder } });
    await this.curl('PUT', path, dashboard);
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    let answer: Answer;
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://grafana');
    try {
      let text = '';
      for await (const chunk of request) text += chunk;
      const method = request.method ?? 'GET';
      this.asked.push(`${method} ${pathname}`);
      const body = (text === '' ? {} : JSON.parse(text)) as Obj;
      answer =
        this.broken ??
        (method === 'GET' ? undefined : this.brokenWrites) ??
        (pathname.endsWith('/health') ? this.brokenHealth : undefined) ??
        (await this.#answer(request.headers.authorization, {
          method,
          path: pathname,
          query: searchParams,
          body,
        }));
    } catch (error) {
      answer =
        error instanceof Refusal
          ? refusal(error, pathname)
          : { status: 400, body: { message: (error as Error).message } };
    }
    if (response.destroyed) return;
    const isText = typeof answer.body === 'string';
    response.writeHead(answer.status, {
      'content-type': isText ? 'text/html' : 'application/json; charset=UTF-8',
    });
    response.end(isText ? answer.body : JSON.stringify(answer.body));
  }

  async #answer(authorization: string | undefined, request: Request): Promise<Answer> {
    const role = this.#roleOf(authorization);
    if (role === undefined) throw new Refusal(401, 'Invalid API key', 'Unauthorized');
    if (!mayDo(role, request)) {
      const words = "You'll need additional permissions to perform this action.";
      throw new Refusal(403, words, 'Forbidden');
    }
    const { path } = request;
    if (request.method !== 'GET') await this.beforeWrite();
    const answer =
      path === '/apis' || path.startsWith('/apis/')
        ? this.generation === 'apis'
          ? answerApis(this.state, request, this.dashboardVersions)
          : undefined
        : await answerApi(this.state, request);
    if (answer === undefined) throw new Refusal(404, 'Not found', 'NotFound');
    return answer;
  }

  #roleOf(authorization: string | undefined): Role | undefined {
    const [scheme, value = ''] = (authorization ?? '').split(' ');
    if (scheme === 'Bearer') return this.tokens.get(value);
    if (scheme !== 'Basic') return undefined;
    const [user = '', password] = Buffer.from(value, 'base64').toString().split(':');
    const known = this.users.get(user);
    return known?.[0] === password ? known?.[1] : undefined;
  }
}

/** The basic roles: viewers look and query, editors write dashboards and folders, admins data sources. */
function mayDo(role: Role, { method, path }: Request): boolean {
  if (path.startsWith('/api/datasources/proxy/')) return true;
  if (path.startsWith('/api/datasources')) return role === 'Admin';
  return method === 'GET' || role !== 'Viewer';
}

/** /api says `message` (and `status`), /apis a Status of Kubernetes. */
function refusal({ status, message, reason }: Refusal, path: string): Answer {
  if (!path.startsWith('/apis'))
    return { status, body: { message, ...(status === 412 ? { status: reason } : {}) } };
  const body = { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, reason, code: status };
  return { status, body };
}
