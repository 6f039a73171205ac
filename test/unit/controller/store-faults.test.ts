// What becomes of the store when its file is wrong at the start, or breaks while the controller runs. The disk is
// real; what was there is never written over.
import assert from 'node:assert/strict';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import { Database, StoreMissing, StoreRefused } from '../../../controller/store/database.ts';
import { StateLock, StateLocked } from '../../../controller/store/lock.ts';
import { MIGRATIONS } from '../../../controller/store/migrations.ts';
import { Store } from '../../../controller/store/store.ts';
import { Tokens } from '../../../controller/store/tokens.ts';

const scratch = mkdtempSync(join(tmpdir(), 'homeostat-store-faults-'));
after(() => rmSync(scratch, { recursive: true, force: true }));
let counter = 0;

function place(): string {
  const folder = join(scratch, String(counter++));
  mkdirSync(folder);
  return join(folder, 'store.sqlite');
}

function open(file = place()) {
  const database = new Database(file, 20);
  database.open({ create: true, check: true });
  const store = new Store(database);
  const enroll = (name: string): boolean =>
    store.saveHosts([{ name, publicKey: 'k', nodeID: undefined, enrolledAt: 3 }]);
  const names = (): string[] => store.hosts().map((host) => host.name);
  return { file, database, store, tokens: new Tokens(database), enroll, names };
}

/** A whole one, with one host, closed. */
function written(): string {
  const { file, database, enroll } = open();
  enroll('pi');
  database.close();
  return file;
}

const files = (file: string): Map<string, string> => {
  const folder = join(file, '..');
  const entries = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(entries.map(({ name }) => [name, readFileSync(join(folder, name), 'latin1')]));
};

const WRONG: readonly [name: string, damage: (file: string) => void, says: RegExp][] = [
  ['no database', (f) => writeFileSync(f, 'not a database, and long enough'.repeat(99)), /is damaged/],
  ['emptied', (f) => truncateSync(f, 0), /is empty/],
  ['cut in half', (f) => truncateSync(f, 4096 * 3), /is damaged/],
  ['a page overwritten', (f) => overwrite(f, 4096 * 2), /is damaged/],
  ['a directory', directory, /can't be opened/],
  ['another program’s database', foreign, /not a controller's store/],
  ['gone, and its log left', (f) => renameSync(f, `${f}-wal`), /its log .* is still there/],
];

function overwrite(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes.fill(0x5a, at, at + 4096);
  writeFileSync(file, bytes);
}

function directory(file: string): void {
  rmSync(file);
  mkdirSync(file);
}

function foreign(file: string): void {
  rmSync(file);
  const db = new DatabaseSync(file);
  db.exec('CREATE TABLE cats (name)');
  db.close();
}

for (const [name, damage, says] of WRONG) {
  test(`at the start, a store that is ${name} is refused, and left as it is`, () => {
    const file = written();
    damage(file);
    const before = files(file);
    assert.throws(
      () => open(file),
      (error: Error) => error instanceof StoreRefused && says.test(error.message),
    );
    assert.deepEqual(files(file), before);
  });
}

test('a path that leads through a file is refused, and used once it can be', () => {
  const blocked = join(scratch, 'blocked');
  writeFileSync(blocked, '');
  const file = join(blocked, 'store.sqlite');
  assert.throws(() => open(file), /can't be opened \(.*a part of the path is not a directory/);
  rmSync(blocked);
  assert.equal(open(file).enroll('pi'), true);
});

test('where node’s own recursive mkdir never ends, it is refused at once', { timeout: 20_000 }, () => {
  assert.throws(() => open('/proc/nope/x/store.sqlite'), /can't be opened/);
});

test('nothing is made where none was asked for', () => {
  const file = join(scratch, 'typo', 'store.sqlite');
  assert.throws(() => new Database(file).open({ create: false }), StoreMissing);
  assert.equal(existsSync(join(scratch, 'typo')), false);
});

test('reading leaves no trace, and an old schema old', () => {
  const file = written();
  const before = files(file);
  const database = new Database(file);
  database.open({ create: false, readOnly: true });
  const store = new Store(database);
  assert.equal(store.hosts().length, 1);
  assert.equal(store.saveMeta('a', 'b'), false);
  database.close();
  assert.deepEqual(files(file), before);
  const old = place();
  const db = new DatabaseSync(old);
  db.exec(`${MIGRATIONS[0]}; PRAGMA user_version = 1`);
  db.close();
  const beforehand = files(old);
  const reader = new Database(old);
  reader.open({ create: false, readOnly: true });
  assert.deepEqual([new Store(reader).hosts(), new Tokens(reader).list()], [[], []]);
  reader.close();
  assert.deepEqual(files(old), beforehand);
});

test('a removed file is written again from the open one, with all that is in it', () => {
  for (const suffixes of [[''], ['', '-wal', '-shm'], ['-wal'], ['-wal', '-shm']]) {
    const { file, database, tokens, enroll, names } = open();
    enroll('pi');
    const { id } = tokens.create('enroll', 'mac', 1, 1000);
    for (const suffix of suffixes) rmSync(file + suffix);
    assert.equal(enroll('lost'), false, 'what would be written into a file that is gone is not taken');
    assert.match(database.problem ?? '', /not there any more|was removed/);
    assert.deepEqual(names(), ['pi'], 'what is known can be read');
    assert.equal(database.heal(), 'recovered', suffixes.join());
    assert.equal(database.problem, undefined);
    assert.equal(enroll('mac'), true);
    database.close();
    const again = open(file);
    assert.deepEqual(again.names(), ['mac', 'pi']);
    assert.equal(again.tokens.list()[0]?.id, id, 'tokens are not in memory, and still not lost');
    assert.deepEqual([...files(file).keys()].sort(), [
      'store.sqlite',
      'store.sqlite-shm',
      'store.sqlite-wal',
    ]);
  }
});

test('a copy that was cut off before it got its name is used at the next start, and only where nothing else is', () => {
  const file = written();
  renameSync(file, `${file}.recovered`);
  const { database, names } = open(file);
  assert.deepEqual(names(), ['pi']);
  database.close();
  writeFileSync(`${file}.recovered`, 'old');
  const again = open(file);
  assert.deepEqual(again.names(), ['pi']);
  assert.equal(existsSync(`${file}.recovered`), false);
});

test('a backup that comes into its place is read, and not written over', () => {
  const { file, database, enroll } = open();
  enroll('pi');
  database.close();
  copyFileSync(file, `${file}.backup`);
  const running = open(file);
  running.enroll('late');
  renameSync(`${file}.backup`, file);
  assert.equal(running.enroll('lost'), false);
  assert.match(running.database.problem ?? '', /another file is at/);
  assert.equal(running.database.heal(), 'replaced');
  assert.deepEqual(running.names(), ['pi']);
  assert.equal(running.enroll('new'), true);
  running.database.close();
  assert.deepEqual(open(file).names(), ['new', 'pi']);
});

test('another controller’s store in its place is neither read nor written', () => {
  const other = written();
  const { file, database, enroll, names } = open();
  enroll('mine');
  copyFileSync(other, `${file}.other`);
  renameSync(`${file}.other`, file);
  const before = readFileSync(file, 'latin1');
  assert.equal(database.heal(), undefined);
  assert.match(database.problem ?? '', /another controller's store is at/);
  assert.deepEqual(names(), ['mine']);
  assert.equal(enroll('lost'), false);
  assert.equal(readFileSync(file, 'latin1'), before);
  database.close();
  assert.equal(readFileSync(file, 'latin1'), before, 'not even when it is closed');
});

test('rubbish that comes into its place is reported, and what is known is served', () => {
  const { file, database, enroll, names } = open();
  enroll('pi');
  writeFileSync(`${file}.rubbish`, 'rubbish'.repeat(1000));
  renameSync(`${file}.rubbish`, file);
  assert.equal(database.heal(), undefined);
  assert.match(database.problem ?? '', /is damaged/);
  assert.deepEqual(names(), ['pi']);
  assert.equal(enroll('lost'), false);
  assert.equal(readFileSync(file, 'utf8').startsWith('rubbish'), true);
});

test('a directory that goes away and comes back takes the store with it', () => {
  const { file, database, enroll, names } = open();
  enroll('pi');
  const folder = join(file, '..');
  renameSync(folder, `${folder}-away`);
  assert.equal(database.heal(), undefined);
  assert.match(database.problem ?? '', /is gone, or another one is in its place/);
  assert.equal(existsSync(folder), false, 'and is not made anew');
  mkdirSync(folder);
  assert.equal(database.heal(), undefined, 'as an empty mount point is');
  assert.deepEqual(readdirSync(folder), []);
  assert.deepEqual(names(), ['pi']);
  rmSync(folder, { recursive: true });
  renameSync(`${folder}-away`, folder);
  assert.equal(database.heal(), undefined);
  assert.equal(database.problem, undefined, 'a write was tried, and went well');
  assert.equal(enroll('mac'), true);
});

test('a file that is emptied under it is never written again, whatever is in memory', () => {
  const { file, database, enroll } = open();
  enroll('pi');
  truncateSync(file, 0);
  assert.equal(enroll('lost'), false);
  assert.match(database.problem ?? '', /was emptied.*stop the controller and restore/);
  assert.equal(database.heal(), undefined);
  assert.match(database.problem ?? '', /was emptied/);
});

test('what nobody happens to read or write is looked at, too', () => {
  const emptied = open();
  truncateSync(emptied.file, 0);
  assert.equal(emptied.database.heal(), undefined);
  assert.match(emptied.database.problem ?? '', /was emptied/);
  const replaced = open();
  writeFileSync(`${replaced.file}.log`, 'of another');
  renameSync(`${replaced.file}.log`, `${replaced.file}-wal`);
  assert.equal(replaced.database.heal(), undefined);
  assert.match(replaced.database.problem ?? '', /was removed or replaced/);
});

test('a damaged page is a problem that stays, and no exception', () => {
  const { file, database, store } = open();
  const long = Array.from({ length: 400 }, (_, i) => ({ digest: `d${i}`, text: 'x'.repeat(4000) }));
  store.savePayloads(long);
  database.get('PRAGMA wal_checkpoint(TRUNCATE)');
  database.get('PRAGMA cache_size = 1');
  for (let page = 3; page < 200; page++) overwriteInPlace(file, page * 4096);
  assert.equal(store.payload('d300'), undefined);
  assert.match(database.problem ?? '', /is damaged/);
  assert.equal(store.saveMeta('a', 'b'), false);
  database.heal();
  assert.match(database.problem ?? '', /is damaged/);
});

function overwriteInPlace(file: string, at: number): void {
  const db = readFileSync(file);
  if (at + 4096 > db.length) return;
  db.fill(0x5a, at, at + 4096);
  writeFileSync(file, db);
}

test('a writer beside it is waited for no longer than the loop can bear', () => {
  const { file, database, enroll } = open();
  const other = new DatabaseSync(file);
  other.exec('BEGIN IMMEDIATE');
  assert.equal(database.get('PRAGMA busy_timeout')?.['timeout'], 20);
  assert.equal(enroll('pi'), false);
  assert.equal(database.isBusy, true);
  other.exec('ROLLBACK');
  assert.equal(enroll('pi'), true);
  assert.equal(database.isBusy, false);
  other.close();
});

test('enrolments and tokens outlive a power cut; nothing else waits for the disk', () => {
  const { database, store, tokens } = open();
  const inside: unknown[] = [];
  const run = database.run.bind(database);
  database.run = (sql, ...values) => {
    inside.push(database.get('PRAGMA synchronous')?.['synchronous']);
    return run(sql, ...values);
  };
  const levels = (work: () => void): unknown[] => {
    inside.length = 0;
    work();
    return [...new Set(inside)];
  };
  const host = { name: 'pi', publicKey: 'k', nodeID: undefined, enrolledAt: 1 };
  let token = { id: '', secret: '' };
  assert.deepEqual(
    levels(() => (token = tokens.create('enroll', 'pi', 1, 1000))),
    [2],
    'FULL',
  );
  const redeem = () => tokens.redeem({ ...token, nowMs: 2, publicKey: 'k', current: undefined, host });
  assert.deepEqual(levels(redeem), [2]);
  assert.deepEqual(
    levels(() => tokens.revoke(token.id, 3)),
    [2],
  );
  assert.deepEqual(
    levels(() => store.saveHosts([host])),
    [2],
  );
  assert.deepEqual(
    levels(() => store.forgetHosts(['pi'], 1, 'me', '')),
    [2],
  );
  assert.deepEqual(
    levels(() => store.saveStatuses([{ host: 'pi', receivedAt: 1, text: '' }])),
    [1],
    'NORMAL',
  );
});

test('another process’s write is noticed, and one’s own is not', () => {
  const { file, database, enroll } = open();
  database.isChangedByOthers();
  enroll('pi');
  assert.equal(database.isChangedByOthers(), false);
  const other = open(file);
  other.store.forgetHosts(['pi'], 1, 'me', '');
  assert.equal(database.isChangedByOthers(), true);
  assert.equal(database.isChangedByOthers(), false);
});

test('a state directory has one controller; whoever comes second hears who holds it', () => {
  const folder = join(place(), '..');
  const first = new StateLock(folder, '127.0.0.1:8420', () => 0);
  first.take();
  const second = new StateLock(folder, '127.0.0.1:8421', () => 0);
  assert.throws(
    () => second.take(),
    (error: Error) => {
      assert.ok(error instanceof StateLocked);
      assert.match(
        error.message,
        new RegExp(`process ${process.pid} on .*, told to listen on 127.0.0.1:8420`),
      );
      return true;
    },
  );
  rmSync(join(folder, 'controller.holder'));
  assert.throws(() => second.take(), /another controller uses the state directory .*; stop it first/);
  // Somebody tidies up: whoever was there takes it anew.
  rmSync(join(folder, 'controller.lock'));
  first.keep();
  assert.throws(() => second.take(), StateLocked);
  // And whoever is too late has to go.
  rmSync(join(folder, 'controller.lock'));
  second.take();
  assert.throws(() => first.keep(), StateLocked);
  second.release();
  first.release();
  const third = new StateLock(folder, '', () => 0);
  third.take();
  third.release();
});

test('a whole state that was copied elsewhere starts there', () => {
  const { file, database, enroll } = open();
  enroll('pi');
  const copy = join(place(), '..', 'copy');
  database.close();
  cpSync(join(file, '..'), copy, { recursive: true });
  assert.deepEqual(open(join(copy, 'store.sqlite')).names(), ['pi']);
});
