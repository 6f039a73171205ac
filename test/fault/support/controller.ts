// A controller that a test plays: one server for many hosts, each with the bundle that it is told, or with a lie.
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { SignedBundle } from '../../../api/bundle.ts';
import type { AgentStatus } from '../../../api/status.ts';
import { type TestKey, testKey } from '../../support/bundle.ts';

export type Answer = (request: http.IncomingMessage, response: http.ServerResponse) => void;

interface Host {
  etag: number;
  bundle: SignedBundle | undefined;
  lie: Answer | undefined;
  readonly waiting: Set<() => void>;
  status: AgentStatus | undefined;
  pulls: number;
}

export class FaultController {
  readonly key: TestKey = testKey();
  readonly #hosts = new Map<string, Host>();
  readonly #server = http.createServer((request, response) => this.#answer(request, response));

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  publish(host: string, bundle: SignedBundle): void {
    const h = this.#host(host);
    h.bundle = bundle;
    h.etag += 1;
    for (const wake of h.waiting) wake();
  }

  /** Answers every pull with this until it is taken back, and lets those go that wait. */
  lie(host: string, lie: Answer | undefined): void {
    const h = this.#host(host);
    h.lie = lie;
    h.etag += 1;
    for (const wake of h.waiting) wake();
  }

  /** How often the host asked for its bundle. */
  pulls(host: string): number {
    return this.#host(host).pulls;
  }

  status(host: string): AgentStatus | undefined {
    return this.#host(host).status;
  }

  #host(name: string): Host {
    let host = this.#hosts.get(name);
    if (host === undefined) {
      host = { etag: 0, bundle: undefined, lie: undefined, waiting: new Set(), status: undefined, pulls: 0 };
      this.#hosts.set(name, host);
    }
    return host;
  }

  #answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    const name = /^\/v1\/hosts\/([^/]+)\//.exec(request.url ?? '')?.[1] ?? '';
    const host = this.#host(name);
    if (request.method === 'PUT') {
      let text = '';
      request.on('data', (chunk) => {
        text += chunk;
      });
      request.on('end', () => {
        host.status = JSON.parse(text) as AgentStatus;
        response.writeHead(204).end();
      });
      return;
    }
    host.pulls += 1;
    if (host.lie !== undefined) return host.lie(request, response);
    const etag = () => `"${host.etag}"`;
    const reply = (): void => {
      host.waiting.delete(reply);
      if (host.lie !== undefined) return host.lie(request, response);
      if (host.bundle === undefined) return void response.writeHead(404).end('{}');
      response.writeHead(200, { etag: etag(), 'content-type': 'application/json' });
      response.end(JSON.stringify(host.bundle));
    };
    if (request.headers['if-none-match'] !== etag()) return reply();
    host.waiting.add(reply);
    response.on('close', () => host.waiting.delete(reply));
  }
}
