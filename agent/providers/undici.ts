// What an agent needs of undici: connections, and one request. Its index loads as much again (proxies, caches, mocks,
// fetch with its WebSockets): 8 MiB resident, 5.5 of them dirty. To be imported with the first request.
import type { Dispatcher } from 'undici';
import apiRequest from 'undici/lib/api/api-request.js';
import Agent from 'undici/lib/dispatcher/agent.js';
import { firstOf, onAbort } from './waits.ts';

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
  shared ??= new Agent();
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
