// Check against an HTTP server of the test, on loopback.
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemClock } from '../../agent/providers/clock.ts';
import { createHttp } from '../../agent/providers/http.ts';
import { sockets } from '../../agent/providers/sockets.ts';
import { check } from '../../kinds/check/index.ts';
import type { Fixture } from './fixture.ts';

export const checkFixture: Fixture = {
  kind: check,
  async open(t) {
    const good = { status: 200, body: 'all is well\n', cut: false };
    let now = good;
    const server = http.createServer((request, response) => {
      if (now.cut) request.socket.destroy();
      else response.writeHead(now.status).end(now.body);
    });
    const listen = async (port: number): Promise<number> => {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
      return (server.address() as AddressInfo).port;
    };
    const port = await listen(0);
    const client = createHttp();
    t.after(async () => {
      await client.close();
      server.closeAllConnections();
      server.close();
    });
    const answer = (other: Partial<typeof good>): void => {
      now = { ...good, ...other };
    };
    const repair = async (): Promise<void> => {
      answer({});
      if (!server.listening) await listen(port);
    };
    const url = `http://127.0.0.1:${port}/`;
    // A hundred times faster than its interval of a second.
    const clock = {
      ...systemClock,
      sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 100, signal),
    };
    return {
      ports: { http: client, sockets, clock },
      specs: [
        { http: { url, contains: 'well' }, interval: '1s' },
        { tcp: { address: `127.0.0.1:${port}` }, interval: '2s' },
      ],
      breakages: {},
      unwell: {
        'another status': { harm: () => answer({ status: 500 }), repair },
        'another body': { harm: () => answer({ body: 'not as it should be' }), repair },
        'cut off': { harm: () => answer({ cut: true }), repair },
        stopped: {
          async harm() {
            server.close();
            await once(server, 'close');
          },
          repair,
        },
      },
      fingerprint: () => JSON.stringify(now),
    };
  },
};
