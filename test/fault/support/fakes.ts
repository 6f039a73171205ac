// What a host runs besides the agent, played by the test's process, so that it outlives an agent that is killed:
// an Alloy on a port, a tailscaled on a unix socket, a systemd behind agent-process.ts' remote units.
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { systemClock } from '../../../agent/providers/clock.ts';
import { JobFailed } from '../../../kinds/ports.ts';
import { FakeAlloy } from '../../support/fake-alloy.ts';
import { FakeSystemd } from '../../support/fake-systemd.ts';
import { FakeTailscale } from '../../support/fake-tailscale.ts';

export interface Served {
  close(): Promise<void>;
}

export async function serve(listener: http.RequestListener, where: string | number) {
  const server = http.createServer(listener);
  if (typeof where === 'string') server.listen(where);
  else server.listen(where, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo | null)?.port ?? 0,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function textOf(request: http.IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text;
}

let lastPort = 15_000 + (process.pid % 100) * 100;

/** A port below those that the system gives away, so that nobody has it by chance a moment later. */
export async function quietPort(): Promise<number> {
  for (;;) {
    lastPort = lastPort >= 29_999 ? 15_000 : lastPort + 1;
    const server = await serve(() => undefined, lastPort).catch(() => undefined);
    if (server === undefined) continue;
    await server.close();
    return server.port;
  }
}

export class ServedAlloy {
  readonly alloy: FakeAlloy;
  readonly validator: string;
  address = '';
  #server: Served | undefined;

  /** @param directory for its validator, which refuses what contains `invalid`. */
  constructor(file: string, directory: string) {
    this.alloy = new FakeAlloy(file);
    this.alloy.start();
    this.validator = path.join(directory, 'alloy-validate');
    const script = [
      '#!/bin/sh',
      'if [ "$1" = --version ]; then echo "alloy, version v1.18.0 (branch: HEAD)"; exit; fi',
      'for file; do :; done',
      'if grep -q invalid "$file"; then echo "Error: $file:1:1: no such thing" >&2; exit 1; fi',
    ];
    fs.writeFileSync(this.validator, `${script.join('\n')}\n`, { mode: 0o755 });
  }

  async start(): Promise<this> {
    const server = await serve(async (request, response) => {
      const answer = await this.alloy.http.request(`http://${this.address}${request.url}`, {
        timeoutMs: 1000,
        ...(request.method === undefined ? {} : { method: request.method }),
      });
      response.writeHead(answer.status).end(answer.body);
    }, 0);
    this.#server = server;
    this.address = `127.0.0.1:${server.port}`;
    return this;
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }
}

export class ServedTailscale {
  readonly tailscale = new FakeTailscale();
  readonly socket: string;
  metrics = '';
  #servers: Served[] = [];

  constructor(directory: string) {
    this.socket = path.join(directory, 'tailscaled.sock');
  }

  async start(): Promise<this> {
    const metrics = await serve((_, response) => {
      const on = this.tailscale.current['RunWebClient'] === true && !this.tailscale.deaf;
      response.writeHead(on ? 200 : 404).end(on ? 'tailscaled_health_messages 0\n' : '');
    }, 0);
    this.metrics = `127.0.0.1:${metrics.port}`;
    fs.rmSync(this.socket, { force: true });
    this.#servers = [
      metrics,
      await serve((request, response) => void this.#answer(request, response), this.socket),
    ];
    return this;
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const { tailscale } = this;
    const { pathname } = new URL(request.url ?? '/', 'http://local');
    if (pathname.endsWith('/watch-ipn-bus')) {
      const gone = new AbortController();
      response.on('close', () => gone.abort());
      return tailscale.watch(
        () => response.write(`${JSON.stringify({ Prefs: tailscale.current })}\n`),
        gone.signal,
      );
    }
    if (pathname.endsWith('/status')) {
      const { backendState, addresses, version } = tailscale.node;
      const status = { BackendState: backendState, TailscaleIPs: addresses, Version: version, Self: {} };
      return void response.end(JSON.stringify(status));
    }
    if (request.method === 'PATCH') {
      const mask = JSON.parse(await textOf(request)) as Record<string, unknown>;
      await tailscale.setPrefs(
        Object.fromEntries(Object.entries(mask).filter(([name]) => !name.endsWith('Set'))),
      );
    }
    response.end(JSON.stringify(await tailscale.prefs()));
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.close()));
  }
}

export class ServedSystemd {
  readonly systemd: FakeSystemd;
  readonly socket: string;
  #server: Served | undefined;

  constructor(root: string, directory: string) {
    this.systemd = new FakeSystemd(root, systemClock);
    this.socket = path.join(directory, 'systemd.sock');
  }

  async start(): Promise<this> {
    this.#server = await serve((request, response) => void this.#answer(request, response), this.socket);
    return this;
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const args = JSON.parse(await textOf(request)) as string[];
    const member = (request.url ?? '/').slice(1) as 'show';
    if (request.url === '/watch') {
      const gone = new AbortController();
      response.on('close', () => gone.abort());
      return this.systemd.watch(args[0]!, () => response.write('\n'), gone.signal);
    }
    try {
      const method = this.systemd[member] as (...all: string[]) => Promise<unknown>;
      response.end(JSON.stringify({ value: await method.apply(this.systemd, args) }));
    } catch (error) {
      const { message } = error as Error;
      const failed = error instanceof JobFailed ? { failed: error.result } : {};
      response.end(JSON.stringify({ ...failed, error: message }));
    }
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }
}

/** Prometheus's API as far as PrometheusConfig asks it; refuses to load what contains `refused`. */
export class ServedPrometheus {
  readonly #file: string;
  loaded: string;
  #successful = true;
  address = '';
  #server: Served | undefined;

  constructor(file: string) {
    this.#file = file;
    this.loaded = fs.readFileSync(file, 'utf8');
  }

  async start(): Promise<this> {
    const server = await serve((request, response) => {
      if (request.url === '/-/reload') {
        const text = fs.readFileSync(this.#file, 'utf8');
        this.#successful = !text.includes('refused');
        if (this.#successful) this.loaded = text;
        response
          .writeHead(this.#successful ? 200 : 500)
          .end(this.#successful ? '' : 'failed to reload config');
      } else if (request.url === '/metrics') {
        response.end(`prometheus_config_last_reload_successful ${Number(this.#successful)}\n`);
      } else {
        response.end(JSON.stringify({ data: { yaml: this.loaded } }));
      }
    }, 0);
    this.#server = server;
    this.address = `127.0.0.1:${server.port}`;
    return this;
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }
}
