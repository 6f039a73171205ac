/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): the HTTP side and the
 * loading of files. Bodies, status codes and alloy_config_* follow the recordings: the hash is that of the
 * bytes last *tried*; last_load_successful is 0 only after a file that could not be parsed (bad-syntax), and
 * 1 after one whose evaluation failed (bad-attr) or whose references dangle (bad-ref).
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { File } from './ast.ts';
import type { Surroundings } from './component.ts';
import type { Controller } from './controller.ts';
import type { Args } from './evaluate.ts';
import { parseAll, readSources } from './load.ts';
import type { Labels, Scoped } from './metrics.ts';
import type { Node } from './nodes.ts';
import { ConfigError, type Diagnostic, type Source } from './source.ts';

/** First byte of a record of TLS that opens a connection (RFC 8446, 5.1). */
const HANDSHAKE = 0x16;

/** What went wrong with a load, in the words of a reload's body. */
export class LoadError extends Error {
  readonly diagnostics: Diagnostic[];

  constructor(message: string, diagnostics: Diagnostic[] = []) {
    super(message);
    this.diagnostics = diagnostics;
  }
}

export class Alloy {
  readonly #path: string;
  readonly #controller: Controller;
  readonly #surroundings: Surroundings;
  readonly #scope: Scoped;
  #ready = false;

  constructor(path: string, controller: Controller, surroundings: Surroundings) {
    this.#path = path;
    this.#controller = controller;
    this.#surroundings = surroundings;
    this.#scope = surroundings.metrics.scope();
    this.#scope.add('alloy_config_load_failures_total', 0);
    this.#scope.set('alloy_config_last_load_success_timestamp_seconds', 0);
    this.#scope.set('alloy_config_last_load_successful', 0);
    surroundings.process.set('process_start_time_seconds', Date.now() / 1000 - process.uptime());
    surroundings.process.set('alloy_build_info', 1, { version: 'v1.18.0', revision: 'homeostat-stand-in' });
  }

  /** Loads the files as they are now. @throws LoadError */
  async load(): Promise<void> {
    const files = this.#read();
    try {
      await this.#controller.load(files, !this.#ready);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      // What failed to evaluate is the pipeline now; only the very first load is refused as a whole.
      throw new LoadError(`error during the initial load: ${error.message}`, error.diagnostics);
    }
    this.#ready = true;
  }

  #read(): File[] {
    const prefix = `reading config path "${this.#path}"`;
    let sources: Source[] = [];
    try {
      sources = readSources(this.#path);
      const files = parseAll(sources);
      this.#record(true, sources);
      return files;
    } catch (error) {
      this.#record(false, sources);
      const diagnostics = error instanceof ConfigError ? error.diagnostics : [];
      throw new LoadError(`${prefix}: ${(error as Error).message}`, diagnostics);
    }
  }

  #record(success: boolean, sources: Source[]): void {
    const hash = createHash('sha256');
    for (const { text } of sources) hash.update(text);
    const sha256 = sources.length > 0 ? hash.digest('hex') : '0'.repeat(64);
    this.#scope.remove({ cluster_name: '' });
    this.#scope.set('alloy_config_hash', 1, { cluster_name: '', sha256 });
    this.#scope.set('alloy_config_last_load_successful', success ? 1 : 0);
    if (success) this.#scope.set('alloy_config_last_load_success_timestamp_seconds', Date.now() / 1000);
    else this.#scope.add('alloy_config_load_failures_total', 1);
  }

  /** Reload, and say how it went; used by HTTP and SIGHUP alike. */
  async reload(): Promise<{ status: number; body: string }> {
    this.#surroundings.log('info', 'reload requested');
    try {
      await this.load();
      this.#surroundings.log('info', 'config reloaded');
      return { status: 200, body: 'config reloaded' };
    } catch (error) {
      if (!(error instanceof LoadError)) throw error;
      this.#surroundings.log('error', 'failed to reload config', { err: error.message });
      return { status: 400, body: error.message };
    }
  }

  listen(host: string, port: number): Promise<Server> {
    const inner = createHttpServer((request, response) => {
      const path = new URL(request.url ?? '/', 'http://alloy').pathname;
      const isEncrypted = request.socket instanceof TLSSocket;
      const closed = closedBy(this.#controller.http, path, request.headers.authorization, isEncrypted);
      if (closed) return void response.writeHead(closed.status, closed.headers).end(closed.body);
      void this.#answer(request.method ?? 'GET', path, response);
    });
    // As Alloy's lazy listener: what a connection speaks is what the config that is loaded says.
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.once('data', (first) => {
        socket.pause();
        socket.unshift(first);
        const tls = this.#controller.http?.blocks.find(({ name }) => name === 'tls')?.values;
        const isSecure = first[0] === HANDSHAKE && tls !== undefined;
        inner.emit('connection', isSecure ? secured(socket, tls) : socket);
        process.nextTick(() => socket.resume());
      });
    });
    return new Promise((resolve, reject) => {
      server.on('error', reject);
      server.listen(port, host, () => resolve(server));
    });
  }

  async #answer(method: string, path: string, response: ServerResponse): Promise<void> {
    const text = (status: number, body: string): void => {
      response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' }).end(`${body}\n`);
    };
    switch (path) {
      case '/-/reload': {
        if (method !== 'GET' && method !== 'POST') return void response.writeHead(405).end();
        const { status, body } = await this.reload();
        return text(status, body);
      }
      case '/-/ready':
        return this.#ready ? text(200, 'Alloy is ready.') : text(503, 'Alloy is not ready.');
      case '/-/healthy': {
        const nodes = await this.#controller.nodes();
        const names = nodes.filter(({ health }) => health.state !== 'healthy').map(({ name }) => name);
        if (names.length > 0) return text(500, `unhealthy components: ${names.join(', ')}`);
        return text(200, 'All Alloy components are healthy.');
      }
      case '/metrics': {
        const extra = health(await this.#controller.nodes());
        response.writeHead(200, { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' });
        return void response.end(this.#surroundings.metrics.render(extra));
      }
      case '/api/v0/web/components': {
        const nodes = await this.#controller.nodes();
        response.writeHead(200, { 'Content-Type': 'application/json' });
        return void response.end(JSON.stringify(nodes.map(component)));
      }
      case '/':
        return text(200, "This is homeostat's stand-in for Grafana Alloy. It has no user interface.");
      default:
        return text(404, '404 page not found');
    }
  }
}

function secured(socket: Socket, tls: Args['values']): TLSSocket {
  const pem = (name: string): string | Buffer =>
    (tls[`${name}_pem`] as string | undefined) ?? readFileSync(String(tls[`${name}_file`]));
  const secure = new TLSSocket(socket, { isServer: true, cert: pem('cert'), key: pem('key') });
  return secure.on('error', () => secure.destroy());
}

/**
 * What the http block answers instead of Alloy, to whom lacks the password: recorded in behaviour.md. With a tls block
 * it answers as Go's server does whoever speaks plain HTTP to it.
 */
function closedBy(
  http: Args | undefined,
  path: string,
  authorization: string | undefined,
  isEncrypted: boolean,
): { status: number; headers: Record<string, string>; body: string } | undefined {
  const block = (name: string, of = http) => of?.blocks.find((one) => one.name === name);
  if (block('tls') && !isEncrypted) {
    return { status: 400, headers: {}, body: 'Client sent an HTTP request to an HTTPS server.\n' };
  }
  const auth = block('auth');
  const basic = block('basic', auth)?.values;
  if (!basic) return undefined;
  // internal/service/http/auth.go: without a filter every path is closed, and with an empty one none.
  const filter = block('filter', auth)?.values;
  const paths = (filter?.['paths'] ?? []) as string[];
  const matches = paths.some((prefix) => path.startsWith(prefix));
  if (matches !== (filter?.['authenticate_matching_paths'] ?? filter !== undefined)) return undefined;
  const pair = Buffer.from(`${basic['username']}:${basic['password']}`).toString('base64');
  if (authorization === `Basic ${pair}`) return undefined;
  return { status: 401, headers: { 'Www-Authenticate': 'Basic realm="Restricted"' }, body: '' };
}

function health(nodes: Node[]): { name: string; labels: Labels; value: number }[] {
  const name = 'alloy_component_controller_running_components';
  const states = Map.groupBy(nodes, (node) => node.health.state);
  return [...states].map(([health_type, { length }]) => ({
    name,
    labels: { controller_id: '', controller_path: '/', health_type },
    value: length,
  }));
}

/** One component as the recordings show it. */
function component(node: Node): Record<string, unknown> {
  return {
    name: node.name,
    type: 'block',
    localID: node.id,
    moduleID: '',
    label: node.label,
    referencesTo: node.references,
    referencedBy: node.referencedBy,
    dataFlowEdgesTo: node.dataFlowEdgesTo,
    health: node.health,
    original: '',
    arguments: [],
    exports: [],
    debugInfo: [],
    liveDebuggingEnabled: node.liveDebugging,
  };
}
