// A Docker engine through its HTTP API, on a unix socket or plain TCP. undici is loaded with the first request.
// Facts: docs.docker.com/reference/api/engine and moby's api/server/router/system: /_ping and /events answer with
// `Api-Version` and `Date`; a stream of /events is answered a moment before it is subscribed.
import type { Agent, Dispatcher } from 'undici';
import { errnoOf, inWords, Stalled, Waiting } from '../../api/errors.ts';
import type { Docker, DockerRequest, HttpResponse } from '../../kinds/ports.ts';
import { createPulls, type Stream } from './docker-pulls.ts';
import { flatten, readCapped } from './http.ts';
import { lines } from './lines.ts';
import type { Connector } from './undici.ts';

export const DEFAULT_DOCKER_HOST = 'unix:///var/run/docker.sock';
/** The newest API whose documents were read for what is asked here; an engine with a newer one still speaks it. */
const NEWEST_API = '1.51';
const PING_TIMEOUT_MS = 5_000;
const LOGS_TIMEOUT_MS = 10_000;
/** What it means that nobody is there, as opposed to an answer that is late. */
const NOBODY = ['ENOENT', 'ENOTDIR', 'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EACCES'];

export function createDocker(address: string): Docker & { close(): Promise<void> } {
  const closing = new AbortController();
  let agent: Agent | undefined;
  let connections: Connector | undefined;
  /** Until the engine can't be reached: it may come back as another version. */
  let spoken: { engine: string; api: string } | undefined;

  async function dispatcher(): Promise<Agent> {
    const { Agent, connector } = await import('./undici.ts');
    const { socketPath } = endpointOf(address);
    connections ??= connector(socketPath === undefined ? {} : { socketPath });
    // A connection of its own for each request, since engines are restarted; the caller's deadline is the only timeout.
    agent ??= new Agent({
      pipelining: 0,
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: connections.connect,
    });
    return agent;
  }

  async function open(
    method: string,
    path: string,
    {
      query = {},
      body,
      signal,
      headers = {},
    }: DockerRequest & { headers?: Readonly<Record<string, string>> },
  ): Promise<Dispatcher.ResponseData> {
    const { origin } = endpointOf(address);
    const url = new URL(path, origin);
    for (const [name, value] of Object.entries(query)) {
      url.searchParams.set(name, typeof value === 'object' ? JSON.stringify(value) : String(value));
    }
    const { request } = await import('./undici.ts');
    try {
      return await request(url, {
        dispatcher: await dispatcher(),
        method: method as 'GET',
        body: body === undefined ? null : JSON.stringify(body),
        headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        signal: signal === undefined ? closing.signal : AbortSignal.any([signal, closing.signal]),
      });
    } catch (error) {
      signal?.throwIfAborted();
      spoken = undefined;
      if (!NOBODY.includes(errnoOf(error))) throw error;
      const remedy =
        errnoOf(error) === 'EACCES'
          ? 'the agent’s account may not open it'
          : 'is Docker installed and running, and is dockerHost in the agent’s configuration right?';
      throw new Waiting(
        'NoDockerEngine',
        `no Docker engine answers at ${address} (${inWords(error)}): ${remedy}`,
        10_000,
      );
    }
  }

  /** Runs with a deadline; what it throws because of that says so. */
  async function within<T>(
    ms: number,
    what: string,
    signal: AbortSignal | undefined,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const deadline = AbortSignal.timeout(ms);
    try {
      return await run(signal === undefined ? deadline : AbortSignal.any([signal, deadline]));
    } catch (error) {
      signal?.throwIfAborted();
      if (!deadline.aborted) throw error;
      throw Object.assign(new Error(`the Docker engine did not answer ${what} within ${ms} ms`), {
        code: 'ETIMEDOUT',
      });
    }
  }

  async function ping(signal: AbortSignal | undefined): Promise<Record<string, string>> {
    return within(PING_TIMEOUT_MS, '/_ping', signal, async (either) => {
      const response = await open('GET', '/_ping', { signal: either });
      await readCapped('/_ping', response.body);
      return flatten(response.headers);
    });
  }

  async function version(signal: AbortSignal | undefined): Promise<{ engine: string; api: string }> {
    if (spoken !== undefined) return spoken;
    const headers = await ping(signal);
    const api = older(headers['api-version'] ?? NEWEST_API, NEWEST_API);
    const engine = /Docker\/([^ ]+)/.exec(headers['server'] ?? '')?.[1] ?? 'unknown';
    spoken = { engine, api };
    return spoken;
  }

  async function versioned(path: string, signal: AbortSignal | undefined): Promise<string> {
    return `/v${(await version(signal)).api}${path}`;
  }

  const stream: Stream = async (path, { query, headers, idleMs, onLine }) => {
    const idle = new AbortController();
    const timer = setTimeout(() => idle.abort(), idleMs);
    try {
      const options = { query, headers, signal: idle.signal };
      const response = await open('POST', await versioned(path, idle.signal), options);
      if (response.statusCode !== 200) return answer(response, await readCapped(path, response.body));
      for await (const line of lines(response.body)) {
        timer.refresh();
        onLine(JSON.parse(line) as Record<string, unknown>);
      }
      return answer(response, '');
    } catch (error) {
      if (!idle.signal.aborted) throw error;
      throw new Error(`the Docker engine said nothing for ${idleMs / 1000} s to POST ${path}`);
    } finally {
      clearTimeout(timer);
    }
  };
  const pulls = createPulls(stream);

  return {
    address,
    version,

    async request(method, path, { timeoutMs, signal, ...rest }) {
      return within(timeoutMs, `${method} ${path}`, signal, async (either) => {
        const response = await open(method, await versioned(path, either), { ...rest, signal: either });
        return answer(response, await readCapped(path, response.body));
      });
    },

    pull: (reference, options) => pulls.pull(reference, options),

    async logs(container, count, signal) {
      return within(LOGS_TIMEOUT_MS, 'a container’s logs', signal, async (either) => {
        const path = await versioned(`/containers/${encodeURIComponent(container)}/logs`, either);
        const query = { stdout: true, stderr: true, tail: count };
        const response = await open('GET', path, { query, signal: either });
        const chunks: Uint8Array[] = [];
        for await (const chunk of response.body) chunks.push(chunk as Uint8Array);
        return response.statusCode === 200 ? demultiplex(Buffer.concat(chunks)) : '';
      });
    },

    async watch(filters, wake, signal) {
      const either = AbortSignal.any([signal, closing.signal]);
      try {
        // From the second before: what falls between the answer and the subscription is then told as well.
        const { date } = await ping(either);
        const at = Date.parse(date ?? '') / 1000;
        const query = { filters, ...(Number.isNaN(at) ? {} : { since: at }) };
        const response = await open('GET', await versioned('/events', either), { query, signal: either });
        if (response.statusCode !== 200) {
          const text = await readCapped('/events', response.body);
          throw new Error(`the Docker engine answers ${response.statusCode} to /events: ${text.trim()}`);
        }
        wake();
        for await (const _ of lines(response.body)) wake();
      } catch (error) {
        if (either.aborted) return;
        throw error;
      }
      spoken = undefined;
      if (!either.aborted) throw new Error('the Docker engine ended its stream of events');
    },

    async close() {
      closing.abort();
      await agent?.destroy();
      connections?.abandon();
    },
  };
}

/** @throws Stalled for an address that no engine is spoken to at. */
function endpointOf(address: string): { origin: string; socketPath?: string } {
  if (address.startsWith('unix:///')) return { origin: 'http://docker', socketPath: address.slice(7) };
  const tcp = /^(?:tcp|http):\/\/([^/]+:\d+)\/?$/.exec(address);
  if (tcp !== null) return { origin: `http://${tcp[1]}` };
  throw new Stalled(
    'DockerHost',
    `the Docker engine’s address is ${address}; it must be unix:///path of a socket or tcp://address:port (dockerHost in the agent’s configuration, or DOCKER_HOST)`,
  );
}

/** The lower of two versions as 1.41. */
function older(a: string, b: string): string {
  const [x, y] = [a, b].map((v) => v.split('.').map(Number));
  return (x![0]! - y![0]! || x![1]! - y![1]!) <= 0 ? a : b;
}

function answer(response: Dispatcher.ResponseData, body: string): HttpResponse {
  return { status: response.statusCode, headers: flatten(response.headers), body };
}

/**
 * The text of both streams, in order. Without a terminal the engine puts eight bytes before each piece: the
 * stream's number, three zeros, and the length, big endian; with one it sends the bytes as they are.
 */
export function demultiplex(bytes: Buffer): string {
  const pieces: Buffer[] = [];
  let at = 0;
  while (at + 8 <= bytes.length) {
    const isHeader = bytes[at]! <= 2 && bytes.readUIntBE(at + 1, 3) === 0;
    if (!isHeader) return bytes.toString('utf8');
    const end = at + 8 + bytes.readUInt32BE(at + 4);
    pieces.push(bytes.subarray(at + 8, end));
    at = end;
  }
  return (pieces.length === 0 ? bytes : Buffer.concat(pieces)).toString('utf8');
}
