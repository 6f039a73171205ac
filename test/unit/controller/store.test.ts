// The store: what is remembered over a restart, and what happens when the disk does not do its part.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import { privateKeyOf } from '../../../api/bundle.ts';
import { Fleet } from '../../../controller/fleet/fleet.ts';
import { addKey, newSeed, promoteKey, readKeys } from '../../../controller/fleet/keys.ts';
import { compile } from '../../../controller/pipeline/compile.ts';
import { Database, StoreTooNew } from '../../../controller/store/database.ts';
import { MIGRATIONS } from '../../../controller/store/migrations.ts';
import { Store } from '../../../controller/store/store.ts';
import { Tokens } from '../../../controller/store/tokens.ts';
import { memorySnapshot, testKinds } from './support.ts';

const scratch = mkdtempSync(join(tmpdir(), 'homeostat-store-'));
after(() => rmSync(scratch, { recursive: true, force: true }));
let counter = 0;

function open(file = join(scratch, `${counter++}.sqlite`)) {
  const database = new Database(file);
  database.open({ create: true });
  return { file, database, store: new Store(database), tokens: new Tokens(database) };
}

const assignment = {
  host: 'pi',
  sequence: 7,
  commit: 'c',
  payloadDigest: 'd',
  issuedAt: 'now',
  document: '{}',
};

test('everything comes back after a restart', () => {
  const { file, database, store } = open();
  assert.equal(store.saveAssignments([assignment], { sequence: '7' }), true);
  assert.deepEqual(store.missingPayloads(), [{ host: 'pi', digest: 'd' }]);
  store.savePayloads([{ digest: 'd', text: 'payload' }]);
  assert.deepEqual(store.missingPayloads(), []);
  const host = { name: 'pi', publicKey: 'k', nodeID: 'n', enrolledAt: 3 };
  const next = { publicKey: 'k2', nodeID: undefined };
  store.saveHosts([{ ...host, next }]);
  store.saveStatuses([{ host: 'pi', receivedAt: 4, text: '{}' }]);
  store.audit({ at: 1, who: 'me', action: 'a', subject: 's', detail: '' });
  database.close();
  const again = open(file).store;
  assert.deepEqual(again.assignments(), [assignment]);
  assert.equal(again.payload('d'), 'payload');
  assert.equal(again.meta('sequence'), '7');
  assert.deepEqual(again.hosts(), [{ ...host, next }]);
  assert.equal(again.status('pi')?.receivedAt, 4);
  assert.equal(again.auditLog(5).length, 1);
});

test('payloads that nobody runs are dropped', () => {
  const { store } = open();
  const other = { ...assignment, host: 'b', payloadDigest: 'e' };
  store.saveAssignments([assignment, other], {});
  store.savePayloads([
    { digest: 'd', text: 'one' },
    { digest: 'e', text: 'two' },
  ]);
  store.saveAssignments([other], {});
  store.dropPayloads();
  assert.equal(store.payload('d'), undefined);
  assert.equal(store.payload('e'), 'two');
});

test('a write that fails half-way leaves what was there, and says why', () => {
  const { database, store } = open();
  store.saveAssignments([assignment], { sequence: '7' });
  const written = database.transaction(() => {
    database.run('DELETE FROM assignments');
    throw new Error('no space is left');
  });
  assert.equal(written, undefined);
  assert.match(store.problem ?? '', /can't be written: no space is left/);
  assert.deepEqual(store.assignments(), [assignment]);
  assert.equal(store.saveAssignments([assignment], { sequence: '9' }), true);
  assert.equal(store.problem, undefined);
});

test('every schema there ever was is brought to the newest; a newer one is left alone', () => {
  for (let version = 1; version <= MIGRATIONS.length; version++) {
    const file = join(scratch, `v${version}.sqlite`);
    const old = new DatabaseSync(file);
    for (const step of MIGRATIONS.slice(0, version)) old.exec(step);
    old.exec(`PRAGMA user_version = ${version}`);
    old.exec("INSERT INTO hosts (name, public_key, node_id, enrolled_at) VALUES ('pi', 'k', NULL, 3)");
    old.close();
    assert.deepEqual(open(file).store.hosts(), [
      { name: 'pi', publicKey: 'k', nodeID: undefined, enrolledAt: 3, next: undefined },
    ]);
  }
  const file = join(scratch, 'newer.sqlite');
  const newer = new DatabaseSync(file);
  newer.exec(`PRAGMA user_version = ${MIGRATIONS.length + 1}`);
  newer.close();
  assert.throws(() => open(file), StoreTooNew);
});

function redemption(token: { id: string; secret: string }, name: string, nowMs: number, publicKey = 'k') {
  const host = { name, publicKey, nodeID: undefined, enrolledAt: nowMs };
  return { ...token, nowMs, publicKey, host, current: undefined };
}

test('a token works once, for its host, in its time', () => {
  const { tokens, store } = open();
  const token = tokens.create('enroll', 'pi', 1_000, 500);
  const { id, secret } = token;
  const redeem = (host: string, at: number, over = {}) =>
    tokens.redeem(redemption({ ...token, ...over }, host, at));
  assert.equal(redeem('pi', 1_001, { secret: 'x'.repeat(32) }), 'TokenUnknown');
  assert.equal(redeem('pi', 1_001, { id: 'ffffffff' }), 'TokenUnknown');
  assert.equal(redeem('mac', 1_001), 'TokenForOtherHost');
  assert.equal(redeem('pi', 1_500), 'TokenExpired');
  assert.deepEqual(store.hosts(), []);
  assert.equal(redeem('pi', 1_499), 'ok');
  assert.equal(store.hosts()[0]?.publicKey, 'k', 'in one step with the token');
  assert.equal(redeem('pi', 1_499), 'TokenUsed', 'the host is not recorded with that key');
  const revoked = tokens.create('enroll', 'pi', 1_000, 500);
  assert.equal(tokens.revoke(revoked.id, 1_001), true);
  assert.equal(tokens.redeem(redemption(revoked, 'pi', 1_001)), 'TokenRevoked');
  const operator = tokens.create('operator', 'me', 1_000, 500);
  assert.equal(tokens.redeem(redemption(operator, 'me', 1_001)), 'TokenUnknown', 'it enrols nobody');
  assert.equal(tokens.operator(operator.id, operator.secret, 1_001), 'me');
  assert.equal(tokens.operator(operator.id, operator.secret, 1_500), undefined);
  assert.equal(tokens.operator(id, secret, 1_001), undefined, 'a host is no operator');
  assert.equal(JSON.stringify(tokens.list()).includes(secret), false);
});

test('the same token with the same key is answered again, for as long as the key is the host’s', () => {
  const { tokens, store } = open();
  const token = tokens.create('enroll', 'pi', 1_000, 500);
  const first = redemption(token, 'pi', 1_100);
  assert.equal(tokens.redeem(first), 'ok');
  const current = store.hosts()[0];
  assert.equal(tokens.redeem({ ...first, current, nowMs: 9_000 }), 'again', 'late, too');
  assert.equal(tokens.redeem({ ...redemption(token, 'pi', 1_100, 'other'), current }), 'TokenUsed');
  store.forgetHosts(['pi'], 1_200, 'me', '');
  assert.equal(tokens.redeem({ ...first, current: undefined }), 'TokenUsed', 'a revoked key stays revoked');
});

test('what a full disk kept from being written is written once there is room', async () => {
  const { database, store } = open();
  const clock = {
    now: () => 5,
    monotonic: () => 5,
    setTimeout: () => ({ cancel: () => {} }),
    sleep: async () => {},
  };
  const signingKey = privateKeyOf(newSeed());
  const fleet = new Fleet({ store, signingKey, clock });
  const publish = async (name: string) => {
    const text = `apiVersion: homeostat.dev/v1\nkind: Host\nmetadata: {name: ${name}, annotations: {long: ${'x'.repeat(name.length * 90_000)}}}\nspec: {}\n`;
    const compilation = await compile(memorySnapshot({ 'h.yaml': text }, name), testKinds);
    return fleet.compiled({ commit: name, subject: '', author: '', at: '' }, compilation);
  };
  assert.equal((await publish('a'))?.stored, true);
  database.get('PRAGMA max_page_count = 1'); // as many as there are: sqlite says SQLITE_FULL from here on
  assert.equal((await publish('bb'))?.stored, false);
  assert.ok(fleet.assignments.get('bb'), 'it is served all the same');
  fleet.save();
  assert.match(store.problem ?? '', /full/);
  database.get('PRAGMA max_page_count = 100000');
  while (fleet.save());
  assert.equal(store.problem, undefined);
  assert.deepEqual(
    store.assignments().map((a) => a.host),
    ['bb'],
  );
  assert.ok(store.payload(store.assignments()[0]!.payloadDigest));
});

test('a signing key is changed in two steps', () => {
  const file = join(scratch, 'controller.key');
  const first = addKey(file);
  assert.throws(() => promoteKey(file), /holds no other key/);
  const both = addKey(file);
  assert.deepEqual([both.keyId, both.trusted.length], [first.keyId, 2]);
  const after = promoteKey(file);
  assert.deepEqual(after.trusted, [both.trusted[1], both.trusted[0]]);
  assert.deepEqual(readKeys(file)?.keyId, after.keyId);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  writeFileSync(file, 'nonsense\n');
  assert.throws(() => readKeys(file), /is not a file of signing keys/);
});
