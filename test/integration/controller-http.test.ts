// The controller's HTTP API: who gets an answer, what it says, and how waiting works. Requests are injected; the
// clock stands still unless a test moves it.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, test } from 'node:test';
import type { FastifyInstance } from 'fastify';
import { openEnvelope, openPayload, SignedBundle } from '../../api/bundle.ts';
import { EnrollAnswer, isGenuine } from '../../api/enroll.ts';
import { fitted } from '../../api/limits.ts';
import type { AgentStatus } from '../../api/status.ts';
import { healthHere } from '../../cli/status.ts';
import type { FleetView } from '../../controller/fleet/view.ts';
import type { Peer, Whois } from '../../controller/source/whois.ts';
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

test('a host enrols with a token, once, and gets a bundle that it can verify', async () => {
  const c = await controller();
  await c.publish();
  const { agent, token, response } = await enroll(c, 'pi');
  assert.equal(response.statusCode, 200);
  const answer = EnrollAnswer.parse(response.json());
  assert.equal(isGenuine(answer, agent.publicKey, c.keys.fingerprint), true);
  assert.equal(
    isGenuine(
      { ...answer, trustedKeys: [newAgent('x').publicKey, ...answer.trustedKeys] },
      agent.publicKey,
      c.keys.fingerprint,
    ),
    false,
    'no key can be slipped in',
  );
  assert.equal(isGenuine(answer, agent.publicKey, '0'.repeat(32)), false);
  const again = await enroll(c, 'pi', { token });
  assert.deepEqual([again.response.statusCode, codeOf(again.response)], [403, 'TokenUsed']);

  const got = await bundleOf(agent, c);
  assert.equal(got.statusCode, 200);
  const bundle = SignedBundle.parse(got.json());
  const envelope = openEnvelope(bundle, 'pi', answer.trustedKeys);
  assert.equal(openPayload(envelope, bundle.payload!).resources[0]!.spec['content'], 'one');
  const without = await bundleOf(agent, c, { 'homeostat-have-payload': envelope.payloadDigest });
  assert.equal((without.json() as SignedBundle).payload, undefined);
  assert.equal((await bundleOf(agent, c, { 'if-none-match': String(got.headers['etag']) })).statusCode, 304);
});

test('enrolment is refused in words: other host, expired, key that is not the asker’s, key that git pins', async () => {
  const c = await controller();
  const other = newAgent('x');
  await c.publish(
    MANIFESTS.replace(
      '{name: mac}\nspec: {mode: enforce}',
      `{name: mac}\nspec: {publicKey: ${newAgent('mac').publicKey}}`,
    ),
  );
  assert.equal(
    codeOf(
      (await enroll(c, 'pi', { token: c.tokens.create('enroll', 'mac', c.clock.now(), 1000) })).response,
    ),
    'TokenForOtherHost',
  );
  const late = c.tokens.create('enroll', 'pi', c.clock.now() - 2000, 1000);
  assert.equal(codeOf((await enroll(c, 'pi', { token: late })).response), 'TokenExpired');
  assert.equal(codeOf((await enroll(c, 'pi', { signer: other })).response), 'BadSignature');
  assert.equal(codeOf((await enroll(c, 'mac')).response), 'KeyPinned');
  assert.equal(c.store.auditLog(10).length, 4);
  const text = await c.app.inject('/metrics');
  assert.match(text.body, /homeostat_controller_enrollments_total\{result="TokenExpired"\} 1/);
});

test('only the host itself is answered: unsigned, other key, other host, changed body, wrong clock, replay', async () => {
  const c = await controller();
  await c.publish();
  const { agent } = await enroll(c, 'pi');
  const mac = (await enroll(c, 'mac')).agent;
  assert.equal(codeOf(await c.app.inject('/v1/hosts/pi/bundle')), 'Unsigned');
  assert.equal(codeOf(await c.app.inject('/v1/hosts/nobody/bundle')), 'NotEnrolled');
  assert.equal(codeOf(await bundleOf(mac, c, {}, '/v1/hosts/pi/bundle')), 'BadSignature');
  const forged = await c.app.inject({
    method: 'GET',
    url: '/v1/hosts/pi/bundle',
    headers: headers({ ...mac, publicKey: agent.publicKey }, c, 'GET', '/v1/hosts/pi/bundle'),
  });
  assert.deepEqual([forged.statusCode, codeOf(forged)], [401, 'BadSignature']);

  const url = '/v1/hosts/pi/status';
  const body = JSON.stringify(statusOf('pi'));
  const signed = { 'content-type': 'application/json', ...headers(agent, c, 'PUT', url, body) };
  assert.equal(
    codeOf(await c.app.inject({ method: 'PUT', url, headers: signed, body: body.replace('linux', 'macos') })),
    'BadSignature',
  );
  assert.equal((await c.app.inject({ method: 'PUT', url, headers: signed, body })).statusCode, 204);
  assert.equal(codeOf(await c.app.inject({ method: 'PUT', url, headers: signed, body })), 'Replayed');
  const early = headers(agent, c, 'PUT', url, body, {
    createdSeconds: Math.floor(c.clock.now() / 1000) - 301,
  });
  const skewed = await c.app.inject({
    method: 'PUT',
    url,
    headers: { 'content-type': 'application/json', ...early },
    body,
  });
  assert.equal(codeOf(skewed), 'ClockSkew');
  assert.equal(Date.parse(String(skewed.headers['date'])), c.clock.now(), 'the answer tells the time');
  c.clock.advance(601_000);
  assert.equal((await reportOf(agent, c, statusOf('pi'))).statusCode, 204);
});

test('on a tailnet the node must be the pinned one too', async () => {
  let peer: Peer | undefined | Error = {
    nodeID: 'n1',
    nodeName: 'pi.example.ts.net',
    login: 'me@example.com',
    capabilities: [],
  };
  const whois: Whois = {
    whois: async () => {
      if (peer instanceof Error) throw peer;
      return peer;
    },
    close: async () => {},
  };
  const c = await controller({ whois, openReads: false });
  await c.publish();
  const { agent } = await enroll(c, 'pi');
  assert.equal((await bundleOf(agent, c)).statusCode, 200, 'pinned at its enrolment');
  peer = { ...peer, nodeID: 'n2' };
  assert.deepEqual(
    [(await bundleOf(agent, c)).statusCode, codeOf(await bundleOf(agent, c))],
    [403, 'WrongNode'],
  );
  peer = undefined;
  assert.equal(codeOf(await bundleOf(agent, c)), 'WrongNode');
  peer = new Error('no tailscaled');
  assert.equal(codeOf(await bundleOf(agent, c)), 'WhoisUnavailable');
  await c.publish(
    MANIFESTS.replace('{name: pi}\nspec: {', '{name: pi}\nspec: {nodeID: n3, '),
    'b'.repeat(40),
  );
  peer = { nodeID: 'n3', nodeName: 'pi', login: '', capabilities: [] };
  assert.equal((await bundleOf(agent, c)).statusCode, 200, 'what git says wins');
});

test('a request that has nothing to be told waits, and is answered the moment there is', async () => {
  const c = await controller();
  await c.publish();
  const { agent } = await enroll(c, 'pi');
  const etag = String((await bundleOf(agent, c)).headers['etag']);
  const poll = () => bundleOf(agent, c, { 'if-none-match': etag }, '/v1/hosts/pi/bundle?wait=55');

  const first = poll();
  await c.waiting();
  c.clock.advance(55_000);
  assert.equal((await first).statusCode, 304);

  const second = poll();
  await c.waiting();
  await c.publish(MANIFESTS.replace('content: one', 'content: two'), 'b'.repeat(40));
  const answer = await second;
  assert.equal(answer.statusCode, 200);
  assert.notEqual(answer.headers['etag'], etag);
  assert.equal(c.fleet.waiters.count, 0);
  assert.equal(c.clock.timers.size, 0, 'no timer is left');

  const third = bundleOf(
    agent,
    c,
    { 'if-none-match': String(answer.headers['etag']) },
    '/v1/hosts/pi/bundle?wait=55',
  );
  await c.waiting();
  c.fleet.waiters.stop();
  assert.deepEqual([(await third).statusCode, codeOf(await third)], [503, 'Stopping']);
});

test('a commit wakes those whose payload it changes, and leaves the others with what they have', async () => {
  const c = await controller();
  await c.publish();
  const pi = (await enroll(c, 'pi')).agent;
  const mac = (await enroll(c, 'mac')).agent;
  const tags = {
    pi: String((await bundleOf(pi, c)).headers['etag']),
    mac: String((await bundleOf(mac, c)).headers['etag']),
  };
  const poll = (agent: typeof pi, etag: string) =>
    bundleOf(agent, c, { 'if-none-match': etag }, `/v1/hosts/${agent.host}/bundle?wait=55`);
  const ofPi = poll(pi, tags.pi);
  const ofMac = poll(mac, tags.mac);
  await c.waiting(2);
  const published = await c.publish(MANIFESTS.replace('content: one', 'content: two'), 'b'.repeat(40));
  assert.deepEqual([published?.changed, published?.woken], [1, ['pi']]);
  assert.equal((await ofPi).statusCode, 200);
  assert.equal(c.fleet.waiters.count, 1, 'mac waits on');
  assert.equal(String((await bundleOf(mac, c)).headers['etag']), tags.mac);
  // What git says of a host beside its payload is taken over all the same.
  const pinned = newAgent('mac').publicKey;
  const text = MANIFESTS.replace('content: one', 'content: two').replace(
    '{name: mac}\nspec: {mode: enforce}',
    `{name: mac}\nspec: {mode: enforce, publicKey: ${pinned}}`,
  );
  await c.publish(text, 'c'.repeat(40));
  assert.equal(c.fleet.members.pinned('mac').publicKey, pinned);
  assert.equal(c.fleet.assignments.get('mac')?.commit, 'a'.repeat(40));
  assert.equal(
    c.store
      .assignments()
      .find(({ host }) => host === 'mac')
      ?.document.includes(pinned),
    true,
  );
  c.clock.advance(55_000);
  await ofMac;
});

test('a host that is not in git is told so, and waits to be', async () => {
  const c = await controller();
  const { agent } = await enroll(c, 'pi');
  assert.deepEqual(
    [(await bundleOf(agent, c)).statusCode, codeOf(await bundleOf(agent, c))],
    [404, 'Unassigned'],
  );
  const waits = bundleOf(agent, c, {}, '/v1/hosts/pi/bundle?wait=10');
  await c.waiting();
  await c.publish();
  assert.equal((await waits).statusCode, 200);
  await c.publish(
    MANIFESTS.replace(/apiVersion[^-]*name: pi[^-]*---\n/s, '').replace('names: [pi]', 'names: [mac]'),
    'b'.repeat(40),
  );
  assert.equal(codeOf(await bundleOf(agent, c)), 'Unassigned');
  assert.equal(c.fleet.host('pi')?.state, 'Unassigned');
});

test('sequences only rise: going back, a lost store, a clock that is behind, agents that saw more', async () => {
  const c = await controller();
  const sequence = async (text: string, commit: string): Promise<number> =>
    (await c.publish(text, commit.repeat(40)))!.sequence;
  const one = await sequence(MANIFESTS, 'a');
  const two = await sequence(MANIFESTS.replace('content: one', 'content: two'), 'b');
  const back = await sequence(MANIFESTS, 'a');
  assert.ok(one < two && two < back);
  assert.equal(await c.publish(MANIFESTS, 'a'.repeat(40)), undefined, 'the same again is no news');
  c.clock.advance(-3600_000);
  assert.equal(await sequence(MANIFESTS, 'c'), back + 1);
  const { agent } = await enroll(c, 'pi', { sequenceSeen: back + 1000 });
  const of = (host: string): number => c.fleet.assignments.get(host)!.sequence;
  // What mac gets is what it got first, and so is its sequence.
  assert.deepEqual([of('pi'), of('mac')], [back + 1001, one], 'at once, and for the host that saw it');
  const seen = (n: number) =>
    reportOf(agent, c, statusOf('pi', { sequence: { desired: 0, attempted: 0, running: 0, seen: n } }));
  await seen(back + 5000);
  assert.deepEqual([of('pi'), of('mac')], [back + 5001, one]);
  await seen(Number.MAX_SAFE_INTEGER);
  assert.equal(of('pi'), back + 5001, 'an agent can’t push it out of reach');
  assert.equal(await sequence(MANIFESTS.replace('content: one', 'content: two'), 'd'), back + 2);
  assert.deepEqual([of('pi'), of('mac')], [back + 5002, one], 'and one that lies moves nobody else');
});

test('a refused commit keeps the last good one, and says so wherever people look', async () => {
  const c = await controller();
  await c.publish();
  const { agent } = await enroll(c, 'pi');
  const etag = (await bundleOf(agent, c)).headers['etag'];
  await c.publish(MANIFESTS.replace('kind: File', 'kind: Flie'), 'bad0'.repeat(10));
  assert.equal((await bundleOf(agent, c)).headers['etag'], etag);
  const view = (await c.app.inject('/v1/fleet')).json() as FleetView;
  assert.deepEqual(view.refused, {
    diagnostics: ['a.yaml:17:7: unknown kind "Flie": did you mean File?'],
    errors: 1,
  });
  assert.equal(view.serving?.commit, 'a'.repeat(40));
  assert.match(view.summary, /the newest commit is refused/);
  assert.match(
    (await c.app.inject('/metrics')).body,
    /homeostat_controller_manifest_diagnostics\{severity="error"\} 1/,
  );
  const page = await c.app.inject('/');
  assert.match(page.body, /is refused: 1 error/);
  assert.match(page.body, /unknown kind &#34;Flie&#34;/);
  assert.equal(page.body.includes('<b>”'), false, 'a commit’s subject is no markup');
});

test('a status is shown: on the page, in the API, in the metrics; a bad one is refused', async () => {
  const c = await controller();
  const published = await c.publish();
  const { agent } = await enroll(c, 'pi');
  const { sequence } = published!;
  const ready = {
    type: 'Ready',
    status: 'False' as const,
    reason: 'RolledBack',
    message: '<script>alert(1)</script>',
    lastTransitionTime: '2026-11-23T12:00:00Z',
  };
  const resource = {
    key: 'File/motd',
    conditions: [ready],
    desiredDigest: 'a',
    runningDigest: 'b',
    drift: ['mode: 0644 → 0600'],
    healedTotal: 3,
    source: 'a.yaml:17',
  };
  const status = statusOf('pi', {
    sequence: { desired: sequence, attempted: sequence, running: 0 },
    resources: [resource],
  });
  assert.equal((await reportOf(agent, c, status)).statusCode, 204);
  assert.deepEqual([c.fleet.host('pi')?.state, c.fleet.host('pi')?.healedTotal], ['RolledBack', 3]);
  assert.equal(
    ((await c.app.inject('/v1/hosts/pi')).json() as { status: AgentStatus }).status.resources.length,
    1,
  );
  const page = (await c.app.inject('/hosts/pi')).body;
  assert.match(page, /&#60;script&#62;alert\(1\)/);
  assert.equal(page.includes('<script>alert'), false);
  assert.match(
    (await c.app.inject('/metrics')).body,
    new RegExp(`host_sequence\\{host="pi",state="attempted"\\} ${sequence}`),
  );
  c.clock.advance(101_000);
  assert.equal(c.fleet.host('pi')?.state, 'Unseen');

  assert.equal(codeOf(await reportOf(agent, c, statusOf('mac'))), 'BadRequest');
  assert.equal(codeOf(await reportOf(agent, c, { host: 'pi' })), 'BadRequest');
  assert.equal(codeOf(await reportOf(agent, c, '{"host":')), 'BadRequest');
  assert.equal(codeOf(await reportOf(agent, c, 'x'.repeat(1024 * 1024 + 1))), 'TooLarge');
  assert.equal(codeOf(await c.app.inject('/v1/hosts/nobody')), 'NotFound');
});

test('a host that observes is not in order while one of its resources can’t be looked at, and all say so alike', async () => {
  const c = await controller();
  const published = await c.publish(MANIFESTS.replace('{mode: enforce}', '{mode: observe}'));
  const { agent } = await enroll(c, 'pi');
  const { sequence } = published!;
  const resource = (key: string, status: 'True' | 'False', reason: string, message: string) => ({
    key,
    conditions: [{ type: 'Ready', status, reason, message, lastTransitionTime: '2026-11-23T12:00:00Z' }],
    desiredDigest: 'a',
    runningDigest: '',
    drift: [],
    healedTotal: 0,
    source: 'a.yaml:17',
  });
  const status = statusOf('pi', {
    mode: 'observe',
    sequence: { desired: sequence, attempted: sequence, running: 0 },
    resources: [
      resource('File/motd', 'True', 'InSync', 'as the manifest says'),
      resource('File/shadow', 'False', 'NotAllowed', 'the path /etc/shadow is not allowed here'),
    ],
  });
  assert.equal((await reportOf(agent, c, status)).statusCode, 204);
  const host = c.fleet.host('pi')!;
  assert.equal(host.state, 'Degraded');
  assert.match(
    host.reason,
    /^1 of 2 resources can’t be looked at, or is not well: File\/shadow \(NotAllowed\)/,
  );
  assert.deepEqual(host.resources, { total: 2, ready: 1, drifted: 0, failing: 1 });
  assert.equal(c.fleet.view().healthy, false);
  const here = healthHere(status);
  assert.deepEqual([here.state, here.reason], [host.state, host.reason], 'the host’s own word is the same');
  const metrics = (await c.app.inject('/metrics')).body;
  for (const line of [
    'homeostat_controller_host_condition{host="pi",condition="Degraded"} 1',
    'homeostat_controller_host_condition{host="pi",condition="Observing"} 0',
    'homeostat_controller_host_observing{host="pi"} 1',
    'homeostat_controller_host_resources{host="pi",state="failing"} 1',
  ]) {
    assert.ok(metrics.includes(line), `${line} is missing`);
  }
  const fleetPage = (await c.app.inject('/')).body;
  assert.match(fleetPage, /badge Degraded/);
  assert.match(fleetPage, /File\/shadow \(NotAllowed\)/);
  assert.match((await c.app.inject('/hosts/pi')).body, /\/etc\/shadow is not allowed here/);
});

test('a host whose report can’t be taken is there, and everybody sees why', async () => {
  const c = await controller();
  const { sequence } = (await c.publish())!;
  const { agent } = await enroll(c, 'pi');
  const fine = statusOf('pi', { sequence: { desired: sequence, attempted: sequence, running: sequence } });
  const rows = [
    [
      'TooLarge',
      'x'.repeat(1024 * 1024 + 1),
      /status is refused: the status has 1,048,577 bytes, and 1,048,576 bytes are/,
    ],
    ['BadRequest', { ...fine, mode: 'pretend' }, /status is refused: .*mode/],
    ['BadRequest', '{"host":', /status is refused: the body is not JSON/],
    ['BadRequest', statusOf('mac'), /status is refused: the status is of host mac/],
  ] as const;
  for (const [code, status, reason] of rows) {
    c.clock.advance(200_000);
    assert.equal(codeOf(await reportOf(agent, c, status)), code);
    const host = c.fleet.host('pi')!;
    assert.deepEqual([host.state, host.lastSeen], ['StatusRefused', new Date(c.clock.now()).toISOString()]);
    assert.match(host.reason, reason);
  }
  assert.match((await c.app.inject('/')).body, /Status refused/);
  assert.match((await c.app.inject('/hosts/pi')).body, /status is refused/);
  const { body } = await c.app.inject('/metrics');
  assert.ok(body.includes('homeostat_controller_host_condition{host="pi",condition="StatusRefused"} 1'));
  assert.equal((await reportOf(agent, c, fine)).statusCode, 204);
  assert.equal(c.fleet.host('pi')?.state, 'Ready');
  await reportOf(agent, c, { ...fine, mode: 'pretend' });
  assert.match((await c.app.inject('/hosts/pi')).body, /the last report that could be taken/);
  c.clock.advance(101_000);
  assert.equal(c.fleet.host('pi')?.state, 'Unseen', 'a host that says nothing any more is silent');
});

test('a status that had to be shortened is shown with every key, and counted whole', async () => {
  const c = await controller();
  const { sequence } = (await c.publish())!;
  const { agent } = await enroll(c, 'pi');
  const ready = {
    type: 'Ready',
    status: 'True' as const,
    reason: 'InSync',
    message: '',
    lastTransitionTime: '',
  };
  const resources = Array.from({ length: 5000 }, (_, i) => ({
    key: `File/number-${i}`,
    conditions: [i === 0 ? { ...ready, status: 'False' as const, reason: 'ENOSPC', message: 'full' } : ready],
    desiredDigest: 'd'.repeat(64),
    runningDigest: 'd'.repeat(64),
    drift: [],
    healedTotal: 1,
    source: 'a.yaml:17',
  }));
  const whole = statusOf('pi', {
    sequence: { desired: sequence, attempted: sequence, running: 0 },
    resources,
  });
  assert.equal((await reportOf(agent, c, fitted(whole))).statusCode, 204);
  const host = c.fleet.host('pi')!;
  assert.deepEqual(host.resources, { total: 5000, ready: 4999, drifted: 0, failing: 1 });
  assert.deepEqual([host.state, host.healedTotal], ['Degraded', 5000]);
  assert.match(host.reason, /1 of 5000 resources .*File\/number-0 \(ENOSPC\)/);
  const page = (await c.app.inject('/hosts/pi')).body;
  for (const shown of ['StatusShortened', 'File/number-4999', '4999 more', 'full']) {
    assert.ok(page.includes(shown), `${shown} is missing on the page`);
  }
});

test('only the host itself can have its report refused', async () => {
  const c = await controller();
  await c.publish();
  const { agent } = await enroll(c, 'pi');
  const large = 'x'.repeat(1024 * 1024 + 1);
  const forged = { ...newAgent('pi') };
  assert.equal(codeOf(await reportOf(forged, c, large)), 'BadSignature');
  const claimed = headers(agent, c, 'PUT', '/v1/hosts/pi/status', 'another body')['signature-input'];
  const codes = [codeOf(await reportOf(forged, c, large, { 'signature-input': claimed! }))];
  assert.deepEqual(codes, ['BadSignature']);
  assert.equal(c.fleet.host('pi')?.state, 'Unseen');
});

test('operators are told by login, capability or token; pages of others get nothing', async () => {
  let peer: Peer | undefined = { nodeID: 'n', nodeName: 'laptop', login: 'me@example.com', capabilities: [] };
  const c = await controller({ openReads: false, whois: { whois: async () => peer, close: async () => {} } });
  const fleet = async (more: Record<string, string> = {}) =>
    c.app.inject({ url: '/v1/fleet', headers: { host: '127.0.0.1:8420', ...more } });
  assert.equal(codeOf(await fleet()), 'NotAnOperator', 'nobody is one before git says so');
  await c.publish();
  assert.equal((await fleet()).statusCode, 200);
  peer = { ...peer, login: 'stranger@example.com' };
  assert.equal(codeOf(await fleet()), 'NotAnOperator');
  peer = { ...peer, capabilities: ['homeostat.dev/cap/operator'] };
  assert.equal((await fleet()).statusCode, 200);
  peer = undefined;
  const page = await c.app.inject('/');
  assert.deepEqual([page.statusCode, /for operators/.test(page.body)], [401, true]);
  const { id, secret } = c.tokens.create('operator', 'ci', c.clock.now(), 1000);
  assert.equal(
    (await fleet({ authorization: `Bearer hs1_${id}.${secret}.${c.keys.fingerprint}` })).statusCode,
    200,
  );
  assert.equal(codeOf(await fleet({ authorization: 'Bearer nonsense' })), 'NotAnOperator');
  const bearer = { authorization: `Bearer hs1_${id}.${secret}` };
  assert.equal(codeOf(await fleet({ ...bearer, host: 'evil.example.com' })), 'WrongHost');
  assert.equal(codeOf(await fleet({ ...bearer, origin: 'https://evil.example.com' })), 'WrongOrigin');
  assert.equal(
    (await fleet({ ...bearer, host: 'mac-mini:8420', origin: 'http://mac-mini:8420' })).statusCode,
    200,
  );
});

const SCRAPED = `apiVersion: homeostat.dev/v1
kind: Fleet
metadata: {name: fleet}
spec:
  scrape:
    - {job: tailscale-clients, port: 5252, labels: {tailscale_machine: '\${host.name}'}}
    - {job: node-exporter, port: 9100, hosts: {matchLabels: {telemetry: lean}}}
---
apiVersion: homeostat.dev/v1
kind: Host
metadata: {name: raspberry-pi, labels: {alloy: apt}}
spec: {address: 198.18.0.8, nodeID: nPi}
---
apiVersion: homeostat.dev/v1
kind: Host
metadata: {name: digitalocean, labels: {telemetry: lean}}
spec: {address: 'fd7a:115c:a1e0::45'}
---
apiVersion: homeostat.dev/v1
kind: Host
metadata: {name: no-address}
spec: {}
---
apiVersion: homeostat.dev/v1
kind: Host
metadata: {name: leaving}
spec: {address: 198.18.0.9, decommission: true}
`;

test('Prometheus gets its targets from the revision that is served, in the form of http_sd_configs', async () => {
  const c = await controller();
  const targets = async (job: string) => c.app.inject(`/sd/${job}`);
  assert.equal(
    codeOf(await targets('tailscale-clients')),
    'NothingServed',
    'an empty list would drop them all',
  );
  await c.publish(SCRAPED);
  const clients = await targets('tailscale-clients');
  assert.match(String(clients.headers['content-type']), /^application\/json/);
  assert.deepEqual(clients.json(), [
    {
      targets: ['[fd7a:115c:a1e0::45]:5252'],
      labels: { host: 'digitalocean', tailscale_machine: 'digitalocean' },
    },
    { targets: ['198.18.0.8:5252'], labels: { host: 'raspberry-pi', tailscale_machine: 'raspberry-pi' } },
  ]);
  assert.deepEqual((await targets('node-exporter')).json(), [
    { targets: ['[fd7a:115c:a1e0::45]:9100'], labels: { host: 'digitalocean' } },
  ]);
  for (const job of ['nope', 'constructor', '__proto__']) {
    const answer = await targets(job);
    assert.equal(codeOf(answer), 'NotFound');
    assert.match(answer.body, /Fleet.spec.scrape has tailscale-clients, node-exporter/);
  }
  await c.publish(`${SCRAPED}---\n- broken\n`, 'b'.repeat(40));
  assert.equal((await targets('tailscale-clients')).json().length, 2, 'a refused commit changes nothing');
});

test('targets are for Prometheus: by its token, from a host of the fleet, or for an operator', async () => {
  const sdToken = 'a token of some length';
  let peer: Peer | undefined;
  const over = { openReads: false, whois: { whois: async () => peer, close: async () => {} } };
  const c = await controller({ ...over, sdToken: sdToken.replaceAll(' ', '-') });
  await c.publish(SCRAPED);
  const ask = (authorization?: string, host = '127.0.0.1:8420') =>
    c.app.inject({
      url: '/sd/tailscale-clients',
      headers: { host, ...(authorization === undefined ? {} : { authorization }) },
    });
  const refused = await ask();
  assert.equal(codeOf(refused), 'NotAScraper');
  assert.equal(refused.headers['www-authenticate'], 'Bearer');
  assert.match(refused.body, /give Prometheus the token of --sd-token-file/);
  assert.equal((await ask('Bearer a-token-of-some-length')).statusCode, 200);
  const docker = await ask('Bearer a-token-of-some-length', 'host.docker.internal:8420');
  assert.equal(docker.statusCode, 200, 'Prometheus in a container knows the controller by another name');
  assert.equal((await ask('a-token-of-some-length')).statusCode, 200, 'as Prometheus 2.42 may send it');
  for (const wrong of ['Bearer a-token-of-some-lengtH', 'Bearer a', 'Basic YTpi', 'Bearer ']) {
    assert.equal(codeOf(await ask(wrong)), 'NotAScraper');
  }
  peer = { nodeID: 'nPi', nodeName: 'raspberry-pi', login: '', capabilities: [] };
  assert.equal((await ask()).statusCode, 200);
  assert.equal(codeOf(await ask(undefined, 'evil.example.com')), 'WrongHost');
  peer = { ...peer, nodeID: 'nStranger' };
  assert.equal(codeOf(await ask()), 'NotAScraper');
  const { id, secret } = c.tokens.create('operator', 'ci', c.clock.now(), 1000);
  assert.equal((await ask(`Bearer hs1_${id}.${secret}`)).statusCode, 200);
  const none = await controller(over);
  const answer = await none.app.inject({ url: '/sd/tailscale-clients', headers: { host: 'mac-mini' } });
  assert.match(answer.body, /start the controller with --sd-token-file/);
});

test('a hook has git looked at only when it is signed', async () => {
  const hookSecret = 'a secret of some length';
  const c = await controller({ hookSecret });
  const body = '{"ref":"refs/heads/main"}';
  const sign = (text: string): string =>
    `sha256=${createHmac('sha256', hookSecret).update(text).digest('hex')}`;
  const hook = (signature: string) =>
    c.app.inject({
      method: 'POST',
      url: '/hooks/git',
      headers: { 'content-type': 'application/json', 'x-hub-signature-256': signature },
      body,
    });
  assert.equal(codeOf(await hook(sign('other'))), 'HookRefused');
  assert.equal(codeOf(await hook('')), 'HookRefused');
  assert.equal(c.refreshed.length, 0);
  assert.equal((await hook(sign(body))).statusCode, 202);
  assert.equal(c.refreshed.length, 1);
  const none = await controller();
  assert.equal(codeOf(await none.app.inject({ method: 'POST', url: '/hooks/git', body })), 'NotFound');
});

test('readiness, health, unknown routes, empty states', async () => {
  const c = await controller();
  assert.equal((await c.app.inject('/healthz')).statusCode, 200);
  assert.equal((await c.app.inject('/readyz')).statusCode, 503);
  assert.match((await c.app.inject('/')).body, /No hosts yet/);
  await c.publish();
  assert.equal((await c.app.inject('/readyz')).statusCode, 200);
  assert.equal(codeOf(await c.app.inject('/nope')), 'NotFound');
  assert.match((await c.app.inject('/hosts/pi')).body, /homeostat token create --host pi/);
  const series = (await c.app.inject('/metrics')).body;
  for (const result of ['published', 'unchanged', 'refused', 'unreadable'])
    assert.match(series, new RegExp(`publish_total\\{result="${result}"\\} 0`));
});

test('events tell a page to look again, and end with the controller', async () => {
  const c = await controller();
  const address = await (c.app as FastifyInstance).listen({ host: '127.0.0.1', port: 0 });
  const response = await fetch(`${address}/v1/events`);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  assert.match((await reader.read()).value!, /retry/);
  await c.publish();
  c.clock.advance(500);
  assert.match((await reader.read()).value!, /event: change/);
  await c.app.close();
  let end: { done: boolean };
  do end = await reader.read();
  while (!end.done);
});
