// Server-sent events (HTML standard, section 9.2): tell a page that something changed, at most twice a second.
import type { ServerResponse } from 'node:http';
import type { Clock } from '../../kinds/ports.ts';
import type { Fleet } from '../fleet/fleet.ts';
import { sourceOf } from './rate-limits.ts';

const GAP_MS = 500;
/** Keeps proxies and tailnet relays from closing a quiet stream. */
const PING_MS = 25_000;
const MOST = 200;
/** Of one address: where reads are open, anybody may listen. */
const MOST_OF_A_SOURCE = 50;

export class EventStreams {
  readonly #fleet: Fleet;
  readonly #clock: Pick<Clock, 'setTimeout'>;
  readonly #streams = new Map<ServerResponse, () => void>();

  constructor(fleet: Fleet, clock: Pick<Clock, 'setTimeout'>) {
    this.#fleet = fleet;
    this.#clock = clock;
  }

  open(response: ServerResponse): void {
    const source = sourceOf(response.socket?.remoteAddress);
    const ofSource = [...this.#streams.keys()].filter((r) => sourceOf(r.socket?.remoteAddress) === source);
    if (this.#streams.size >= MOST || ofSource.length >= MOST_OF_A_SOURCE) {
      response.writeHead(503, { 'retry-after': '10' }).end();
      return;
    }
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    response.write('retry: 2000\n\n');
    const hosts = new Set<string>();
    let pending: { cancel(): void } | undefined;
    let ping: { cancel(): void } | undefined;
    const beat = (): void => {
      ping = this.#clock.setTimeout(() => {
        response.write(': still here\n\n');
        beat();
      }, PING_MS);
    };
    beat();
    const forget = this.#fleet.onChange((change) => {
      if (change.host !== undefined) hosts.add(change.host);
      pending ??= this.#clock.setTimeout(() => {
        pending = undefined;
        response.write(`event: change\ndata: ${JSON.stringify({ hosts: [...hosts] })}\n\n`);
        hosts.clear();
      }, GAP_MS);
    });
    const close = (): void => {
      forget();
      pending?.cancel();
      ping?.cancel();
      this.#streams.delete(response);
    };
    this.#streams.set(response, close);
    response.on('close', close);
  }

  stop(): void {
    for (const [response, close] of [...this.#streams]) {
      close();
      response.end();
    }
  }
}
