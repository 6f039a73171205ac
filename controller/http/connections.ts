// The listening side of the HTTP server: how long a client may take, and how many connections nobody has vouched for may
// be open. A connection is proven once a request on it was an enrolled agent's or an operator's; a proven one is never
// closed for others. Of the rest the oldest is closed when a new one needs its place, so that who proves itself at
// once gets in, from behind the same address as one who never does.
import http from 'node:http';
import { sourceOf } from './rate-limits.ts';

type Socket = http.IncomingMessage['socket'];

export interface ConnectionLimits {
  /** Unproven ones of one source, and of all of them, that are older than `graceMs`. */
  readonly perSource: number;
  readonly unproven: number;
  /** In which a connection is expected to prove itself: a fleet that comes back all at once is let in. */
  readonly graceMs: number;
  /** However young they are: of one source, and twice as many in all. */
  readonly most: number;
  /** For all headers of a request, and for a whole request. */
  readonly headersMs: number;
  readonly requestMs: number;
  /** Longer than the longest wait, so that a connection is used again and again. */
  readonly keepAliveMs: number;
  /** Nothing was read or written: longer than any wait. */
  readonly idleMs: number;
  /** How often the times above are looked at. */
  readonly checkMs: number;
}

export const CONNECTION_LIMITS: ConnectionLimits = {
  perSource: 512,
  unproven: 4096,
  graceMs: 2_000,
  most: 8192,
  headersMs: 10_000,
  requestMs: 30_000,
  keepAliveMs: 75_000,
  idleMs: 150_000,
  checkMs: 2_000,
};

/** Header bytes: what agents, browsers and Prometheus send has less than 4 KiB. */
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_HEADERS = 100;

export class Connections {
  readonly #limits: ConnectionLimits;
  readonly #now: () => number;
  /** Unproven ones, the oldest first, with when they were opened. */
  readonly #unproven = new Map<Socket, number>();
  readonly #bySource = new Map<string, Set<Socket>>();
  readonly #proven = new WeakSet<Socket>();
  #closed = 0;

  constructor(limits: ConnectionLimits = CONNECTION_LIMITS, now: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#now = now;
  }

  get unproven(): number {
    return this.#unproven.size;
  }

  /** How many were closed for others. */
  get closed(): number {
    return this.#closed;
  }

  /** For Fastify's `serverFactory`. */
  server(handler: http.RequestListener): http.Server {
    const { headersMs, requestMs, keepAliveMs, idleMs, checkMs } = this.#limits;
    const server = http.createServer(
      {
        headersTimeout: headersMs,
        requestTimeout: requestMs,
        keepAliveTimeout: keepAliveMs,
        connectionsCheckingInterval: checkMs,
        maxHeaderSize: MAX_HEADER_BYTES,
        // Nobody waits to be told that a body may come, and nothing is upgraded.
        requireHostHeader: true,
      },
      handler,
    );
    server.maxHeadersCount = MAX_HEADERS;
    server.setTimeout(idleMs, (socket) => socket.destroy());
    server.on('connection', (socket: Socket) => this.opened(socket));
    return server;
  }

  opened(socket: Socket): void {
    const source = sourceOf(socket.remoteAddress);
    const ofSource = this.#bySource.get(source) ?? new Set();
    this.#bySource.set(source, ofSource);
    ofSource.add(socket);
    this.#unproven.set(socket, this.#now());
    socket.once('close', () => this.#forget(socket, source));
    const { perSource, unproven, most } = this.#limits;
    if (ofSource.size > perSource) this.#makeRoom(ofSource.keys(), ofSource.size > most);
    else if (this.#unproven.size > unproven)
      this.#makeRoom(this.#unproven.keys(), this.#unproven.size > 2 * most);
  }

  /** A request on it was an enrolled agent's or an operator's. */
  prove(socket: Socket): void {
    if (this.#proven.has(socket)) return;
    this.#proven.add(socket);
    this.#forget(socket, sourceOf(socket.remoteAddress));
  }

  isProven(socket: Socket): boolean {
    return this.#proven.has(socket);
  }

  #makeRoom(sockets: Iterator<Socket>, atOnce: boolean): void {
    const oldest = sockets.next().value;
    if (oldest === undefined) return;
    const age = this.#now() - (this.#unproven.get(oldest) ?? 0);
    if (!atOnce && age < this.#limits.graceMs) return;
    this.#closed += 1;
    this.#forget(oldest, sourceOf(oldest.remoteAddress));
    oldest.destroy();
  }

  #forget(socket: Socket, source: string): void {
    this.#unproven.delete(socket);
    const ofSource = this.#bySource.get(source);
    ofSource?.delete(socket);
    if (ofSource?.size === 0) this.#bySource.delete(source);
  }
}
