// What agents ask for: to be enrolled, what to run, and to say how it went.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import * as z from 'zod';
import { EnrollRequest, type ParsedToken, parseToken, signEnrollment } from '../../api/enroll.ts';
import { clip, MAX_STATUS_BYTES } from '../../api/limits.ts';
import { jsonMistake } from '../../api/mistakes.ts';
import { AgentStatus } from '../../api/status.ts';
import { inBytes } from '../../api/words.ts';
import { Assignments } from '../fleet/assignments.ts';
import type { HostKey } from '../store/store.ts';
import type { AppDeps } from './deps.ts';
import { HttpError } from './errors.ts';
import { type Identity, wrongNode } from './identity.ts';
import { hostOf, read } from './parameters.ts';
import { RefusedAudit } from './refused-audit.ts';
import type { Strangers } from './strangers.ts';

const MAX_ENROLLMENT_BYTES = 4 * 1024;
const Query = z.object({ wait: z.coerce.number().int().min(0).max(55).default(0) });
/** How often, and after how long, a store that another process writes is tried again. */
const BUSY_TRIES = 40;
const BUSY_WAIT_MS = 50;
/** Of a status in a sentence of the page. */
const MAX_REASON = 300;

export function agentRoutes(
  app: FastifyInstance,
  deps: AppDeps,
  identity: Identity,
  strangers: Strangers,
): void {
  const { fleet, log } = deps;
  const refusedAudit = new RefusedAudit(deps.audit, deps.clock);
  const onRequest = async (request: FastifyRequest): Promise<void> =>
    identity.requireHost(hostOf(request), request);

  app.get('/v1/hosts/:host/bundle', { onRequest }, async (request, reply) => {
    const host = hostOf(request);
    const { wait } = read(Query, request.query);
    const known = request.headers['if-none-match'];
    const have = request.headers['homeostat-have-payload'];
    const current = (): string | undefined => {
      const assignment = fleet.assignments.get(host);
      return assignment === undefined ? undefined : Assignments.etag(assignment);
    };
    // What has nothing to tell waits, be it that nothing is new or that the host is not in git yet.
    if (wait > 0 && (current() === undefined || current() === known)) {
      // Ten thousand wait, each for a minute: what was asked is known, and its text is a quarter of what that costs.
      request.raw.headers = {};
      request.raw.rawHeaders = [];
      const woken = await fleet.waiters.wait(host, wait * 1000, reply.raw);
      if (woken === 'stopping')
        throw new HttpError('Stopping', 'the controller is being stopped: come back in a moment');
      if (woken === 'gone') return reply.hijack();
      identity.requireStill(host, request);
    }
    const etag = current();
    if (etag === undefined) throw unassigned(host);
    reply.header('cache-control', 'no-store');
    if (etag === known) return reply.header('etag', etag).code(304).send();
    return sendBundle(host, have, reply);
  });

  async function sendBundle(host: string, have: unknown, reply: FastifyReply): Promise<FastifyReply> {
    const assignment = fleet.assignments.get(host);
    if (assignment === undefined) throw unassigned(host);
    const signed = fleet.assignments.signed(host);
    reply.type('application/json').header('etag', Assignments.etag(assignment));
    if (have === assignment.payloadDigest) return reply.send(JSON.stringify(signed));
    const payload = await fleet.assignments.payloadOf(host);
    // Another commit came while the text was fetched.
    if (fleet.assignments.get(host) !== assignment) return sendBundle(host, have, reply);
    if (payload === undefined) {
      throw new HttpError(
        'PayloadUnavailable',
        'the payload was lost with the store, and git has not been read since: come back in a moment',
      );
    }
    return reply.send(JSON.stringify({ ...signed, payload }));
  }

  app.put(
    '/v1/hosts/:host/status',
    { onRequest: [onRequest, refuseLarge], bodyLimit: MAX_STATUS_BYTES },
    async (request, reply) => {
      const host = hostOf(request);
      identity.acceptBody(request);
      const text = textOf(request);
      try {
        fleet.recordStatus(statusOf(host, text), text);
      } catch (error) {
        if (error instanceof HttpError) noteRefusal(host, error);
        throw error;
      }
      return reply.code(204).send();
    },
  );

  /** Before its body is read; the host is there all the same, and its page says what is wrong. */
  async function refuseLarge(request: FastifyRequest): Promise<void> {
    const length = Number(request.headers['content-length'] ?? 0);
    if (!(length > MAX_STATUS_BYTES)) return;
    const host = hostOf(request);
    identity.requireFirst(request);
    const what = `the status has ${inBytes(length)}, and ${inBytes(MAX_STATUS_BYTES)} are taken here`;
    const error = new HttpError(
      'TooLarge',
      `${what}: update the agent, a present one shortens what it sends`,
    );
    noteRefusal(host, error);
    throw error;
  }

  function noteRefusal(host: string, error: HttpError): void {
    fleet.refuseStatus(host, clip(error.message.replace(/\s+/g, ' '), MAX_REASON));
  }

  app.post('/v1/enroll', { bodyLimit: MAX_ENROLLMENT_BYTES }, async (request, reply) => {
    const body = read(EnrollRequest, parseJson(textOf(request)));
    // Whoever shows a token of ours does not wait for neighbours who have none.
    const token = parseToken(body.token);
    const isOurs = token !== undefined ? deps.tokens.knows(token.id, token.secret) : false;
    const admitted = strangers.admitEnrollment(request, isOurs === true ? token?.id : undefined);
    try {
      if (token === undefined)
        throw new HttpError('TokenUnknown', 'this is no enrolment token: homeostat token create makes one');
      // Who has no token of ours gets no signature verified and no nonce remembered.
      if (isOurs === false) throw new HttpError('TokenUnknown', TOKEN_WORDS.TokenUnknown);
      const answer = await enroll(body, token, request);
      deps.onEnroll('enrolled');
      admitted.succeeded();
      return reply.send(answer);
    } catch (error) {
      const code = error instanceof HttpError ? error.code : 'Internal';
      deps.onEnroll(code);
      refusedAudit.refused(request.ip, body.host, code);
      throw error;
    }
  });
  app.addHook('onClose', async () => refusedAudit.flush());

  async function enroll(body: EnrollRequest, token: ParsedToken, request: FastifyRequest) {
    const { host, publicKey } = body;
    // That the key is the asker's own, before a token is used up.
    identity.verifyEnrollment(publicKey, request);
    const pinned = fleet.members.pinned(host).publicKey;
    if (pinned !== undefined && pinned !== publicKey) {
      throw new HttpError(
        'KeyPinned',
        `git names another publicKey for Host/${host}: change it there, or enrol with that key`,
      );
    }
    const peer = await identity.peer(request);
    const { nodeID } = fleet.members.pinned(host);
    // Before the token is used up: a host at the wrong node could not use its key.
    if (nodeID !== undefined && deps.whois !== undefined && nodeID !== peer?.nodeID)
      throw wrongNode(host, nodeID, peer, request);
    const key = { publicKey, nodeID: peer?.nodeID };
    const who = peer?.nodeName ?? request.ip;
    if ((await redeem(token, host, key)) === 'again') {
      const keys = fleet.members.keys(host);
      const isFromThere =
        deps.whois === undefined ||
        keys.some((k) => k.publicKey === publicKey && (k.nodeID ?? key.nodeID) === key.nodeID);
      if (!isFromThere) throw new HttpError('TokenUsed', TOKEN_WORDS.TokenUsed);
      log.info({ host, node: who, token: token.id }, 'enrolment answered again');
    } else {
      deps.audit({ who, action: 'enroll', subject: host, detail: `token ${token.id}` });
      log.info({ host, node: peer?.nodeName ?? '', token: token.id }, 'host enrolled');
    }
    // Also of a question that was answered before: the host may have seen more since.
    fleet.members.seen(host, body.sequenceSeen ?? 0);
    return signEnrollment(host, publicKey, deps.keys.trusted, deps.keys.privateKey);
  }

  /** Another process may be writing at this moment; it is tried again then. @throws HttpError */
  async function redeem(token: ParsedToken, host: string, key: HostKey): Promise<'ok' | 'again'> {
    for (let left = BUSY_TRIES; ; left--) {
      const current = fleet.members.enrolled(host);
      const planned = fleet.members.planned(host, key);
      const { id, secret } = token;
      const nowMs = deps.clock.now();
      const { publicKey } = key;
      const result = deps.tokens.redeem({ id, secret, nowMs, publicKey, current, host: planned });
      if (result === 'ok') fleet.members.recorded(planned);
      if (result === 'ok' || result === 'again') return result;
      if (result !== 'StoreUnavailable' || !deps.tokens.isBusy || left === 0)
        throw new HttpError(result, TOKEN_WORDS[result]);
      await deps.clock.sleep(BUSY_WAIT_MS);
    }
  }
}

function unassigned(host: string): HttpError {
  return new HttpError(
    'Unassigned',
    `there is no Host/${host} in git at the commit that is served: add a Host document`,
  );
}

const TOKEN_WORDS = {
  TokenUnknown: 'the token is unknown here: was it made with another --state, or for another controller?',
  TokenUsed: 'the token was already used, and works once: make another with homeostat token create',
  TokenExpired: 'the token has expired: make another with homeostat token create',
  TokenRevoked: 'the token was revoked: make another with homeostat token create',
  TokenForOtherHost: 'the token is for another host: make one for this host with homeostat token create',
  StoreUnavailable: 'the token could not be marked as used, so it is not accepted: see the controller’s log',
};

function statusOf(host: string, text: string): AgentStatus {
  const status = read(AgentStatus, parseJson(text));
  if (status.host === host) return status;
  throw new HttpError('BadRequest', `the status is of host ${status.host}, and was sent for ${host}`);
}

/** The body as it was signed. */
function textOf(request: FastifyRequest): string {
  return Buffer.isBuffer(request.body) ? request.body.toString('utf8') : '';
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new HttpError('BadRequest', `the body is not JSON: ${jsonMistake(text, error)}`);
  }
}
