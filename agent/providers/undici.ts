// What an agent needs of undici: connections, and one request. Its index loads as much again (proxies, caches, mocks,
// fetch with its WebSockets): 8 MiB resident, 5.5 of them dirty. To be imported with the first request.
import type { Dispatcher } from 'undici';
import apiRequest from 'undici/lib/api/api-request.js';
import Agent from 'undici/lib/dispatcher/agent.js';

export { Agent };

let shared: Agent | undefined;

/** As undici's own `request`, but that it follows no proxy and no global dispatcher. @throws system errors */
export function request(
  url: string | URL,
  options: Omit<Dispatcher.RequestOptions, 'origin' | 'path'> & { readonly dispatcher?: Dispatcher },
): Promise<Dispatcher.ResponseData> {
  const { dispatcher, ...rest } = options;
  const { origin, pathname, search } = new URL(url);
  shared ??= new Agent();
  return apiRequest.call(dispatcher ?? shared, { ...rest, origin, path: `${pathname}${search}` });
}
