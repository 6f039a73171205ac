// HTTP service discovery: GET /sd/:job, for Prometheus.
import type { FastifyInstance } from 'fastify';
import * as z from 'zod';
import type { HostDocument } from '../../api/documents.ts';
import type { Fleet } from '../fleet/fleet.ts';
import { jobsOf, targetsOf } from '../pipeline/targets.ts';
import type { AppDeps } from './deps.ts';
import { HttpError } from './errors.ts';
import type { Identity } from './identity.ts';
import { read } from './parameters.ts';

const Params = z.object({ job: z.string().max(63) });

export function sdRoutes(app: FastifyInstance, { fleet }: AppDeps, identity: Identity): void {
  const onRequest = identity.requireScraper.bind(identity);
  app.get('/sd/:job', { onRequest, config: { asksForItsName: true } }, async (request) => {
    const { job } = read(Params, request.params);
    // An error has Prometheus keep the targets that it knows; an empty list would have it drop them.
    if (!fleet.isServing)
      throw new HttpError('NothingServed', 'no revision is served yet: keep the targets you have');
    const targets = targetsOf(fleet.document, job, documents(fleet));
    if (targets !== undefined) return targets;
    const jobs = jobsOf(fleet.document).join(', ') || 'none';
    throw new HttpError('NotFound', `there is no job ${job}: Fleet.spec.scrape has ${jobs}`);
  });
}

function* documents(fleet: Fleet): Generator<HostDocument> {
  for (const { host } of fleet.assignments.all()) {
    const document = fleet.assignments.document(host);
    if (document !== undefined) yield document;
  }
}
