// The commands that work on a controller's state directory, and `homeostat enroll`, as people call them: what is not
// there is not made, what is lost is not replaced, and a token is used up only for what can be kept.
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { privateKeyOf, rawPublicKey } from '../../api/bundle.ts';
import { readKeys } from '../../controller/fleet/keys.ts';
import { Database } from '../../controller/store/database.ts';
import { Store } from '../../controller/store/store.ts';
import { Tokens } from '../../controller/store/tokens.ts';
import { homeostatIn } from '../support/homeostat.ts';
import { bundleOf, closeControllers, controller, MANIFESTS } from './controller-app.ts';

const scratch = mkdtempSync(join(tmpdir(), 'homeostat-state-'));
const homeostat = homeostatIn(scratch);
const closing: (() => void)[] = [];
after(async () => {
  for (const close of closing) close();
  await closeControllers();
  rmSync(scratch, { recursive: true, force: true });
});

function open(state: string) {
  const database = new Database(join(state, 'controller.sqlite'));
  database.open({ create: true });
  closing.push(() => database.close());
  return { database, store: new Store(database), tokens: new Tokens(database) };
}

test('a state that is not there is said to be so, and not made', async () => {
  const typo = join(scratch, 'typo');
  for (const command of ['token list', 'token revoke 12345678', 'forget host pi', 'keygen --lost']) {
    const { status, stderr } = await homeostat([...command.split(' '), '--state', typo]);
    assert.equal(status, 1, command);
    assert.equal(stderr, `homeostat: there is no controller state at ${typo}\n`, command);
    assert.equal(existsSync(typo), false, command);
  }
  const { status, stderr } = await homeostat(['token', 'create', '--host', 'pi', '--state', typo]);
  assert.equal(status, 0);
  assert.match(stderr, /made a new controller state in .*typo/, 'so that a typing error is seen');
});

test('token list changes nothing in a directory where no controller runs', async () => {
  const state = join(scratch, 'quiet');
  await homeostat(['token', 'create', '--host', 'pi', '--state', state]);
  const before = readdirSync(state).map((name) => [name, statSync(join(state, name)).mtimeMs]);
  const { status, stdout } = await homeostat(['token', 'list', '--state', state]);
  assert.deepEqual([status, /enroll pi +good/.test(stdout)], [0, true]);
  assert.deepEqual(
    readdirSync(state).map((name) => [name, statSync(join(state, name)).mtimeMs]),
    before,
  );
});

test('a key that hosts trust is not replaced, except in words', async () => {
  const state = join(scratch, 'lost');
  const keyFile = join(state, 'controller.key');
  await homeostat(['token', 'create', '--host', 'pi', '--state', state]);
  const first = readKeys(keyFile)!;
  const { store, database } = open(state);
  store.saveHosts([{ name: 'pi', publicKey: 'k', nodeID: undefined, enrolledAt: 1 }]);
  rmSync(keyFile);
  const gone = /is gone, and 1 host trust it: restore it from a backup .*keygen --lost makes a new one/;
  for (const command of [
    'keygen',
    'token create --host mac',
    'controller --repo /nowhere --listen 127.0.0.1:0',
  ]) {
    const { status, stderr } = await homeostat([...command.split(' '), '--state', state]);
    assert.deepEqual([status, gone.test(stderr)], [1, true], `${command}: ${stderr}`);
    assert.equal(existsSync(keyFile), false, command);
  }
  const { status, stdout, stderr } = await homeostat(['keygen', '--lost', '--state', state]);
  assert.equal(status, 0, stderr);
  assert.match(stderr, /every host must enrol again/);
  const second = readKeys(keyFile)!;
  assert.match(stdout, new RegExp(second.fingerprint));
  assert.equal(store.auditLog(1)[0]?.action, 'key-lost');
  assert.equal((await homeostat(['token', 'create', '--host', 'pi', '--state', state])).status, 0);
  const again = await homeostat(['keygen', '--lost', '--state', state]);
  assert.match(again.stderr, /is the one that hosts trust: it is not lost/);
  // The wrong one out of a backup.
  writeFileSync(keyFile, 'A'.repeat(43) + '=\n');
  const wrong = await homeostat(['token', 'create', '--host', 'pi', '--state', state]);
  assert.match(wrong.stderr, new RegExp(`is not the one that 1 host trust \\(${second.keyId}\\)`));
  assert.notEqual(first.keyId, second.keyId);
  database.close();
});

test('a key is changed in two steps as before, whether a controller ran in between or not', async () => {
  const state = join(scratch, 'steps');
  await homeostat(['token', 'create', '--host', 'pi', '--state', state]);
  open(state).store.saveHosts([{ name: 'pi', publicKey: 'k', nodeID: undefined, enrolledAt: 1 }]);
  for (const step of ['--next', '--promote']) {
    const { status, stderr } = await homeostat(['keygen', step, '--state', state]);
    assert.equal(status, 0, stderr);
  }
  assert.equal((await homeostat(['token', 'create', '--host', 'pi', '--state', state])).status, 0);
});

test('forget host revokes key, status and unused tokens, and says what it can’t do', async () => {
  const state = join(scratch, 'forget');
  const { store, tokens } = open(state);
  const host = (name: string) => ({ name, publicKey: 'k', nodeID: undefined, enrolledAt: 1 });
  store.saveHosts(['gone', 'pinned', 'here'].map(host));
  store.saveStatuses([{ host: 'gone', receivedAt: 1, text: '{}' }]);
  const { id } = tokens.create('enroll', 'gone', Date.now(), 3600_000);
  const assigned = (name: string, spec: object) => ({
    host: name,
    sequence: 1,
    commit: 'c',
    payloadDigest: 'd',
    issuedAt: '',
    document: JSON.stringify({ apiVersion: 'homeostat.dev/v1', kind: 'Host', metadata: { name }, spec }),
  });
  const publicKey = `${'A'.repeat(43)}=`;
  store.saveAssignments([assigned('pinned', { publicKey }), assigned('here', {})], {});
  const forget = (name: string) => homeostat(['forget', 'host', name, '--state', state]);
  assert.match((await forget('gone')).stdout, /forgot gone: its key, its status and its unused tokens/);
  assert.equal(tokens.list().find((token) => token.id === id)?.revokedAt === undefined, false);
  assert.deepEqual([...(store.statusHosts() ?? [])], []);
  assert.match(store.auditLog(1)[0]?.who ?? '', /^cli:./);
  const here = await forget('here');
  assert.deepEqual([here.status, /git has Host\/here still/.test(here.stdout)], [0, true]);
  const pinned = await forget('pinned');
  assert.deepEqual([pinned.status, /remove spec.publicKey of Host\/pinned/.test(pinned.stderr)], [1, true]);
  const unknown = await forget('nobody');
  assert.deepEqual([unknown.status, /nothing is known of a host nobody/.test(unknown.stderr)], [1, true]);
  assert.deepEqual(
    store.hosts().map(({ name }) => name),
    ['pinned'],
  );
});

/** A controller that can be reached, and a way to it that loses answers while it is told to. */
async function reachable() {
  const c = await controller();
  await c.publish(MANIFESTS);
  const url = await c.app.listen({ host: '127.0.0.1', port: 0 });
  const way = { loses: false };
  const proxy = http.createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const headers = Object.fromEntries(
      Object.entries(request.headers).filter(([name]) => name !== 'connection'),
    );
    const inner = http.request(url + request.url, { method: request.method ?? 'GET', headers }, (answer) => {
      if (way.loses && answer.statusCode === 200)
        return void response.socket?.destroy(answer.resume() && undefined);
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    inner.end(Buffer.concat(chunks));
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    proxy.close();
    proxy.closeAllConnections();
  });
  const port = (proxy.address() as AddressInfo).port;
  const token = (host: string): string => {
    const { id, secret } = c.tokens.create('enroll', host, c.clock.now(), 3600_000);
    return `hs1_${id}.${secret}.${c.keys.fingerprint}`;
  };
  return { c, way, url: `http://127.0.0.1:${port}`, token };
}

test('an enrolment whose answer is lost is repeated with the same token, and one that is refused leaves nothing', {
  timeout: 240_000,
}, async () => {
  const { c, way, url, token } = await reachable();
  const folder = join(scratch, 'agent');
  const config = join(folder, 'etc', 'agent.json');
  const state = join(folder, 'state');
  const enroll = (with_: string) =>
    homeostat([
      'enroll',
      '--controller',
      url,
      '--token',
      with_,
      '--host',
      'pi',
      '--config',
      config,
      '--state',
      state,
    ]);
  const refused = await enroll(token('mac'));
  assert.deepEqual([refused.status, /the token is for another host/.test(refused.stderr)], [1, true]);
  assert.equal(existsSync(folder), false);
  const mine = token('pi');
  way.loses = true;
  const lost = await enroll(mine);
  assert.deepEqual(
    [lost.status, /can be repeated with the same token/.test(lost.stderr)],
    [1, true],
    lost.stderr,
  );
  assert.equal(existsSync(config), false);
  assert.equal(c.store.hosts().length, 1, 'it was enrolled all the same');
  way.loses = false;
  // Whatever else goes wrong meanwhile: the key that may be enrolled is kept.
  assert.equal((await enroll(token('mac'))).status, 1);
  mkdirSync(config, { recursive: true });
  assert.equal((await enroll(mine)).status, 1);
  rmdirSync(config);
  const again = await enroll(mine);
  assert.equal(again.status, 0, again.stderr);
  assert.deepEqual(readdirSync(state), ['agent.key']);
  assert.equal(statSync(join(state, 'agent.key')).mode & 0o777, 0o600);
  // What this host has seen goes along, so that a controller which lost its store goes on above it.
  const seen = c.fleet.assignments.get('pi')!.sequence + 5000;
  writeFileSync(join(state, 'highest-sequence'), String(seen));
  const third = await enroll(token('pi'));
  assert.equal(third.status, 0, third.stderr);
  assert.ok(c.fleet.assignments.get('pi')!.sequence > seen);
  const seed = readFileSync(join(state, 'agent.key'), 'utf8').trim();
  const privateKey = privateKeyOf(seed);
  const agent = { host: 'pi', privateKey, publicKey: rawPublicKey(privateKey) };
  assert.equal((await bundleOf(agent, c)).statusCode, 200);
});

test('what can’t be written is said before the token is used', { timeout: 240_000 }, async () => {
  const { c, url, token } = await reachable();
  const mine = token('pi');
  const good = join(scratch, 'good');
  writeFileSync(join(scratch, 'a-file'), '');
  mkdirSync(join(scratch, 'a-directory'));
  const places: [config: string, state: string][] = [
    ['/proc/nope/x/agent.json', good],
    [join(good, 'agent.json'), '/proc/nope/x'],
    [join(scratch, 'a-file', 'agent.json'), good],
    [join(good, 'agent.json'), join(scratch, 'a-file', 'state')],
  ];
  for (const [config, state] of places) {
    const args = ['enroll', '--controller', url, '--token', mine, '--host', 'pi', '--config', config];
    const { status, stderr } = await homeostat([...args, '--state', state]);
    assert.equal(status, 1);
    assert.match(
      stderr,
      /can't be written, and the token was not used: |Nothing can be made in|nothing can be below it/,
      stderr,
    );
    assert.equal(existsSync(good), false, `${config} ${state}`);
  }
  assert.deepEqual(c.store.hosts(), []);
});
