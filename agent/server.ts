// What the agent serves: metrics and health on loopback, for Alloy and systemd's friends, and on a unix socket,
// for those who may open it, what the CLI asks. Node's own http: fastify would cost 22 MiB.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import * as z from 'zod';
import { inWords } from '../api/errors.ts';
import { jsonMistake, mistakesIn } from '../api/mistakes.ts';
import { isOfAnotherPage, isOwnName, nameInHost } from '../api/own-names.ts';
import type { Agent } from './agent.ts';

const Command = z.strictObject({
  key: z.string().optional(),
  ttlSeconds: z
    .number()
    .positive()
    .max(30 * 24 * 3600)
    .optional(),
  reason: z.string().max(500).optional(),
});
const DEFAULT_TTL_SECONDS = 3600;

/** Who connects and says nothing, or says it slowly, is not waited for. */
const LIMITS = { headersTimeout: 5_000, requestTimeout: 10_000, connectionsCheckingInterval: 2_000 };
const MAX_CONNECTIONS = 64;

export interface Servers {
  /** Where /metrics is served, as address:port. */
  readonly address: string;
  stop(): Promise<void>;
}

/**
 * @param listen address:port; port 0 takes a free one
 * @param names with dots, by which /metrics may be asked for beside its addresses
 * @param onResume a person says that the whole host is to be looked after again
 * @throws when an address or the socket is taken
 */
export async function startServers(
  agent: Agent,
  listen: string,
  socket: string,
  onResume: () => void = () => {},
  names: readonly string[] = [],
): Promise<Servers> {
  const observed = http.createServer(LIMITS, (request, response) =>
    answer(response, () => observe(agent, request, names)),
  );
  // Alloy and probes hold one connection or two; more are nobody's that is meant.
  observed.maxConnections = MAX_CONNECTIONS;
  const commanded = http.createServer((request, response) =>
    answer(response, () => command(agent, request, onResume)),
  );
  const colon = listen.lastIndexOf(':');
  await listening(observed, { host: listen.slice(0, colon), port: Number(listen.slice(colon + 1)) });
  try {
    await listenOnSocket(commanded, socket);
  } catch (error) {
    observed.close();
    throw error;
  }
  const address = observed.address();
  return {
    address: typeof address === 'object' && address !== null ? `${address.address}:${address.port}` : listen,
    async stop() {
      await Promise.all([closed(observed), closed(commanded)]);
      fs.rmSync(socket, { force: true });
    },
  };
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly type?: string;
}

async function answer(response: http.ServerResponse, make: () => Promise<Answer>): Promise<void> {
  let result: Answer;
  try {
    result = await make();
  } catch (error) {
    result = json(400, { error: { code: 'BadRequest', message: inWords(error) } });
  }
  response.writeHead(result.status, { 'content-type': result.type ?? 'text/plain; charset=utf-8' });
  response.end(result.body);
}

function json(status: number, value: unknown): Answer {
  return { status, body: JSON.stringify(value), type: 'application/json' };
}

async function observe(
  agent: Agent,
  request: http.IncomingMessage,
  names: readonly string[],
): Promise<Answer> {
  const name = nameInHost(request.headers.host);
  if (!isOwnName(name, names) || isOfAnotherPage(request.method ?? '', request.headers)) {
    const body = `not for pages of other sites: call the agent by its address, or add ${JSON.stringify(name.slice(0, 100))} to "names" in agent.json\n`;
    return { status: 421, body };
  }
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return { status: 405, body: 'there is GET only\n' };
  switch (request.url) {
    case '/metrics':
      return { status: 200, body: await agent.exposition(), type: agent.metrics.registry.contentType };
    case '/healthz':
      return { status: 200, body: 'ok\n' };
    case '/readyz':
      return agent.ready
        ? { status: 200, body: 'ready\n' }
        : { status: 503, body: 'not ready: not every resource has had its first pass\n' };
    default:
      return { status: 404, body: 'there is /metrics, /healthz and /readyz\n' };
  }
}

async function command(agent: Agent, request: http.IncomingMessage, onResume: () => void): Promise<Answer> {
  switch (`${request.method} ${request.url}`) {
    case 'GET /v1/status':
      return json(200, { status: agent.status(), suspended: agent.suspensions.keys() });
    case 'GET /v1/plan':
      return json(200, await agent.plan());
    case 'POST /v1/reconcile': {
      agent.reconcile((await readCommand(request)).key);
      return json(202, {});
    }
    case 'POST /v1/suspend': {
      const { key, ttlSeconds, reason } = await readCommand(request);
      agent.suspend(key, (ttlSeconds ?? DEFAULT_TTL_SECONDS) * 1000, reason ?? 'no reason was given');
      return json(202, {});
    }
    case 'POST /v1/resume': {
      const { key } = await readCommand(request);
      agent.resume(key);
      if (key === undefined) onResume();
      return json(202, {});
    }
    default:
      return json(404, {
        error: { code: 'NotFound', message: `there is no ${request.method} ${request.url}` },
      });
  }
}

async function readCommand(request: http.IncomingMessage): Promise<z.infer<typeof Command>> {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > 65_536) throw new Error('the request is too large');
  }
  return commandIn(text || '{}');
}

function commandIn(text: string): z.infer<typeof Command> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`the request is not JSON: ${jsonMistake(text, error)}`);
  }
  const parsed = Command.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new Error(`the request is wrong: ${mistakesIn(parsed.error, value)}`);
}

function listening(
  server: http.Server,
  where: { host: string; port: number } | { path: string },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** A socket that nobody answers on is left over from a kill; one that answers is another agent. */
async function listenOnSocket(server: http.Server, socket: string): Promise<void> {
  fs.mkdirSync(path.dirname(socket), { recursive: true, mode: 0o755 });
  if (fs.existsSync(socket)) {
    if (await answers(socket)) throw new Error(`another agent is running: it answers on ${socket}`);
    fs.rmSync(socket);
  }
  const before = process.umask(0o177);
  try {
    await listening(server, { path: socket });
  } finally {
    process.umask(before);
  }
}

export function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = http.get({ socketPath: socket, path: '/v1/status', timeout: 2000 }, (response) => {
      response.destroy();
      resolve(true);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
  });
}

function closed(server: http.Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
