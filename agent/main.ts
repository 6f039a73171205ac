// The agent as a process: the only place in agent/ that reads argv-derived options and the environment. Takes
// what is needed from the machine, runs the agent, and drains it on a signal to stop.
import fs from 'node:fs';
import path from 'node:path';
import type { Logger } from 'pino';
import { privateKeyOf } from '../api/bundle.ts';
import { inWords } from '../api/errors.ts';
import { kinds } from '../kinds/index.ts';
import type { Ports } from '../kinds/ports.ts';
import { Agent, type AgentDeps } from './agent.ts';
import {
  AGENT_UNIT,
  type AgentConfig,
  ALLOW_EVERYTHING,
  ownPaths,
  ownPrograms,
  readAgentConfig,
} from './config.ts';
import { CrashLoop } from './health/crash-loop.ts';
import { createNotifier } from './health/notify.ts';
import { Watchdog } from './health/watchdog.ts';
import { systemClock } from './providers/clock.ts';
import { createDocker, DEFAULT_DOCKER_HOST } from './providers/docker.ts';
import { createFiles } from './providers/files.ts';
import { createHttp } from './providers/http.ts';
import { createLog } from './providers/log.ts';
import { createMounts } from './providers/mounts.ts';
import { ownFiles } from './providers/parents.ts';
import { unitsOf } from './providers/process-identity.ts';
import { createProcesses } from './providers/processes.ts';
import { sockets } from './providers/sockets.ts';
import { createSupervised } from './providers/supervised.ts';
import { createSystemd } from './providers/systemd.ts';
import { createTailscale } from './providers/tailscale.ts';
import { isGranted, type OwnThings } from './reconcile/allow.ts';
import { ConditionSet } from './reconcile/conditions.ts';
import { startServers } from './server.ts';

export interface OpenPorts extends Ports {
  /** Before the agent is stopped: what runs in units of their own goes on without it. */
  leaveUnits(): void;
  detachedPrograms(): number;
  /** @param children what becomes of those that the agent supervises; by default they stop with it. */
  close(children?: 'stop' | 'leave'): Promise<void>;
}

export interface OpenOptions {
  /** To look only, maybe beside an agent that runs: opening and closing ends nothing and removes nothing. */
  readonly readOnly?: boolean;
  /** Where the configuration was read from. */
  readonly configFile?: string;
}

/** The real ports of this machine. */
export function openPorts(
  config: AgentConfig,
  log: Logger,
  { readOnly = false, configFile }: OpenOptions = {},
  own = ownThings(config, configFile),
): OpenPorts {
  const clock = systemClock;
  const grants = { allow: config.allow, ...own };
  const isOwn = (resolved: string): boolean =>
    !isGranted({ type: 'path', value: resolved }, { allow: ALLOW_EVERYTHING, ...own });
  // Below a sandbox root, nothing is done to the host's systemd.
  const processes = createProcesses({
    allows: (program) => isGranted({ type: 'exec', value: program }, grants),
    ...(config.root === undefined ? {} : { units: false }),
  });
  const http = createHttp();
  const files = createFiles({
    ...(config.root === undefined ? {} : { root: config.root }),
    candidates: path.join(config.stateDir, 'candidates'),
    allows: (resolved) => isGranted({ type: 'path', value: resolved }, grants),
    own: ownFiles(isOwn, own.own),
    onPolling: (directories) =>
      log.warn({ directories }, 'directories that are polled, since the system has no file watch left'),
  });
  const units = createSystemd();
  const supervised = createSupervised({ stateDir: config.stateDir, clock, log, readOnly });
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
    mounts: createMounts(config.root === undefined ? {} : { root: config.root }),
    clock,
    leaveUnits: () => processes.leaveUnits(),
    detachedPrograms: () => processes.detachedPrograms(),
    async close(children) {
      const others = [files, http, processes, units, tailscale, docker];
      await Promise.all([supervised.close(children), ...others.map((port) => port.close())]);
    },
  };
}

/** What is this agent's own, and what runs it. */
export function ownThings(config: AgentConfig, configFile?: string): Required<OwnThings> {
  const ownUnits = [...new Set([AGENT_UNIT, ...unitsOf('self')])];
  const programs = [process.execPath, ...(process.argv[1] === undefined ? [] : [process.argv[1]])];
  return {
    own: ownPaths(config, configFile),
    ownPrograms: ownPrograms(config, ownUnits, programs),
    ownUnits,
  };
}

/** An agent on this machine's real ports; the caller starts and stops it, and closes the ports. */
export function createAgent(
  config: AgentConfig,
  version: string,
  log: Logger,
  options: OpenOptions & Pick<AgentDeps, 'conditions' | 'applyNothing' | keyof OwnThings> = {},
): { agent: Agent; ports: OpenPorts } {
  const own = ownThings(config, options.configFile);
  const ports = openPorts(config, log, options, own);
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
    ...own,
    ...(privateKey === undefined ? {} : { privateKey }),
    ...options,
  });
  return { agent, ports };
}

/** EX_TEMPFAIL of sysexits.h: whoever starts the agent is to start it anew. */
const EXIT_MEMORY = 75;

/** Has the signals that stop a program handled: the first one, and each that follows (cli/stop-signals.ts). */
export type OnStopSignal = (first: (signal: string) => void, again: (signal: string) => void) => void;

/**
 * Runs until it gets a signal to stop. Then nothing new is begun, and what runs is seen to its end, however often the
 * signal is repeated.
 * @throws Error when the configuration is wrong, the key is missing, or another agent runs.
 */
export async function runAgent(
  configFile: string,
  version: string,
  onStopSignal: OnStopSignal,
): Promise<void> {
  const log = createLog(process.env['HOMEOSTAT_LOG_LEVEL']);
  // Before anything is begun that could be cut off.
  const stopped = new Promise<string>((resolve) =>
    onStopSignal(resolve, (signal) =>
      log.warn({ signal }, 'agent stops already, and waits for what runs to end'),
    ),
  );
  const config = readAgentConfig(configFile);
  const conditions = new ConditionSet();
  const crashLoop = new CrashLoop({
    ...{ stateDir: config.stateDir, clock: systemClock, log, conditions },
    onEnd: () => agent.reconcile(),
  });
  const applyNothing = (): boolean => crashLoop.crashLooping();
  const { agent, ports } = createAgent(config, version, log, { conditions, applyNothing, configFile });
  const onResume = (): void => crashLoop.resume();
  const servers = await startServers(agent, config.listen, config.socket, onResume, config.names);
  const { watchdog, full } = watchOver(config, { agent, ports, conditions, log });
  const notifier = createNotifier({
    ...{ env: process.env, processes: ports.processes, clock: ports.clock },
    healthy: () => watchdog.healthy(),
  });
  // A bug in one kind must not end the others: what escapes a pass is logged, and the process lives on.
  process.on('unhandledRejection', (error) => log.error({ error: inWords(error) }, 'unhandled rejection'));
  crashLoop.started();
  agent.start();
  log.info({ host: config.host, metrics: servers.address, socket: config.socket, version }, 'agent started');
  await notifier.ready();

  const signal = await Promise.race([stopped, full]);
  log.info({ signal }, 'agent stops');
  if (signal === undefined) process.exitCode = EXIT_MEMORY;
  crashLoop.stopped(signal !== undefined);
  ports.leaveUnits();
  await notifier.stopping();
  await servers.stop();
  await agent.stop();
  watchdog.stop();
  notifier.stop();
  // Of a host that is only observed no process is ended.
  await ports.close(agent.status().mode === 'observe' ? 'leave' : 'stop');
}

/** @returns the watchdog, started, and what resolves when the process is to end for its memory's sake. */
function watchOver(
  { memoryCeilingMiB }: AgentConfig,
  parts: { agent: Agent; ports: OpenPorts; conditions: ConditionSet; log: Logger },
): { watchdog: Watchdog; full: Promise<undefined> } {
  const { agent, ports, conditions, log } = parts;
  const full = Promise.withResolvers<undefined>();
  const watchdog = new Watchdog({
    ...{ clock: ports.clock, log, conditions, memoryCeilingMiB },
    oldestPassAgeMs: () => agent.facts().oldestPassMs,
    informerIdleMs: () => agent.facts().informerIdleMs,
    detachedPrograms: () => ports.detachedPrograms(),
    residentBytes: () => process.memoryUsage.rss(),
    onMemory: () => full.resolve(undefined),
  });
  watchdog.start();
  return { watchdog, full: full.promise };
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
