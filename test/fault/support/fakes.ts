// What a host runs besides the agent, played by the test's process, so that it outlives an agent that is killed:
// an Alloy on a port, a tailscaled on a unix socket, a systemd behind agent-process.ts' remote units.
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { systemClock } from '../../../agent/providers/clock.ts';
import { JobFailed } from '../../../kinds/ports.ts';
import { jobsIn } from '../../../kinds/prometheus-config/jobs.ts';
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
      const on = this.tailscale.current['RunWebClient'] === true && this.tailscale.metrics === 'well';
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

/**
 * Prometheus's API as far as PrometheusConfig asks it, in the form that 2.42 answers in; refuses to load what contains
 * `refused`. From 2.43 on it reads the files of `scrape_config_files`, too: no such Prometheus can be had here.
 */
export class ServedPrometheus {
  #file: string;
  readonly version: string;
  loaded: string;
  /** As it was started with. */
  configFile: string;
  /** `--web.enable-lifecycle`. */
  hasLifecycle = true;
  #successful = true;
  /** Of its machine, unix milliseconds. */
  now: () => number = Date.now;
  /** When it last loaded its config; not before what it read was written, whose times have parts of milliseconds. */
  loadedAtMs = Date.now() + 1;
  address = '';
  #server: Served | undefined;

  constructor(file: string, version = '2.42.0') {
    this.#file = file;
    this.configFile = file;
    this.version = version;
    this.loaded = this.whole();
  }

  /** The config as it stands now, with the files that it lists. */
  whole(): string {
    const text = fs.readFileSync(this.#file, 'utf8');
    if (Number(this.version.split('.')[1]) < 43) return text;
    const block = /^scrape_config_files:.*\n((?:[ #].*\n?)*)/m.exec(text)?.[1] ?? '';
    const listed = [...block.matchAll(/^ *- ["']?([^"'\n]+?)["']?$/gm)].map((m) =>
      path.join(path.dirname(this.#file), m[1]!),
    );
    const files = listed.filter((file) => fs.existsSync(file)).map((file) => fs.readFileSync(file, 'utf8'));
    return [text, ...files].join('');
  }

  /** As started anew with another config. */
  readFrom(file: string): void {
    this.#file = file;
    this.configFile = file;
    this.reload();
  }

  /** As after a SIGHUP or `POST /-/reload`. @returns whether it was loaded */
  reload(): boolean {
    const whole = this.whole();
    this.#successful = !whole.includes('refused');
    if (this.#successful) {
      this.loaded = whole;
      this.loadedAtMs = this.now() + 1;
    }
    return this.#successful;
  }

  async start(): Promise<this> {
    const server = await serve((request, response) => {
      const data = (value: unknown) => response.end(JSON.stringify({ status: 'success', data: value }));
      switch (request.url) {
        case '/-/reload': {
          if (!this.hasLifecycle) return void response.writeHead(403).end('Lifecycle API is not enabled.');
          const isGood = this.reload();
          return void response.writeHead(isGood ? 200 : 500).end(isGood ? '' : 'failed to reload config');
        }
        case '/metrics': {
          const lines = [
            `prometheus_config_last_reload_successful ${Number(this.#successful)}`,
            `prometheus_config_last_reload_success_timestamp_seconds ${this.loadedAtMs / 1000}`,
          ];
          return void response.end(`${lines.join('\n')}\n`);
        }
        case '/api/v1/status/buildinfo':
          return void data({ version: this.version });
        case '/api/v1/status/flags':
          return void data({
            'config.file': this.configFile,
            'web.enable-lifecycle': String(this.hasLifecycle),
          });
        case '/api/v1/scrape_pools':
          return void data({ scrapePools: jobsIn(this.loaded).map(({ name }) => name) });
        default:
          // Without the files: Prometheus shows the config as it was read.
          return void data({ yaml: this.loaded.split('# Written by homeostat')[0] });
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
