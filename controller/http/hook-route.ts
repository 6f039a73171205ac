// POST /hooks/git: a git host says that there is something new. As GitHub, Gitea and Forgejo sign: X-Hub-Signature-256 is
// the HMAC-SHA-256 of the body. The body is digested as it comes, and never kept: nobody knows who sends it before its end.
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { AppDeps } from './deps.ts';
import { HttpError } from './errors.ts';
import type { Strangers } from './strangers.ts';

/** What GitHub sends at most. */
const MAX_HOOK_BYTES = 25 * 1024 * 1024;
const SIGNATURE = /^sha256=[0-9a-f]{64}$/;

export function hookRoute(
  app: FastifyInstance,
  { hookSecret, refresh }: Pick<AppDeps, 'hookSecret' | 'refresh'>,
  strangers: Strangers,
): void {
  const digests = new WeakMap<FastifyRequest, string>();
  const onRequest = async (request: FastifyRequest): Promise<void> => {
    strangers.admit(request);
    if (hookSecret === undefined)
      throw new HttpError('NotFound', 'there is no hook: start the controller with --hook-secret-file');
    if (!SIGNATURE.test(String(request.headers['x-hub-signature-256']))) throw refused();
  };
  // A scope of its own, for its way to read a body.
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', async (request: FastifyRequest, body: AsyncIterable<Buffer>) => {
      const hmac = createHmac('sha256', hookSecret ?? '');
      let bytes = 0;
      for await (const chunk of body) {
        bytes += chunk.length;
        if (bytes > MAX_HOOK_BYTES) throw new HttpError('TooLarge', 'a hook has at most 25 MiB');
        hmac.update(chunk);
      }
      digests.set(request, hmac.digest('hex'));
      return undefined;
    });
    scope.post('/hooks/git', { onRequest, bodyLimit: MAX_HOOK_BYTES }, async (request, reply) => {
      const digest = digests.get(request) ?? createHmac('sha256', hookSecret ?? '').digest('hex');
      const given = Buffer.from(String(request.headers['x-hub-signature-256']));
      if (!timingSafeEqual(given, Buffer.from(`sha256=${digest}`))) throw refused();
      strangers.proven(request);
      refresh();
      return reply.code(202).send({ ok: true });
    });
  });
}

function refused(): HttpError {
  return new HttpError('HookRefused', 'the hook is not signed with our secret (X-Hub-Signature-256)');
}
