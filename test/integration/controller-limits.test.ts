// What strangers can cost the controller, by which names it answers, and that nothing that anybody sends is a 5xx.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type http from 'node:http';
import net from 'node:net';
import { after, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { InjectOptions } from 'fastify';
import { CONNECTION_LIMITS } from '../../controller/http/connections.ts';
import type { AppDeps } from '../../controller/http/deps.ts';
import type { Whois } from '../../controller/source/whois.ts';
import { statusOf } from '../support/agent-status.ts';
import {
  bundleOf,
  closeControllers,
  codeOf,
  controller,
  enroll,
  headers,
  MANIFESTS,
  newAgent,
  reportOf,
} from './controller-app.ts';

after(closeControllers);

test('300 enrolments of strangers are some rows, then 429, and no signature is verified for them', async () => {
  const c = await controller();
  await c.publish();
  const codes: string[] = [];
  for (let i = 0; i < 300; i++) {
    const body = JSON.stringify({
      token: `hs1_${'0'.repeat(8)}.${'x'.repeat(32)}`,
      host: 'pi',
      publicKey: newAgent('pi').publicKey,
    });
    codes.push(codeOf(await c.app.inject({ method: 'POST', url: '/v1/enroll', body })));
  }
  assert.deepEqual([...new Set(codes)], ['TokenUnknown', 'RateLimited']);
  assert.ok(codes.filter((code) => code === 'TokenUnknown').length <= 100);
  assert.ok(c.store.auditLog(1000).length <= 11, `${c.store.auditLog(1000).length} rows`);
  c.clock.advance(60_000);
  assert.match(c.store.auditLog(1)[0]!.detail, /^and more: \d+ TokenUnknown$/);
  // An hour of it, and the log is as long as it may be.
  for (let minute = 0; minute < 120; minute++) {
    c.clock.advance(60_000);
    for (let i = 0; i < 12; i++)
      await c.app.inject({ method: 'POST', url: '/v1/enroll', body: enrollment() });
  }
  assert.ok(c.store.auditLog(100_000).length <= 1001, `${c.store.auditLog(100_000).length} rows`);
});

function enrollment(): string {
  const publicKey = newAgent('pi').publicKey;
  return JSON.stringify({ token: `hs1_${'0'.repeat(8)}.${'x'.repeat(32)}`, host: 'pi', publicKey });
}

test('who has a token of ours enrols beside strangers who guess, and pays by that token', async () => {
  const c = await controller();
  await c.publish();
  const guess = () => c.app.inject({ method: 'POST', url: '/v1/enroll', body: enrollment() });
  for (let i = 0; i < 120; i++) await guess();
  assert.equal(codeOf(await guess()), 'RateLimited');
  assert.equal((await enroll(c, 'pi')).response.statusCode, 200);
  const { id, secret } = c.tokens.create('enroll', 'pi', c.clock.now(), 60_000);
  const { publicKey } = newAgent('pi');
  const wrong = JSON.stringify({ token: `hs1_${id}.${secret}`, host: 'pi', publicKey });
  const answers: string[] = [];
  for (let i = 0; i < 120; i++)
    answers.push(codeOf(await c.app.inject({ method: 'POST', url: '/v1/enroll', body: wrong })));
  assert.deepEqual([...new Set(answers)], ['Unsigned', 'RateLimited']);
  assert.equal((await enroll(c, 'pi')).response.statusCode, 200);
});

test('a fleet behind one address enrols and reports while a neighbour is refused all the time', async () => {
  const hosts = Array.from({ length: 150 }, (_, i) => `h${i}`);
  const c = await controller();
  await c.publish(
    hosts
      .map((name) => `apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: ${name}}\nspec: {}\n`)
      .join('---\n'),
  );
  const agents = [];
  for (const host of hosts) {
    const { agent, response } = await enroll(c, host);
    assert.equal(response.statusCode, 200, response.body);
    agents.push(agent);
  }
  const stranger = newAgent('h0');
  for (let i = 0; i < 400; i++) {
    await c.app.inject('/v1/hosts/h0/bundle');
    await c.app.inject('/v1/hosts/nobody/bundle');
    await bundleOf(stranger, c);
  }
  assert.equal(codeOf(await bundleOf(stranger, c)), 'RateLimited');
  for (const agent of agents) {
    assert.equal((await bundleOf(agent, c)).statusCode, 200);
    assert.equal((await reportOf(agent, c, statusOf(agent.host))).statusCode, 204);
  }
});

test('who forges the signature of an enrolled key pays for it; who has the key is let in again soon', async () => {
  const c = await controller();
  await c.publish();
  const { agent } = await enroll(c, 'pi');
  const forger = { ...newAgent('pi'), publicKey: agent.publicKey };
  const codes = new Set<string>();
  for (let i = 0; i < 200; i++) codes.add(codeOf(await bundleOf(forger, c)));
  assert.deepEqual([...codes], ['BadSignature', 'RateLimited']);
  c.clock.advance(1000);
  assert.equal((await bundleOf(agent, c)).statusCode, 200);
});

test('an enrolled host that asks without end is slowed down, and the others are not', async () => {
  const c = await controller();
  await c.publish();
  const { agent } = await enroll(c, 'pi');
  const mac = (await enroll(c, 'mac')).agent;
  const codes = new Set<number>();
  for (let i = 0; i < 400; i++) codes.add((await bundleOf(agent, c)).statusCode);
  assert.deepEqual([...codes], [200, 429]);
  assert.equal((await bundleOf(mac, c)).statusCode, 200);
});

test('a hook that there is not is refused before its body; a large one is digested and not kept', async (t) => {
  const none = await listening(t, {});
  const refused = await upload(none, 'POST /hooks/git', 8 * 1024 * 1024, {});
  assert.match(refused.answer, /^HTTP\/1\.1 404 .*there is no hook/s);
  assert.ok(refused.sent < 8 * 1024 * 1024, 'it is answered while it still sends');
  const some = await listening(t, { hookSecret: 'a secret of some length' });
  const unsigned = await upload(some, 'POST /hooks/git', 8 * 1024 * 1024, {});
  assert.match(unsigned.answer, /^HTTP\/1\.1 403 /);
  const wrong = await upload(some, 'POST /hooks/git', 4 * 1024 * 1024, {
    'x-hub-signature-256': `sha256=${'0'.repeat(64)}`,
  });
  assert.match(wrong.answer, /^HTTP\/1\.1 403 /);
});

test('a body of a stranger is refused before it is read, on every route that takes one', async (t) => {
  const port = await listening(t, {});
  for (const [line, code] of [
    ['PUT /v1/hosts/pi/status', 401],
    ['POST /v1/enroll', 413],
    ['POST /nowhere', 413],
    ['DELETE /', 413],
  ] as const) {
    const { answer, sent } = await upload(port, line, 900_000, {});
    assert.match(answer, new RegExp(`^HTTP/1\\.1 ${code} `), line);
    assert.ok(sent <= 900_000);
  }
});

test('who sends nothing, or slowly, is hung up on; who is connected for nothing makes room', async (t) => {
  const connectionLimits = {
    ...CONNECTION_LIMITS,
    headersMs: 300,
    requestMs: 600,
    checkMs: 50,
    perSource: 20,
  };
  const port = await listening(t, { connectionLimits });
  const silent = net.connect(port, '127.0.0.1').on('error', () => {});
  const slow = net.connect(port, '127.0.0.1').on('error', () => {});
  await Promise.all([once(silent, 'connect'), once(slow, 'connect')]);
  slow.write('GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ');
  await Promise.all([once(silent.resume(), 'close'), once(slow.resume(), 'close')]);

  const many = Array.from({ length: 60 }, () =>
    net
      .connect(port, '127.0.0.1')
      .on('error', () => {})
      .resume(),
  );
  const closed = many.slice(0, 30).map((socket) => once(socket, 'close'));
  await Promise.all(closed);
  for (const socket of many) socket.destroy();
  const answer = await fetch(`http://127.0.0.1:${port}/healthz`);
  assert.equal(answer.status, 200);
});

test('every route looks at the name that it is called by, and says which flag adds one', async () => {
  const whois: Whois = {
    whois: async () => undefined,
    names: async () => ['mac-mini.tail1234.ts.net'],
    close: async () => {},
  };
  const c = await controller({ whois, names: ['fleet.example.org'], hookSecret: 'a secret of some length' });
  await c.publish();
  const routes = [
    '/metrics',
    '/healthz',
    '/readyz',
    '/',
    '/hosts/pi',
    '/v1/fleet',
    '/v1/hosts/pi',
    '/v1/events',
  ]
    .map((url) => ['GET', url])
    .concat([
      ['GET', '/sd/node-exporter'],
      ['GET', '/v1/hosts/pi/bundle'],
      ['PUT', '/v1/hosts/pi/status'],
    ])
    .concat([
      ['POST', '/v1/enroll'],
      ['POST', '/hooks/git'],
      ['GET', '/nowhere'],
      ['HEAD', '/metrics'],
    ]);
  for (const [method, url] of routes as ['GET' | 'PUT' | 'POST' | 'HEAD', string][]) {
    const ask = (more: Record<string, string>) => c.app.inject({ method, url, headers: more });
    const wrong = await ask({ host: 'evil.example.com' });
    assert.equal(wrong.statusCode, 421, `${method} ${url}`);
    if (method !== 'HEAD') assert.match(wrong.body, /start it with --name evil\.example\.com/);
    const page = await ask({ host: 'mac-mini:8420', origin: 'https://evil.example.com' });
    assert.equal(page.statusCode, 403, `${method} ${url}`);
    const image = await ask({
      host: 'mac-mini',
      'sec-fetch-site': 'cross-site',
      'sec-fetch-mode': 'no-cors',
    });
    assert.equal(image.statusCode, 403, `${method} ${url}`);
    c.clock.advance(60_000);
  }
  for (const host of [
    '127.0.0.1:8420',
    'localhost',
    'mac-mini',
    'mac-mini.tail1234.ts.net:8420',
    'fleet.example.org',
  ]) {
    const answer = await c.app.inject({ url: '/metrics', headers: { host } });
    assert.equal(answer.statusCode, 200, host);
  }
});

test('a probe of a container and Prometheus pass, however many requests others had refused', async () => {
  const c = await controller({ openReads: false });
  for (let i = 0; i < 300; i++) await c.app.inject('/nowhere');
  assert.equal(codeOf(await c.app.inject('/nowhere')), 'RateLimited');
  assert.equal(
    (await c.app.inject({ url: '/healthz', headers: { host: '127.0.0.1:8420' } })).statusCode,
    200,
  );
  assert.equal(
    (await c.app.inject({ url: '/metrics', headers: { host: '127.0.0.1:8420' } })).statusCode,
    200,
  );
});

test('malformed parameters are 4xx with a sentence', async () => {
  const c = await controller();
  await c.publish();
  const host = 'a'.repeat(64);
  for (const url of [`/v1/hosts/${host}/bundle`, `/v1/hosts/${host}`, `/hosts/${host}`, `/sd/${host}`]) {
    const answer = await c.app.inject(url);
    assert.equal(answer.statusCode, 400, url);
    assert.doesNotMatch(answer.body, /ZodError|\n\s+at /);
  }
  const { agent } = await enroll(c, 'pi');
  for (const wait of ['x', '-1', '56', '1e9', '']) {
    const url = `/v1/hosts/pi/bundle?wait=${wait}&wait=2`;
    const answer = await c.app.inject({ url, headers: headers(agent, c, 'GET', url) });
    assert.equal(answer.statusCode, 400, url);
    assert.match(answer.body, /wait: /);
  }
});

const METHODS = ['GET', 'PUT', 'POST', 'HEAD', 'DELETE', 'PATCH', 'OPTIONS'] as const;
const SEGMENT = fc.oneof(
  fc.constantFrom(
    'v1',
    'hosts',
    'pi',
    'bundle',
    'status',
    'enroll',
    'fleet',
    'events',
    'sd',
    'hooks',
    'git',
    'metrics',
  ),
  fc.string({ unit: 'binary', maxLength: 80 }).map((text) => encodeURIComponent(text.toWellFormed())),
  fc.constantFrom('..', '.', '%', '%zz', '%00', '%2e%2e', '__proto__', 'a'.repeat(64), 'a'.repeat(5000), ''),
);
const VALUE = fc.oneof(
  fc.string({ maxLength: 60 }).map((text) => text.replace(/[^\x20-\x7e]/g, '?')),
  fc.constantFrom(
    'Bearer x',
    'sha256=00',
    'application/json',
    '1e99',
    '-1',
    'chunked',
    'sig1=:AAAA:',
    '*/*',
    'W/"x"',
  ),
);
const NAMES = [
  'authorization',
  'signature',
  'signature-input',
  'content-digest',
  'content-type',
  'if-none-match',
];
const NAME = fc.constantFrom(
  ...NAMES,
  'homeostat-have-payload',
  'origin',
  'sec-fetch-site',
  'x-hub-signature-256',
  'accept',
);
const REQUEST = fc.record({
  method: fc.constantFrom(...METHODS),
  url: fc
    .tuple(fc.array(SEGMENT, { maxLength: 5 }), fc.constantFrom('', '?wait=1', '?wait=%zz', '?a[b]=c', '?'))
    .map(([segments, query]) => `/${segments.join('/')}${query}`),
  headers: fc.dictionary(NAME, VALUE, { maxKeys: 5 }),
  body: fc.option(
    fc.oneof(
      fc.string({ maxLength: 200 }),
      fc.json(),
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc.constant('x'.repeat(3000)),
    ),
  ),
});

test('whatever anybody sends to any route: no 5xx, and every refusal is a sentence', async () => {
  const c = await controller({ hookSecret: 'a secret of some length' });
  await c.publish(MANIFESTS);
  const { agent } = await enroll(c, 'pi');
  const ask = async (request: InjectOptions) => c.app.inject(request);
  await fc.assert(
    fc.asyncProperty(REQUEST, fc.boolean(), async ({ method, url, headers: more, body }, signed) => {
      // It does not end; a HEAD does.
      if (method === 'GET' && /^\/v1\/events(?:\?|$)/.test(url)) return;
      c.clock.advance(10_000);
      const text = body === null ? undefined : typeof body === 'string' ? body : body.toString('latin1');
      const answer = await ask({
        method,
        url,
        headers: { ...more, ...(signed ? headers(agent, c, method, url, text) : {}) },
        ...(body === null || text === undefined ? {} : { body: signed ? text : body }),
      });
      assert.ok(answer.statusCode < 500, `${method} ${url}: ${answer.statusCode} ${answer.body}`);
      if (answer.statusCode < 400 || method === 'HEAD' || !answer.body.startsWith('{')) return;
      const { error } = answer.json() as { error: { code: string; message: string } };
      assert.ok(error.message.length > 5 && !/\n\s+at |ZodError/.test(error.message), error.message);
    }),
    { numRuns: 1500 },
  );
});

test('a HEAD ends, also where a GET would go on for ever', async () => {
  const c = await controller();
  assert.equal((await c.app.inject({ method: 'HEAD', url: '/v1/events' })).statusCode, 404);
});

/** The app on a socket, with real time. */
async function listening(t: TestContext, over: Partial<AppDeps>): Promise<number> {
  const c = await controller(over);
  await c.app.listen({ host: '127.0.0.1', port: 0 });
  t.after(() => c.app.close());
  const address = (c.app.server as http.Server).address();
  if (typeof address !== 'object' || address === null) throw new Error('it does not listen');
  return address.port;
}

/** Sends a body for as long as it is taken. @returns the answer, and how much was sent when it came. */
async function upload(port: number, line: string, bytes: number, more: Record<string, string>) {
  const socket = net.connect(port, '127.0.0.1').on('error', () => {});
  await once(socket, 'connect');
  let answer = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    answer += chunk;
  });
  const answered = once(socket, 'data');
  const all = { host: 'localhost', 'content-length': String(bytes), ...more };
  const head = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`${line} HTTP/1.1\r\n${head.join('')}\r\n`);
  let sent = 0;
  const chunk = Buffer.alloc(64 * 1024, 'x');
  while (sent < bytes && answer === '' && !socket.destroyed) {
    const part = chunk.subarray(0, Math.min(chunk.length, bytes - sent));
    await new Promise((resolve) => socket.write(part, resolve));
    sent += part.length;
  }
  await answered;
  socket.destroy();
  return { answer, sent };
}
