// The server behind a data source, as far as Grafana's health check asks it.
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';

export class AnsweringServer {
  /** Of every answer. */
  status = 200;
  url = '';
  #server: http.Server | undefined;

  /** At the same port as before, once it has one. */
  async start(): Promise<this> {
    const server = http.createServer((_, response) => response.writeHead(this.status).end('{}'));
    server.listen(this.url === '' ? 0 : Number(new URL(this.url).port), '127.0.0.1');
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
}
