// The controller's HTTP server, put together and never listening: tests inject requests, main.ts listens.
import { Readable } from 'node:stream';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { oneATurn } from '../fleet/slices.ts';
import { agentRoutes } from './agent-routes.ts';
import { Connections } from './connections.ts';
import type { AppDeps } from './deps.ts';
import { type ErrorCode, HttpError } from './errors.ts';
import { hookRoute } from './hook-route.ts';
import { Identity } from './identity.ts';
import { operatorRoutes } from './operator-routes.ts';
import { OwnName } from './own-name.ts';
import { sdRoutes } from './sd-routes.ts';
import { Strangers } from './strangers.ts';
import { Turns } from './turns.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route looks itself at whether it is called by a name of the controller's own. */
    asksForItsName?: boolean;
  }
}

/** Of routes that take no body; each route that does says how much. */
const MAX_BODY_BYTES = 1024;

export function buildApp(deps: AppDeps): FastifyInstance {
  const connections = new Connections(deps.connectionLimits);
  const strangers = new Strangers(deps.clock, connections);
  const ownName = new OwnName(deps);
  const turns = new Turns();
  const onError = (error: Error & { statusCode?: number }, request: FastifyRequest, reply: FastifyReply) =>
    answerError(error, request, reply, deps, strangers);
  const app = Fastify({
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 100 },
    serverFactory: (handler) =>
      connections.server((request, response) => turns.run(() => handler(request, response))),
    frameworkErrors: onError,
  });
  // Bodies stay bytes: what was signed is what is digested.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.setErrorHandler(onError);
  app.addHook('onRequest', async (request: FastifyRequest) => {
    if (request.routeOptions.config.asksForItsName !== true) await ownName.require(request);
  });
  const admit = async (request: FastifyRequest): Promise<void> => strangers.admit(request);
  app.setNotFoundHandler({ preHandler: admit }, (request: FastifyRequest) => {
    throw new HttpError(
      'NotFound',
      `there is no ${request.method} ${request.url.split('?')[0]?.slice(0, 100)}`,
    );
  });

  const identity = new Identity(deps, strangers, ownName);
  agentRoutes(app, deps, identity, strangers);
  operatorRoutes(app, deps, identity, strangers);
  sdRoutes(app, deps, identity);
  hookRoute(app, deps, strangers);
  observeRoutes(app, deps, strangers);
  // Before the server waits for its connections: those who wait must be answered.
  app.addHook('preClose', async () => deps.fleet.waiters.stop());
  return app;
}

/** What anybody may ask: who watches the controller has no identity of its own. */
function observeRoutes(app: FastifyInstance, deps: AppDeps, strangers: Strangers): void {
  const { fleet, metrics } = deps;
  app.get('/healthz', async () => ({ ok: true }));
  app.get('/readyz', async (_request, reply) => {
    const problem = fleet.isReady
      ? undefined
      : (fleet.defect ?? fleet.sourceProblem ?? 'git has not been read yet');
    return reply
      .code(problem === undefined ? 200 : 503)
      .send(problem === undefined ? { ok: true } : { ok: false, problem });
  });
  const onRequest = async (request: FastifyRequest): Promise<void> => strangers.admitRead(request);
  app.get('/metrics', { onRequest }, async (_request, reply) => {
    const parts = await metrics.exposition(fleet, deps.store.problem);
    // Each portion is encoded in a turn of its own, and only as fast as it is taken.
    return reply
      .type(metrics.registry.contentType)
      .send(Readable.from(oneATurn(parts), { objectMode: false }));
  });
}

function answerError(
  error: Error & { statusCode?: number },
  request: FastifyRequest,
  reply: FastifyReply,
  deps: AppDeps,
  strangers: Strangers,
): FastifyReply {
  const { code, status, message } = explain(error);
  // Every other error is an answer that was meant.
  if (code === 'Internal')
    deps.log.error(
      { method: request.method, route: request.routeOptions.url ?? '', error: error.stack },
      'request failed',
    );
  deps.metrics.refused(code);
  // Who is slowed down already is not slowed down more for asking.
  if (status < 500 && status !== 429) strangers.refused(request);
  if (status === 401) reply.header('www-authenticate', 'Bearer');
  if (status === 503) reply.header('retry-after', '2');
  if (status === 429) reply.header('retry-after', '5');
  return reply
    .code(status)
    .header('date', new Date(deps.clock.now()).toUTCString())
    .send({ error: { code, message } });
}

function explain(error: Error & { statusCode?: number }): {
  code: ErrorCode;
  status: number;
  message: string;
} {
  if (error instanceof HttpError)
    return { code: error.code, status: error.statusCode, message: error.message };
  if (error.statusCode === 413)
    return { code: 'TooLarge', status: 413, message: 'the body is larger than is accepted here' };
  if (error.statusCode !== undefined && error.statusCode < 500) {
    return { code: 'BadRequest', status: 400, message: error.message };
  }
  return { code: 'Internal', status: 500, message: 'something went wrong here: the controller’s log has it' };
}
