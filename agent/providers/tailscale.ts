// tailscaled, through its LocalAPI on a unix socket; through the `tailscale` program where there is no socket
// (macOS App Store and standalone builds). Which of the two is decided anew at every call, so that a tailscaled
// that is installed later is found. Facts: tailscale.com/ipn/localapi and ipn.NotifyWatchOpt, 1.98.
import type { Agent } from 'undici';
import { errnoOf, Waiting } from '../../api/errors.ts';
import type { Clock, Processes, Tailscale } from '../../kinds/ports.ts';
import { readCapped } from './http.ts';
import { lines } from './lines.ts';
import { createTailscaleCli } from './tailscale-cli.ts';
import { statusOf } from './tailscale-status.ts';

const DEFAULT_SOCKETS = [
  '/var/run/tailscale/tailscaled.sock', // Linux
  '/var/run/tailscaled.socket', // macOS and the BSDs, open-source tailscaled
];
/** Initial state, initial prefs, netmap updates at most every few seconds; prefs and state are never delayed. */
const WATCH_MASK = 2 | 4 | 256;
const CALL_TIMEOUT_MS = 10_000;
/** What of a Notify makes a pass worth while; the netmap of a large tailnet changes all the time. */
const WORTH_A_WAKE = ['Prefs', 'State', 'SelfChange', 'LoginFinished', 'ErrMessage', 'BrowseToURL'];

export interface TailscaleOptions {
  readonly socketPaths?: readonly string[];
  readonly processes: Processes;
  readonly clock: Clock;
  /** The program for hosts without a socket. */
  readonly cli?: string;
}

export function createTailscale(options: TailscaleOptions): Tailscale & { close(): Promise<void> } {
  const sockets = options.socketPaths ?? DEFAULT_SOCKETS;
  const cli = createTailscaleCli(options.processes, options.clock, options.cli ?? 'tailscale');
  const agents = new Map<string, Agent>();
  const closing = new AbortController();

  async function agentFor(socket: string): Promise<Agent> {
    const { Agent } = await import('./undici.ts');
    let agent = agents.get(socket);
    if (agent === undefined) {
      // No kept connections: tailscaled restarts, and a call must not find a dead one.
      agent = new Agent({
        pipelining: 0,
        headersTimeout: 0,
        bodyTimeout: 0,
        connect: { socketPath: socket },
      });
      agents.set(socket, agent);
    }
    return agent;
  }

  /** One request on the first socket that somebody listens on. undefined: there is none. */
  async function open(method: 'GET' | 'PATCH', path: string, signal: AbortSignal, body?: string) {
    let refused: unknown;
    for (const socket of sockets) {
      try {
        const { request } = await import('./undici.ts');
        return await request(`http://local-tailscaled.sock/localapi/v0/${path}`, {
          dispatcher: await agentFor(socket),
          method,
          signal,
          body: body ?? null,
          headers: body === undefined ? {} : { 'content-type': 'application/json' },
        });
      } catch (error) {
        const errno = errnoOf(error);
        if (errno === 'ECONNREFUSED') refused = error;
        else if (errno !== 'ENOENT' && errno !== 'ENOTDIR') throw error;
      }
    }
    if (refused === undefined) return undefined;
    throw new Waiting(
      'TailscaledNotRunning',
      'there is a tailscaled socket, and nobody listens on it',
      10_000,
    );
  }

  async function call(method: 'GET' | 'PATCH', path: string, signal?: AbortSignal, body?: string) {
    const deadline = AbortSignal.timeout(CALL_TIMEOUT_MS);
    const all = [closing.signal, deadline, ...(signal === undefined ? [] : [signal])];
    try {
      const response = await open(method, path, AbortSignal.any(all), body);
      if (response === undefined) return undefined;
      const text = await readCapped(`tailscaled ${path}`, response.body);
      if (response.statusCode === 200) return JSON.parse(text) as Record<string, unknown>;
      throw new Error(`tailscaled answers ${response.statusCode} to ${method} ${path}: ${text.trim()}`);
    } catch (error) {
      signal?.throwIfAborted();
      if (deadline.aborted) throw new Error(`tailscaled did not answer ${path} within ${CALL_TIMEOUT_MS} ms`);
      throw error;
    }
  }

  return {
    async prefs(signal) {
      return (await call('GET', 'prefs', signal)) ?? (await cli.prefs(signal));
    },

    async setPrefs(prefs, signal) {
      const answer = await call('PATCH', 'prefs', signal, JSON.stringify(masked(prefs)));
      if (answer === undefined) await cli.setPrefs(prefs, signal);
    },

    async status(signal) {
      const status = await call('GET', 'status?peers=false', signal);
      return status === undefined ? await cli.status(signal) : statusOf(status);
    },

    async watch(wake, signal) {
      const either = AbortSignal.any([signal, closing.signal]);
      const response = await open('GET', `watch-ipn-bus?mask=${WATCH_MASK}`, either).catch((error) => {
        if (either.aborted) return 'aborted' as const;
        throw error;
      });
      if (response === 'aborted') return;
      if (response === undefined) return cli.watch(wake, either);
      if (response.statusCode !== 200) {
        throw new Error(
          `tailscaled answers ${response.statusCode} to watch-ipn-bus: ${await response.body.text()}`,
        );
      }
      try {
        // Its first line comes at once, which is the first wake.
        for await (const line of lines(response.body)) {
          const notify = JSON.parse(line) as Record<string, unknown>;
          if (WORTH_A_WAKE.some((name) => notify[name] !== undefined && notify[name] !== null)) wake();
        }
      } catch (error) {
        if (either.aborted) return;
        throw error;
      }
      if (!either.aborted) throw new Error('tailscaled ended the watch-ipn-bus stream');
    },

    async close() {
      closing.abort();
      await Promise.all([...agents.values()].map((agent) => agent.destroy()));
    },
  };
}

/** A masked prefs document (ipn.MaskedPrefs): each member with its NameSet beside it. */
export function masked(prefs: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return { ...prefs, ...Object.fromEntries(Object.keys(prefs).map((name) => [`${name}Set`, true])) };
}
