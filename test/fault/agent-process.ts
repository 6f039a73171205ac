// The agent as `homeostat agent` runs it, with ports that tell their calls to hooks.ts. Its argument: a file with
// the agent's configuration and what a test puts in the place of a port (see ProcessOptions).
import fs from 'node:fs';
import http from 'node:http';
import pino from 'pino';
import { Agent } from '../../agent/agent.ts';
import { AgentConfig } from '../../agent/config.ts';
import { type OpenPorts, openPorts } from '../../agent/main.ts';
import { startServers } from '../../agent/server.ts';
import { privateKeyOf } from '../../api/bundle.ts';
import { inWords } from '../../api/errors.ts';
import { onStopSignal } from '../../cli/stop-signals.ts';
import { kinds } from '../../kinds/index.ts';
import type { Clock, Units } from '../../kinds/ports.ts';
import { JobFailed } from '../../kinds/ports.ts';

export interface ProcessOptions {
  readonly config: Record<string, unknown>;
  /** Base64, for signed requests. */
  readonly privateKey: string;
  /** A file for the log. */
  readonly log: string;
  /** Unix socket of a systemd that a test plays (support/remote-systemd.ts). */
  readonly systemd?: string;
  /** How many times faster the Clock port runs; the wall clock stays what it is. */
  readonly haste?: number;
}

const options = JSON.parse(fs.readFileSync(process.argv[2]!, 'utf8')) as ProcessOptions;
const step = (globalThis as Record<string, unknown>)['faultStep'] as ((name: string) => void) | undefined;

/** What they leave as it is: being killed after them is being killed before the next step. */
const READS = ['show', 'definition', 'prefs', 'status', 'version', 'logs', 'connect'];

/** The same port, every call of it a step before and, where it changes something, a step after. */
function counted<T extends object>(name: string, port: T): T {
  if (step === undefined) return port;
  return new Proxy(port, {
    get(target, member) {
      const value = Reflect.get(target, member) as unknown;
      if (typeof value !== 'function' || member === 'watch' || member === 'close') return value;
      return (...args: unknown[]) => {
        const call = `${name}.${String(member)}`;
        step(call);
        const result = (value as (...a: unknown[]) => unknown).apply(target, args);
        const reads =
          READS.includes(String(member)) ||
          (name === 'http' && !isPost(args)) ||
          (name === 'docker' && args[0] === 'GET');
        if (!(result instanceof Promise) || reads) return result;
        return result.finally(() => step(`${call} done`));
      };
    },
  });
}

function isPost(args: unknown[]): boolean {
  return (args[1] as { method?: string } | undefined)?.method === 'POST';
}

function hasty(clock: Clock, haste: number): Clock {
  return {
    now: clock.now,
    monotonic: () => clock.monotonic() * haste,
    setTimeout: (callback, ms) => clock.setTimeout(callback, ms / haste),
    sleep: (ms, signal) => clock.sleep(ms / haste, signal),
  };
}

/** Units over HTTP on a unix socket: the other side is a FakeSystemd that outlives this process. */
function remoteUnits(socketPath: string): Units {
  const ask = (path: string, args: readonly unknown[], onData?: () => void, signal?: AbortSignal) =>
    new Promise<unknown>((resolve, reject) => {
      const request = http.request(
        { socketPath, path, method: 'POST', ...(signal && { signal }) },
        (answer) => {
          let text = '';
          answer.on('data', (chunk: Buffer) => {
            text += onData === undefined ? chunk : '';
            onData?.();
          });
          answer.on('error', reject);
          answer.on('end', () => {
            const { value, failed, error } = JSON.parse(text || '{}') as Record<string, string>;
            if (failed !== undefined) reject(new JobFailed(failed, error!));
            else if (error !== undefined) reject(new Error(error));
            else resolve(value);
          });
        },
      );
      request.on('error', reject);
      request.end(JSON.stringify(args));
    });
  const members = ['show', 'run', 'daemonReload', 'enable', 'disable', 'mask', 'unmask', 'resetFailed'];
  return {
    manager: 'systemd',
    ...Object.fromEntries(members.map((name) => [name, (...args: unknown[]) => ask(`/${name}`, args)])),
    async watch(unit: string, wake: () => void, signal: AbortSignal) {
      await ask('/watch', [unit], wake, signal).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    },
  } as unknown as Units;
}

async function main(): Promise<void> {
  const config = AgentConfig.parse(options.config);
  const log = pino({ base: null }, pino.destination({ dest: options.log, sync: true }));
  const opened = openPorts(config, log);
  const ports: OpenPorts = {
    files: opened.files,
    clock: options.haste === undefined ? opened.clock : hasty(opened.clock, options.haste),
    processes: counted('processes', opened.processes),
    http: counted('http', opened.http),
    units: counted('units', options.systemd === undefined ? opened.units : remoteUnits(options.systemd)),
    supervised: counted('supervised', opened.supervised),
    tailscale: counted('tailscale', opened.tailscale),
    docker: counted('docker', opened.docker),
    sockets: counted('sockets', opened.sockets),
    mounts: counted('mounts', opened.mounts),
    leaveUnits: () => opened.leaveUnits(),
    detachedPrograms: () => opened.detachedPrograms(),
    close: (children) => opened.close(children),
  };
  const agent = new Agent({
    config,
    kinds,
    ports,
    log,
    env: {},
    version: 'fault',
    random: Math.random,
    ...(config.controller === undefined ? {} : { privateKey: privateKeyOf(options.privateKey) }),
  });
  process.on('unhandledRejection', (error) => log.error({ error: inWords(error) }, 'unhandled rejection'));
  const servers = await startServers(agent, config.listen, config.socket);
  agent.start();
  console.log(servers.address);
  onStopSignal(
    async () => {
      await servers.stop();
      await agent.stop();
      await ports.close();
    },
    () => {},
  );
}

void main();
