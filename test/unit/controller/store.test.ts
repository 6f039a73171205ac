// The store: what is remembered over a restart, and what happens when the disk does not do its part.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
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
  const database = new Database(file, () => 5);
  database.open();
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
  store.saveHosts([{ name: 'pi', publicKey: 'k', nodeID: undefined, enrolledAt: 3 }]);
  store.saveStatuses([{ host: 'pi', receivedAt: 4, text: '{}' }]);
  store.audit({ at: 1, who: 'me', action: 'a', subject: 's', detail: '' });
  database.close();
  const again = open(file).store;
  assert.deepEqual(again.assignments(), [assignment]);
  assert.equal(again.payload('d'), 'payload');
  assert.equal(again.meta('sequence'), '7');
  assert.deepEqual(again.hosts(), [{ name: 'pi', publicKey: 'k', nodeID: undefined, enrolledAt: 3 }]);
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
  for (let version = 0; version <= MIGRATIONS.length; version++) {
    const file = join(scratch, `v${version}.sqlite`);
    const old = new DatabaseSync(file);
    for (const step of MIGRATIONS.slice(0, version)) old.exec(step);
    old.exec(`PRAGMA user_version = ${version}`);
    old.close();
    assert.deepEqual(open(file).store.assignments(), []);
  }
  const file = join(scratch, 'newer.sqlite');
  const newer = new DatabaseSync(file);
  newer.exec(`PRAGMA user_version = ${MIGRATIONS.length + 1}`);
  newer.close();
  assert.throws(() => open(file), StoreTooNew);
});

test('a damaged file is put aside, an unusable path is written to memory, a lost file is made anew', () => {
  const damaged = join(scratch, 'damaged.sqlite');
  writeFileSync(damaged, 'this is not a database, and it is long enough to be looked at'.repeat(100));
  const { store } = open(damaged);
  assert.equal(store.saveAssignments([assignment], {}), true);
  assert.ok(readdirSync(scratch).some((name) => name.startsWith('damaged.sqlite.damaged-')));

  writeFileSync(join(scratch, 'a-file'), '');
  const nowhere = open(join(scratch, 'a-file', 'store.sqlite'));
  assert.match(nowhere.store.problem ?? '', /can't be opened, and nothing outlives a restart/);
  assert.equal(nowhere.store.saveAssignments([assignment], {}), true, 'it goes on in memory');
  assert.match(nowhere.store.problem ?? '', /can't be opened/);
  assert.equal(nowhere.database.heal(), false);
  rmSync(join(scratch, 'a-file'));
  assert.equal(nowhere.database.heal(), true, 'and back on disk as soon as that is possible');
  assert.equal(nowhere.store.problem, undefined);

  const lost = open();
  lost.store.saveAssignments([assignment], {});
  rmSync(lost.file);
  assert.equal(lost.database.heal(), true);
  assert.deepEqual(lost.store.assignments(), [], 'empty: its owner writes it again');
  assert.equal(lost.database.heal(), false);
});

test('a token works once, for its host, in its time', () => {
  const { tokens } = open();
  const { id, secret } = tokens.create('enroll', 'pi', 1_000, 500);
  assert.equal(tokens.redeem(id, 'x'.repeat(32), 'pi', 1_001), 'TokenUnknown');
  assert.equal(tokens.redeem('ffffffff', secret, 'pi', 1_001), 'TokenUnknown');
  assert.equal(tokens.redeem(id, secret, 'mac', 1_001), 'TokenForOtherHost');
  assert.equal(tokens.redeem(id, secret, 'pi', 1_500), 'TokenExpired');
  assert.equal(tokens.redeem(id, secret, 'pi', 1_499), 'ok');
  assert.equal(tokens.redeem(id, secret, 'pi', 1_499), 'TokenUsed');
  const revoked = tokens.create('enroll', 'pi', 1_000, 500);
  assert.equal(tokens.revoke(revoked.id, 1_001), true);
  assert.equal(tokens.redeem(revoked.id, revoked.secret, 'pi', 1_001), 'TokenRevoked');
  const operator = tokens.create('operator', 'me', 1_000, 500);
  assert.equal(tokens.redeem(operator.id, operator.secret, 'me', 1_001), 'TokenUnknown', 'it enrols nobody');
  assert.equal(tokens.operator(operator.id, operator.secret, 1_001), 'me');
  assert.equal(tokens.operator(operator.id, operator.secret, 1_500), undefined);
  assert.equal(tokens.operator(id, secret, 1_001), undefined, 'a host is no operator');
  assert.equal(JSON.stringify(tokens.list()).includes(secret), false);
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
  fleet.save(false);
  assert.match(store.problem ?? '', /full/);
  database.get('PRAGMA max_page_count = 100000');
  while (fleet.save(false));
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
