// How a host joins, changes its key and leaves, over HTTP: an answer may be lost, a node may be the wrong one, and the
// key that works stays until another one does.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Peer } from '../../controller/source/whois.ts';
import { Store } from '../../controller/store/store.ts';
import { statusOf } from '../support/agent-status.ts';
import {
  type Agent,
  bundleOf,
  type Controller,
  closeControllers,
  codeOf,
  controller,
  enroll,
  MANIFESTS,
  MANIFESTS_WITHOUT_PI,
  reportOf,
} from './controller-app.ts';

after(closeControllers);

async function accepts(c: Controller, agent: Agent): Promise<boolean> {
  const answer = await bundleOf(agent, c);
  assert.ok([200, 401].includes(answer.statusCode), answer.body);
  return answer.statusCode === 200;
}

test('an answer that was lost is given again for the same token and key, and changes nothing', async () => {
  const c = await controller();
  await c.publish();
  const { agent, token, response } = await enroll(c, 'pi');
  const again = await enroll(c, 'pi', { token, agent });
  assert.deepEqual([again.response.statusCode, again.response.body], [200, response.body]);
  assert.equal(c.store.auditLog(10).length, 1);
  assert.equal(await accepts(c, agent), true);
  const other = await enroll(c, 'pi', { token });
  assert.deepEqual([other.response.statusCode, codeOf(other.response)], [403, 'TokenUsed']);
  assert.equal(await accepts(c, agent), true);
});

test('the old key is good until the new one signs its first request', async () => {
  const c = await controller();
  await c.publish();
  const { agent: old } = await enroll(c, 'pi');
  const { agent: next, response } = await enroll(c, 'pi');
  assert.equal(response.statusCode, 200);
  assert.equal(await accepts(c, old), true, 'the new one may never have been written');
  assert.equal(await accepts(c, next), true);
  assert.equal(await accepts(c, old), false, 'from now on it is the only one');
  assert.deepEqual(
    c.keyChanges.map((change) => change.host),
    ['pi'],
  );
  assert.equal(c.store.hosts()[0]?.publicKey, next.publicKey);
});

test('a key that enrolled and was never used makes room for the next one', async () => {
  const c = await controller();
  await c.publish();
  const { agent: old } = await enroll(c, 'pi');
  const { agent: lost, token } = await enroll(c, 'pi');
  const { agent: next } = await enroll(c, 'pi');
  assert.equal(await accepts(c, lost), false);
  assert.equal(codeOf((await enroll(c, 'pi', { token, agent: lost })).response), 'TokenUsed');
  assert.equal(await accepts(c, old), true);
  assert.equal(await accepts(c, next), true);
  assert.equal(await accepts(c, old), false);
});

test('what enrolled stays so over a restart, with the key that waits', async () => {
  const c = await controller();
  await c.publish();
  const { agent: old } = await enroll(c, 'pi');
  const { agent: next } = await enroll(c, 'pi');
  c.fleet.load();
  assert.equal(await accepts(c, old), true);
  assert.equal(await accepts(c, next), true);
  c.fleet.load();
  assert.equal(await accepts(c, old), false);
});

test('a node that is not the one in git can’t enrol, and neither token nor key is lost to it', async () => {
  let peer: Peer | undefined = { nodeID: 'n1', nodeName: 'pi', login: '', capabilities: [] };
  const c = await controller({ whois: { whois: async () => peer, close: async () => {} } });
  await c.publish(MANIFESTS.replace('{name: pi}\nspec: {', '{name: pi}\nspec: {nodeID: n1, '));
  const { agent } = await enroll(c, 'pi');
  assert.equal(await accepts(c, agent), true);
  for (const wrong of [{ ...peer, nodeID: 'n2' }, undefined]) {
    peer = wrong;
    const refused = await enroll(c, 'pi');
    assert.deepEqual([refused.response.statusCode, codeOf(refused.response)], [403, 'WrongNode']);
    peer = { nodeID: 'n1', nodeName: 'pi', login: '', capabilities: [] };
    assert.equal(await accepts(c, agent), true, 'its key works on');
    const right = await enroll(c, 'pi', { token: refused.token, agent });
    assert.equal(right.response.statusCode, 200, 'the token is good still');
  }
});

test('a host that moves to another node keeps working from the old one until it shows up at the new one', async () => {
  let peer: Peer = { nodeID: 'n1', nodeName: 'pi', login: '', capabilities: [] };
  const c = await controller({ whois: { whois: async () => peer, close: async () => {} } });
  await c.publish();
  const { agent } = await enroll(c, 'pi');
  peer = { ...peer, nodeID: 'n2' };
  assert.equal(codeOf(await bundleOf(agent, c)), 'WrongNode');
  const moved = await enroll(c, 'pi', { agent });
  assert.equal(moved.response.statusCode, 200);
  peer = { ...peer, nodeID: 'n1' };
  assert.equal(await accepts(c, agent), true);
  peer = { ...peer, nodeID: 'n3' };
  assert.equal(
    codeOf(await enroll(c, 'pi', { agent, token: moved.token }).then((e) => e.response)),
    'TokenUsed',
  );
  peer = { ...peer, nodeID: 'n2' };
  assert.equal(await accepts(c, agent), true);
  peer = { ...peer, nodeID: 'n1' };
  assert.equal(codeOf(await bundleOf(agent, c)), 'WrongNode');
});

test('what can’t be stored is not enrolled, and the token is good for another try', async () => {
  const c = await controller();
  await c.publish();
  const { agent: old } = await enroll(c, 'pi');
  const token = c.tokens.create('enroll', 'pi', c.clock.now(), 3600_000);
  c.database.get('PRAGMA query_only = 1');
  const failed = await enroll(c, 'pi', { token });
  assert.deepEqual([failed.response.statusCode, codeOf(failed.response)], [503, 'StoreUnavailable']);
  assert.equal(await accepts(c, old), true);
  assert.equal(await accepts(c, failed.agent), false);
  c.database.get('PRAGMA query_only = 0');
  const second = await enroll(c, 'pi', { token: failed.token, agent: failed.agent });
  assert.equal(second.response.statusCode, 200);
});

test('a host that another process forgets is refused with its next request, and its waiting one is ended', async () => {
  const c = await controller();
  await c.publish();
  const { agent } = await enroll(c, 'pi');
  const { agent: mac } = await enroll(c, 'mac');
  assert.equal((await reportOf(agent, c, statusOf('pi'))).statusCode, 204);
  c.fleet.save();
  const etag = String((await bundleOf(agent, c)).headers['etag']);
  const waiting = bundleOf(agent, c, { 'if-none-match': etag }, '/v1/hosts/pi/bundle?wait=55');
  await c.waiting(1);
  assert.equal(new Store(c.beside()).forgetHosts(['pi'], c.clock.now(), 'me', ''), true);
  assert.equal(await accepts(c, agent), false);
  assert.equal(codeOf(await waiting), 'NotEnrolled', 'a key that is revoked gets no bundle any more');
  assert.equal(await accepts(c, mac), true);
  assert.equal(c.fleet.host('pi')?.state, 'Unseen', 'git has it still');
  assert.match(c.fleet.host('pi')?.reason ?? '', /not enrolled/);
});

test('a host that left git is forgotten after its time, counted by a clock that nobody sets', async () => {
  const c = await controller({}, { forgetAfterMs: 3600_000 });
  await c.publish();
  const { agent } = await enroll(c, 'pi');
  await enroll(c, 'mac');
  const status = statusOf('pi', {
    conditions: [{ type: 'WatchesUp', status: 'False', reason: 'Down', message: '', lastTransitionTime: '' }],
  });
  await reportOf(agent, c, status);
  await c.publish(MANIFESTS_WITHOUT_PI, 'b'.repeat(40));
  const metrics = async () =>
    (await c.app.inject('/metrics')).body.split('\n').filter((line) => line.includes('host="pi"'));
  assert.ok((await metrics()).some((line) => line.includes('condition="Unassigned"} 1')));
  assert.deepEqual(
    (await metrics()).filter((line) => !/host_condition\{|host_last_seen/.test(line)),
    [],
    'no alert rests on what it said last',
  );
  const after = (ms: number): readonly string[] => {
    c.clock.advance(ms);
    return c.fleet.lookAround();
  };
  assert.deepEqual(after(0), []);
  assert.deepEqual(after(3599_000), []);
  // A clock that jumps by years, as that of a machine without a battery does.
  c.clock.jump(10 * 365 * 24 * 3600_000);
  assert.deepEqual(after(0), []);
  c.fleet.load();
  assert.deepEqual(after(0), []);
  // A commit that is refused, or a git that can't be read, says nothing of who left.
  c.fleet.sourceChanged('git is away');
  assert.deepEqual(after(7200_000), []);
  c.fleet.sourceChanged(undefined);
  assert.deepEqual(after(3600_000), ['pi']);
  assert.deepEqual(await metrics(), []);
  assert.equal(codeOf(await bundleOf(agent, c)), 'NotEnrolled');
  assert.deepEqual(
    c.store.hosts().map((h) => h.name),
    ['mac'],
  );
  assert.equal(c.store.statusHosts()?.has('pi'), false);
  const [entry] = c.store.auditLog(1);
  assert.deepEqual([entry?.who, entry?.action, entry?.subject], ['controller', 'forget', 'pi']);
});

test('a host that comes back to git in time keeps its key', async () => {
  const c = await controller({}, { forgetAfterMs: 3600_000 });
  await c.publish();
  const { agent } = await enroll(c, 'pi');
  for (let i = 0; i < 3; i++) {
    await c.publish(MANIFESTS_WITHOUT_PI, 'b'.repeat(40));
    c.fleet.lookAround();
    c.clock.advance(3500_000);
    await c.publish(MANIFESTS, 'a'.repeat(40));
    assert.deepEqual(c.fleet.lookAround(), []);
  }
  assert.equal(await accepts(c, agent), true);
});

test('a restored store is above what its agents report at once, without a new commit', async () => {
  const c = await controller();
  await c.publish();
  const { agent } = await enroll(c, 'pi');
  const before = c.fleet.assignments.get('pi')!.sequence;
  const etag = String((await bundleOf(agent, c)).headers['etag']);
  const waiting = bundleOf(agent, c, { 'if-none-match': etag }, '/v1/hosts/pi/bundle?wait=55');
  await c.waiting(1);
  const seen = before + 500;
  const sequence = { desired: seen, attempted: seen, running: seen };
  await reportOf(agent, c, statusOf('pi', { sequence }));
  const answer = await waiting;
  assert.equal(answer.statusCode, 200, 'it need not wait for its poll to end');
  assert.ok(c.fleet.assignments.get('pi')!.sequence > seen);
  assert.equal(c.store.assignments().find((a) => a.host === 'pi')?.sequence, seen + 1);
  // Its cache is lost, and the mark is not.
  const lost = { desired: 0, attempted: 0, running: 0, seen: seen + 1000 };
  await reportOf(agent, c, statusOf('pi', { sequence: lost }));
  assert.equal(c.fleet.assignments.get('pi')!.sequence, seen + 1001);
  // The same number for another commit: another controller's.
  const same = { desired: seen + 1001, attempted: 0, running: 0 };
  const commit = { desired: 'f'.repeat(40), running: '' };
  await reportOf(agent, c, statusOf('pi', { sequence: same, commit }));
  assert.equal(c.fleet.assignments.get('pi')!.sequence, seen + 1002);
});

test('a backup that is put into place while the controller runs is read, and git’s revision served above all', async () => {
  const c = await controller();
  await c.publish();
  const { agent } = await enroll(c, 'pi');
  c.backUp();
  const { agent: late } = await enroll(c, 'mac');
  await c.publish(MANIFESTS.replace('content: one', 'content: two'), 'b'.repeat(40));
  const before = c.fleet.assignments.get('pi')!.sequence;
  c.restore();
  assert.equal(c.database.heal(), 'replaced');
  c.fleet.reload();
  assert.equal(await accepts(c, agent), true);
  assert.equal(await accepts(c, late), false, 'as after a restart with that backup');
  const now = c.fleet.assignments.get('pi')!;
  assert.equal(now.commit, 'b'.repeat(40));
  assert.ok(now.sequence > before, `${now.sequence} is above ${before}`);
  assert.deepEqual(c.store.assignments().find((a) => a.host === 'pi')?.commit, 'b'.repeat(40));
});

test('a store that has no status of a host yet is no reason to forget its key', async () => {
  const c = await controller();
  await c.publish();
  const { agent } = await enroll(c, 'pi');
  c.backUp();
  assert.equal((await reportOf(agent, c, statusOf('pi'))).statusCode, 204);
  c.fleet.save();
  c.restore();
  assert.equal(c.database.heal(), 'replaced');
  c.fleet.reload();
  const beside = new Store(c.beside());
  for (const value of ['1', '2']) {
    assert.equal(beside.saveMeta('written', value), true);
    c.fleet.lookAround();
    assert.equal(await accepts(c, agent), true);
  }
});

test('a status can’t make series, and is cut or refused where it is too large', async () => {
  const c = await controller();
  await c.publish();
  const { agent } = await enroll(c, 'pi');
  const condition = (type: string) => ({
    type,
    status: 'True' as const,
    reason: 'r'.repeat(5000),
    message: 'm'.repeat(9000),
    lastTransitionTime: '',
  });
  const own = Array.from({ length: 60 }, (_, i) => condition(`Mine${i}`));
  const put = (over: object) => reportOf(agent, c, statusOf('pi', over));
  assert.equal((await put({ conditions: [...own, condition('Healthy')] })).statusCode, 204);
  const { body } = await c.app.inject('/metrics');
  assert.equal(body.includes('Mine'), false);
  assert.match(body, /host_agent_condition\{host="pi",type="Healthy"\} 1/);
  assert.ok((c.fleet.statuses.whole('pi')?.conditions[0]?.message.length ?? 0) <= 4096);
  const refused: object[] = [
    { conditions: Array.from({ length: 65 }, (_, i) => condition(`Mine${i}`)) },
    { conditions: [condition('no word')] },
    { conditions: [condition('__proto__')] },
    { conditions: [condition('A'.repeat(65))] },
    { agent: { version: 'v'.repeat(129), kinds: [], platform: '', startedAt: '' } },
    { agent: { version: '', kinds: Array(257).fill('File'), platform: '', startedAt: '' } },
    { sequence: { desired: -1, attempted: 0, running: 0 } },
    { sequence: { desired: 1.5, attempted: 0, running: 0 } },
    { commit: { desired: 'c'.repeat(129), running: '' } },
  ];
  for (const over of refused)
    assert.equal(codeOf(await put(over)), 'BadRequest', JSON.stringify(over).slice(0, 80));
});
