// What operators see: the fleet, a host, a stream that says when to look again, and the pages for people.
import { randomBytes } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import * as z from 'zod';
import { fleetPage } from '../views/fleet-page.ts';
import { hostPage } from '../views/host-page.ts';
import { errorPage } from '../views/layout.ts';
import type { AppDeps } from './deps.ts';
import { HttpError } from './errors.ts';
import { EventStreams } from './event-streams.ts';
import type { Identity } from './identity.ts';

const Params = z.object({ host: z.string().max(63) });

export function operatorRoutes(app: FastifyInstance, deps: AppDeps, identity: Identity): void {
  const { fleet } = deps;
  const streams = new EventStreams(fleet, deps.clock);
  app.addHook('preClose', async () => streams.stop());
  const onRequest = async (request: FastifyRequest): Promise<void> => {
    await identity.requireOperator(request);
  };

  app.get('/v1/fleet', { onRequest }, async () => fleet.view());

  app.get('/v1/hosts/:host', { onRequest }, async (request) => {
    const { host } = Params.parse(request.params);
    const view = fleet.host(host);
    if (view === undefined) throw unknownHost(host);
    return { ...view, status: fleet.statuses.whole(host) ?? null };
  });

  app.get('/v1/events', { onRequest }, async (_request, reply) => {
    reply.hijack();
    streams.open(reply.raw);
  });

  app.get('/', async (request, reply) => {
    await page(request, reply, (nonce) => fleetPage(fleet.view(), nonce));
  });

  app.get('/hosts/:host', async (request, reply) => {
    await page(request, reply, (nonce) => {
      const { host } = Params.parse(request.params);
      const view = fleet.host(host);
      if (view === undefined) throw unknownHost(host);
      return hostPage(view, fleet.statuses.whole(host), fleet.view().at, nonce);
    });
  });

  async function page(
    request: FastifyRequest,
    reply: FastifyReply,
    render: (nonce: string) => string,
  ): Promise<void> {
    const nonce = randomBytes(12).toString('base64');
    reply
      .type('text/html; charset=utf-8')
      .header('cache-control', 'no-store')
      .header('referrer-policy', 'no-referrer')
      .header('x-content-type-options', 'nosniff')
      .header(
        'content-security-policy',
        `default-src 'none'; style-src 'nonce-${nonce}'; script-src 'nonce-${nonce}'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
      );
    try {
      await identity.requireOperator(request);
      await reply.send(render(nonce));
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      await reply.code(error.statusCode).send(errorPage(error.message, nonce));
    }
  }
}

function unknownHost(host: string): HttpError {
  return new HttpError('NotFound', `nothing is known of a host ${host}: it is not in git and never enrolled`);
}
