// What an agent needs of undici: connections, and one request. Its index loads as much again (proxies, caches, mocks,
// fetch with its WebSockets): 8 MiB resident, 5.5 of them dirty. To be imported with the first request.
import type { buildConnector, Dispatcher } from 'undici';
import apiRequest from 'undici/lib/api/api-request.js';
import buildConnect, { type Attempt } from 'undici/lib/core/connect.js';
import Agent from 'undici/lib/dispatcher/agent.js';
import { after, firstOf, onAbort } from './waits.ts';

export { Agent };

let shared: Agent | undefined;

/**
 * As undici's own `request`, but that it follows no proxy and no global dispatcher, and that a signal ends it at any
 * time: undici itself heeds one only once it is connected, which never happens behind a firewall that drops.
 * @throws system errors, the signal's reason
 */
export function request(
  url: string | URL,
  options: Omit<Dispatcher.RequestOptions, 'origin' | 'path'> & { readonly dispatcher?: Dispatcher },
): Promise<Dispatcher.ResponseData> {
  const { dispatcher, ...rest } = options;
  const { origin, pathname, search } = new URL(url);
  // A timer of its own for each attempt: undici's tick twice a second while there is one.
  shared ??= new Agent({ connect: connector({}, CONNECT_MS).connect });
  const answer = apiRequest.call(dispatcher ?? shared, { ...rest, origin, path: `${pathname}${search}` });
  const { signal } = rest;
  if (!(signal instanceof AbortSignal)) return answer;
  return firstOf<Dispatcher.ResponseData>(
    (resolve, reject) => {
      answer.then(resolve, reject);
      return () => undefined;
    },
    (_, reject) => onAbort(signal, reject),
  );
}

/** How long an attempt to connect goes on when nobody waits for it any more. */
const ABANDONED_MS = 30_000;

export interface Connector {
  readonly connect: buildConnector.connector;
  /** Ends the attempts that are under way: undici forgets them, and they would keep the process. */
  abandon(): void;
}

/** For those who name no dispatcher: as long as undici's own. */
const CONNECT_MS = 10_000;

/**
 * Connections without a timeout of their own, unless one is given: the request's deadline is the only one.
 * @param connectMs after which an attempt fails
 */
export function connector(options: buildConnector.BuildOptions = {}, connectMs?: number): Connector {
  const connect = buildConnect({ ...options, timeout: 0 });
  const attempts = new Set<Attempt>();
  return {
    connect(to, callback) {
      const socket = connect(to, (...result) => {
        done();
        callback(...result);
      });
      const leave = after(connectMs ?? ABANDONED_MS, () =>
        socket.destroy(connectMs === undefined ? undefined : timedOut(to.hostname, connectMs)),
      );
      const done = (): void => {
        leave();
        attempts.delete(socket);
      };
      attempts.add(socket);
      socket.once('close', done);
    },
    abandon() {
      for (const socket of attempts) socket.destroy();
    },
  };
}

function timedOut(hostname: string, ms: number): Error {
  const message = `${hostname} did not answer a connection within ${ms / 1000} s`;
  return Object.assign(new Error(message), { code: 'ETIMEDOUT' });
}
