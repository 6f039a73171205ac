// HTTP towards what runs on this host. Each request has a connection of its own: the services at the other end
// are the ones that get restarted, and a kept connection would turn that into an error of the next request.
// undici is loaded with the first request.
import type { Agent } from 'undici';
import type { Http, HttpResponse } from '../../kinds/ports.ts';
import type { Connector } from './undici.ts';

const MAX_BODY = 8 * 1024 * 1024;

interface Dialer {
  readonly agent: Agent;
  readonly connections: Connector;
}

export function createHttp(): Http & { close(): Promise<void> } {
  /** For all requests, and one for each that trusts authorities of its own. */
  const dialers = new Set<Dialer>();
  let common: Dialer | undefined;
  let closed = false;

  async function end(dialer: Dialer): Promise<void> {
    dialers.delete(dialer);
    await dialer.agent.destroy();
    dialer.connections.abandon();
  }

  return {
    async request(url, { timeoutMs, signal, method, headers, body, encoding, tls }) {
      if (closed) throw new Error('the agent stops, and makes no more requests');
      const { Agent, connector, request } = await import('./undici.ts');
      // No connection outlives its request; the request's own deadline is the only timeout.
      const dialerFor = (connections: Connector): Dialer => {
        const { connect } = connections;
        const agent = new Agent({ pipelining: 0, headersTimeout: 0, bodyTimeout: 0, connect });
        const dialer = { agent, connections };
        dialers.add(dialer);
        return dialer;
      };
      common ??= dialerFor(connector());
      const dialer = tls === undefined ? common : dialerFor(connector(trustOf(tls)));
      const deadline = AbortSignal.timeout(timeoutMs);
      try {
        const response = await request(url, {
          dispatcher: dialer.agent,
          method: (method ?? 'GET') as 'GET',
          headers: { ...headers },
          body: body ?? null,
          signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
        });
        return {
          status: response.statusCode,
          headers: flatten(response.headers),
          body: await readCapped(url, response.body, encoding),
        } satisfies HttpResponse;
      } catch (error) {
        signal?.throwIfAborted();
        if (deadline.aborted) {
          throw Object.assign(new Error(`${url} did not answer within ${timeoutMs} ms`), {
            code: 'ETIMEDOUT',
          });
        }
        throw error;
      } finally {
        if (dialer !== common) await end(dialer);
      }
    },

    async close() {
      closed = true;
      await Promise.all([...dialers].map(end));
    },
  };
}

function trustOf({ ca, serverName }: NonNullable<Parameters<Http['request']>[1]['tls']>) {
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
}

/** @throws Error when the body has more than MAX_BODY bytes. */
export async function readCapped(
  url: string,
  body: AsyncIterable<Uint8Array>,
  encoding: 'utf8' | 'latin1' = 'utf8',
): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    // Leaving the loop destroys the stream, and with it the connection.
    if (size > MAX_BODY) throw new Error(`${url} answered with more than ${MAX_BODY} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString(encoding);
}

export function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return flat;
}
