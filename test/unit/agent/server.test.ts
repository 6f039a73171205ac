// What an agent serves, over real sockets.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { startServers } from '../../../agent/server.ts';
import { tally } from '../../../api/health.ts';
import { AgentStatus } from '../../../api/status.ts';
import { askAgent } from '../../../cli/socket.ts';
import { Devices } from '../../support/device.ts';
import { eventually } from '../../support/eventually.ts';
import { resource, Timeline } from '../../support/timeline.ts';

async function serve(t: TestContext) {
  const line = new Timeline(t);
  const socket = path.join(line.directory, 'agent.sock');
  const names = ['pi.tail1234.ts.net'];
  const servers = await startServers(line.agent, '127.0.0.1:0', socket, () => {}, names);
  t.after(() => servers.stop());
  const get = (p: string) => fetch(`http://${servers.address}${p}`);
  const ask = (method: string, p: string, body?: object) => askAgent({ socket, config: '' }, method, p, body);
  return { line, socket, get, ask, address: servers.address };
}

const file = (name: string, content = 'x') => resource('File', name, { path: `/etc/${name}`, content });

test('readyz says when everything had its first pass; healthz always answers', async (t) => {
  const { line, get } = await serve(t);
  assert.equal((await get('/healthz')).status, 200);
  assert.equal((await get('/readyz')).status, 503);
  line.start().assign(file('a'));
  await eventually(async () => assert.equal((await get('/readyz')).status, 200));
  assert.equal((await get('/nothing')).status, 404);
});

test('metrics and health are for those who call the agent by its own name, and for no page of another site', async (t) => {
  const { address } = await serve(t);
  const ask = (method: string, headers: Record<string, string>, path = '/metrics') =>
    new Promise<{ status: number; body: string }>((resolve, reject) => {
      const [host, port] = address.split(':');
      const request = http.request({ host, port, path, method, headers }, async (answer) => {
        resolve({ status: answer.statusCode ?? 0, body: String(await answer.toArray()) });
      });
      request.on('error', reject).end();
    });
  for (const where of ['/metrics', '/healthz', '/readyz', '/nothing']) {
    const wrong = await ask('GET', { host: 'evil.example.com' }, where);
    assert.equal(wrong.status, 421, where);
    assert.match(wrong.body, /add "evil\.example\.com" to "names" in agent\.json/);
  }
  assert.equal((await ask('GET', { host: address, origin: 'https://evil.example.com' })).status, 421);
  assert.equal((await ask('GET', { host: address, 'sec-fetch-site': 'cross-site' })).status, 421);
  assert.equal((await ask('POST', { host: address })).status, 405);
  for (const host of [address, 'localhost:9465', 'raspberry-pi:9465', 'pi.tail1234.ts.net:9465'])
    assert.equal((await ask('GET', { host })).status, 200, host);
});

test('metrics: series at zero from the start, and no more than 150 of them, however many files there are', async (t) => {
  const { line, get } = await serve(t);
  line.start().assign(...Array.from({ length: 200 }, (_, i) => file(`f${i}`)));
  await line.expect('File/f199', 'True');
  const text = await (await get('/metrics')).text();
  const series = text.split('\n').filter((l) => l !== '' && !l.startsWith('#'));
  assert.ok(series.length <= 150, `${series.length} series`);
  for (const expected of [
    'homeostat_drift_healed_total{kind="File"} 0',
    'homeostat_rollback_total{kind="File"} 0',
    'homeostat_pull_total{result="replayed"} 0',
    'homeostat_resources{ready="true"} 200',
    'homeostat_manifest_sequence{state="desired"} 1',
    'homeostat_manifest_info{commit="commit-1"} 1',
    'homeostat_watch_up{kind="File"} 1',
  ]) {
    assert.ok(series.includes(expected), `${expected} is missing`);
  }
});

test('metrics count as ready what the status calls ready', async (t) => {
  const { line, get, ask } = await serve(t);
  line.start().assign(file('a'), { ...file('b'), suspend: true }, resource('File', 'c', { path: 7 }));
  await line.expect('File/a', 'True');
  await line.expect('File/c', 'False');
  const { status } = (await ask('GET', '/v1/status')) as { status: unknown };
  const { by, total, ready } = tally(AgentStatus.parse(status));
  assert.deepEqual([total, ready, by.Suspended.count, by.Degraded.count], [3, 1, 1, 1]);
  const text = await (await get('/metrics')).text();
  for (const expected of [
    'homeostat_resources{ready="true"} 1',
    'homeostat_resources{ready="false"} 2',
    'homeostat_suspended 1',
    'homeostat_resource_ready{kind="File",name="b"} 0',
  ]) {
    assert.ok(text.includes(`${expected}\n`), `${expected} is missing`);
  }
});

test('the status says of which resources a pass is running', async (t) => {
  const devices = new Devices();
  const line = new Timeline(t, { kinds: devices.kinds });
  const seconds = () => line.agent.status().resources.map((r) => r.passRunningSeconds);
  let during: (number | undefined)[] = [];
  devices.hook = (step) => {
    if (step === 'apply') during = seconds();
  };
  line.start().assign(resource('Device', 'a', { value: 'one' }));
  await line.expect('Device/a', 'True');
  assert.equal(during.length, 1);
  assert.ok(Number(during[0]) >= 0, 'while it runs, it has run for some seconds');
  await eventually(() => assert.deepEqual(seconds(), [undefined]));
});

test('the commit of the past leaves no series behind', async (t) => {
  const { line, get } = await serve(t);
  line.start().assign(file('a'));
  line.assign(file('a', 'y'));
  await line.expectContent('/etc/a', 'y');
  const text = await (await get('/metrics')).text();
  assert.match(text, /manifest_info\{commit="commit-2"\} 1/);
  assert.doesNotMatch(text, /commit-1/);
});

test('the socket: status, reconcile, suspend, resume, plan; for its owner only', async (t) => {
  const { line, socket, ask } = await serve(t);
  assert.equal(fs.statSync(socket).mode & 0o777, 0o600);
  line.start().assign(file('a'));
  await line.expect('File/a', 'True');
  const { status } = (await ask('GET', '/v1/status')) as { status: unknown };
  assert.equal(AgentStatus.parse(status).resources[0]!.key, 'File/a');
  await ask('POST', '/v1/suspend', { key: 'File/a', ttlSeconds: 60, reason: 'a test' });
  await line.expect('File/a', 'Unknown', 'Suspended');
  fs.writeFileSync(line.path('/etc/a'), 'by hand');
  const plan = (await ask('GET', '/v1/plan')) as { key: string; changes: { what: string }[] }[];
  assert.deepEqual(
    plan.map((p) => [p.key, p.changes.map((c) => c.what)]),
    [['File/a', ['content']]],
  );
  await ask('POST', '/v1/resume', { key: 'File/a' });
  await line.expectContent('/etc/a', 'x');
  await assert.rejects(
    ask('POST', '/v1/reconcile', { key: 'File/b' }),
    /there is no File\/b on this host; there is File\/a/,
  );
  await assert.rejects(ask('POST', '/v1/suspend', { nonsense: true }), /nonsense/);
});

test('a second agent on the same socket is refused; a socket left by a kill is taken over', async (t) => {
  const { line, socket } = await serve(t);
  await assert.rejects(startServers(line.agent, '127.0.0.1:0', socket), /another agent is running/);
  const stale = path.join(line.directory, 'stale.sock');
  fs.writeFileSync(stale, '');
  const again = await startServers(line.agent, '127.0.0.1:0', stale);
  await again.stop();
  assert.equal(fs.existsSync(stale), false);
});
