// The controller's HTTP server, put together and never listening: tests inject requests, main.ts listens.
import { createHmac, timingSafeEqual } from 'node:crypto';
import Fastify, { type FastifyInstance } from 'fastify';
import { MAX_STATUS_BYTES } from '../../api/limits.ts';
import { agentRoutes } from './agent-routes.ts';
import type { AppDeps } from './deps.ts';
import { type ErrorCode, HttpError } from './errors.ts';
import { Identity } from './identity.ts';
import { operatorRoutes } from './operator-routes.ts';
import { sdRoutes } from './sd-routes.ts';

export function buildApp(deps: AppDeps): FastifyInstance {
  const { fleet, metrics, log } = deps;
  const app = Fastify({
    logger: false,
    bodyLimit: MAX_STATUS_BYTES,
    // Longer than the longest wait, so that a connection is used again and again.
    keepAliveTimeout: 75_000,
    requestTimeout: 30_000,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 64 },
  });
  // Bodies stay bytes: what was signed is what is digested.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const { code, status, message } = explain(error);
    if (status >= 500)
      log.error(
        { method: request.method, route: request.routeOptions.url ?? '', error: error.stack },
        'request failed',
      );
    metrics.refused(code);
    if (status === 401) reply.header('www-authenticate', 'Bearer');
    if (status === 503) reply.header('retry-after', '2');
    return reply
      .code(status)
      .header('date', new Date(deps.clock.now()).toUTCString())
      .send({ error: { code, message } });
  });
  app.setNotFoundHandler((request) => {
    throw new HttpError(
      'NotFound',
      `there is no ${request.method} ${request.url.split('?')[0]?.slice(0, 100)}`,
    );
  });

  const identity = new Identity(deps);
  agentRoutes(app, deps, identity);
  operatorRoutes(app, deps, identity);
  sdRoutes(app, deps, identity);
  hookRoute(app, deps);

  app.get('/healthz', async () => ({ ok: true }));
  app.get('/readyz', async (_request, reply) => {
    const problem = fleet.isReady
      ? undefined
      : (fleet.defect ?? fleet.sourceProblem ?? 'git has not been read yet');
    return reply
      .code(problem === undefined ? 200 : 503)
      .send(problem === undefined ? { ok: true } : { ok: false, problem });
  });
  app.get('/metrics', async (_request, reply) => {
    metrics.refresh(fleet, deps.store.problem);
    return reply.type(metrics.registry.contentType).send(await metrics.registry.metrics());
  });
  // Before the server waits for its connections: those who wait must be answered.
  app.addHook('preClose', async () => fleet.waiters.stop());
  return app;
}

/** As GitHub, Gitea and Forgejo sign: X-Hub-Signature-256 is the HMAC-SHA-256 of the body. */
function hookRoute(app: FastifyInstance, { hookSecret, refresh }: AppDeps): void {
  app.post('/hooks/git', { bodyLimit: 8 * MAX_STATUS_BYTES }, async (request, reply) => {
    if (hookSecret === undefined)
      throw new HttpError('NotFound', 'there is no hook: start the controller with --hook-secret-file');
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    const expected = Buffer.from(`sha256=${createHmac('sha256', hookSecret).update(body).digest('hex')}`);
    const given = Buffer.from(String(request.headers['x-hub-signature-256'] ?? ''));
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      throw new HttpError('HookRefused', 'the hook is not signed with our secret (X-Hub-Signature-256)');
    }
    refresh();
    return reply.code(202).send({ ok: true });
  });
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
