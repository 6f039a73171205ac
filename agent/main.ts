// The agent as a process: the only place in agent/ that reads argv-derived options and the environment. Takes
// what is needed from the machine, runs the agent, and drains it on SIGTERM.
import fs from 'node:fs';
import path from 'node:path';
import pino, { type Logger } from 'pino';
import { privateKeyOf } from '../api/bundle.ts';
import { inWords } from '../api/errors.ts';
import { kinds } from '../kinds/index.ts';
import type { Ports } from '../kinds/ports.ts';
import { Agent } from './agent.ts';
import { type AgentConfig, readAgentConfig } from './config.ts';
import { createNotifier } from './health/notify.ts';
import { systemClock } from './providers/clock.ts';
import { createDocker, DEFAULT_DOCKER_HOST } from './providers/docker.ts';
import { createFiles } from './providers/files.ts';
import { createHttp } from './providers/http.ts';
import { createProcesses } from './providers/processes.ts';
import { sockets } from './providers/sockets.ts';
import { createSupervised } from './providers/supervised.ts';
import { createSystemd } from './providers/systemd.ts';
import { createTailscale } from './providers/tailscale.ts';
import { pathAllowed } from './reconcile/allow.ts';
import { startServers } from './server.ts';

export interface OpenPorts extends Ports {
  close(): Promise<void>;
}

/** The real ports of this machine. */
export function openPorts(config: AgentConfig, log: Logger): OpenPorts {
  const clock = systemClock;
  const processes = createProcesses();
  const http = createHttp();
  const files = createFiles({
    ...(config.root === undefined ? {} : { root: config.root }),
    candidates: path.join(config.stateDir, 'candidates'),
    allows: (resolved) => pathAllowed(resolved, config.allow.paths),
    onPolling: (directories) =>
      log.warn({ directories }, 'directories that are polled, since the system has no file watch left'),
  });
  const units = createSystemd();
  const supervised = createSupervised({ stateDir: config.stateDir, clock, log });
  const tailscale = createTailscale({
    processes,
    clock,
    ...(config.tailscaleSockets === undefined ? {} : { socketPaths: config.tailscaleSockets }),
  });
  const docker = createDocker(config.dockerHost ?? process.env['DOCKER_HOST'] ?? DEFAULT_DOCKER_HOST);
  return {
    files,
    processes,
    http,
    units,
    supervised,
    tailscale,
    docker,
    sockets,
    clock,
    async close() {
      await Promise.all(
        [files, http, processes, units, supervised, tailscale, docker].map((port) => port.close()),
      );
    },
  };
}

/** An agent on this machine's real ports; the caller starts and stops it, and closes the ports. */
export function createAgent(
  config: AgentConfig,
  version: string,
  log: Logger,
): { agent: Agent; ports: OpenPorts } {
  const ports = openPorts(config, log);
  const keyFile = config.keyFile ?? path.join(config.stateDir, 'agent.key');
  const privateKey = config.controller === undefined ? undefined : readKey(keyFile);
  const agent = new Agent({
    config,
    kinds,
    ports,
    log,
    env: process.env,
    version,
    random: Math.random,
    ...(privateKey === undefined ? {} : { privateKey }),
  });
  return { agent, ports };
}

/** Logs are JSON lines on stdout, with the level as a word. */
export function createLog(level = 'info'): Logger {
  return pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  });
}

/**
 * Runs until SIGTERM or SIGINT.
 * @throws Error when the configuration is wrong, the key is missing, or another agent runs.
 */
export async function runAgent(configFile: string, version: string): Promise<void> {
  const log = createLog(process.env['HOMEOSTAT_LOG_LEVEL']);
  const config = readAgentConfig(configFile);
  const { agent, ports } = createAgent(config, version, log);
  const servers = await startServers(agent, config.listen, config.socket);
  const notifier = createNotifier({
    env: process.env,
    processes: ports.processes,
    clock: ports.clock,
    healthy: () => true,
  });
  // A bug in one kind must not end the others: what escapes a pass is logged, and the process lives on.
  process.on('unhandledRejection', (error) => log.error({ error: inWords(error) }, 'unhandled rejection'));
  agent.start();
  log.info({ host: config.host, metrics: servers.address, socket: config.socket, version }, 'agent started');
  await notifier.ready();

  await new Promise<void>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
  log.info('agent stops');
  await notifier.stopping();
  await servers.stop();
  await agent.stop();
  await ports.close();
}

function readKey(file: string) {
  try {
    return privateKeyOf(fs.readFileSync(file, 'utf8').trim());
  } catch (error) {
    throw new Error(
      `the agent's key ${file} can't be read: ${inWords(error)}; \`homeostat enroll\` makes one`,
    );
  }
}
