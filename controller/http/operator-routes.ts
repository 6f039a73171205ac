// What operators see: the fleet, a host, a stream that says when to look again, and the pages for people.
import { randomBytes } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { mapInSlices } from '../fleet/slices.ts';
import { fleetPage, hostRow } from '../views/fleet-page.ts';
import { hostPage } from '../views/host-page.ts';
import { errorPage } from '../views/layout.ts';
import type { AppDeps } from './deps.ts';
import { HttpError } from './errors.ts';
import { EventStreams } from './event-streams.ts';
import type { Identity } from './identity.ts';
import { hostOf } from './parameters.ts';
import type { Strangers } from './strangers.ts';

export function operatorRoutes(
  app: FastifyInstance,
  deps: AppDeps,
  identity: Identity,
  strangers: Strangers,
): void {
  const { fleet } = deps;
  const streams = new EventStreams(fleet, deps.clock);
  app.addHook('preClose', async () => streams.stop());
  const onRequest = async (request: FastifyRequest): Promise<void> => {
    await identity.requireOperator(request);
  };

  app.get('/v1/fleet', { onRequest }, async (_request, reply) => {
    const { hosts, ...rest } = await fleet.viewInSlices();
    const texts = await mapInSlices(hosts, (host) => JSON.stringify(host));
    const text = `${JSON.stringify(rest).slice(0, -1)},"hosts":[${texts.join(',')}]}`;
    return reply.type('application/json; charset=utf-8').send(text);
  });

  app.get('/v1/hosts/:host', { onRequest }, async (request) => {
    const host = hostOf(request);
    const view = fleet.host(host);
    if (view === undefined) throw unknownHost(host);
    return { ...view, status: fleet.statuses.whole(host) ?? null };
  });

  // No HEAD: its answer would never end.
  app.get('/v1/events', { onRequest, exposeHeadRoute: false }, async (_request, reply) => {
    reply.hijack();
    streams.open(reply.raw);
  });

  app.get('/', async (request, reply) => {
    await page(request, reply, async (nonce) => {
      const view = await fleet.viewInSlices();
      return fleetPage(view, await mapInSlices(view.hosts, (host) => hostRow(host, view.at)), nonce);
    });
  });

  app.get('/hosts/:host', async (request, reply) => {
    await page(request, reply, async (nonce) => {
      const host = hostOf(request);
      const view = fleet.host(host);
      if (view === undefined) throw unknownHost(host);
      return hostPage(view, fleet.statuses.whole(host), new Date(deps.clock.now()).toISOString(), nonce);
    });
  });

  async function page(
    request: FastifyRequest,
    reply: FastifyReply,
    render: (nonce: string) => Promise<string>,
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
      await reply.send(await render(nonce));
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      strangers.refused(request);
      await reply.code(error.statusCode).send(errorPage(error.message, nonce));
    }
  }
}

function unknownHost(host: string): HttpError {
  return new HttpError('NotFound', `nothing is known of a host ${host}: it is not in git and never enrolled`);
}
