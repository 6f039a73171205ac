// The file of the store: made whole or not at all, and opened only if it is what it should be. Whoever opens it
// never changes a file that looks wrong: it may be the only copy of who enrolled.
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { errnoOf, inWords } from '../../api/errors.ts';
import { flush, isThere, makeDirectory, putInPlace } from './directory.ts';
import { MIGRATIONS } from './migrations.ts';

/** The store can't be used as it is. Nothing was touched; the message says what would mend it. */
export class StoreRefused extends Error {
  override readonly name: string = 'StoreRefused';
}

/** The store was written by a newer version. */
export class StoreTooNew extends StoreRefused {
  override readonly name = 'StoreTooNew';
}

/** There is none, and none was to be made. */
export class StoreMissing extends StoreRefused {
  override readonly name = 'StoreMissing';
}

export interface OpenOptions {
  /** Makes one where there is none. */
  readonly create: boolean;
  /** How long a lock of another process is waited for; this blocks the event loop. */
  readonly busyMs: number;
  /** The same while it is opened. */
  readonly waitMs: number;
  /** Looks at every page, and not only at those that are read. */
  readonly check?: boolean;
  /** Changes nothing, not even an old schema. */
  readonly readOnly?: boolean;
}

const RESTORE = 'restore the state directory from a backup (docs/runbooks/controller-down.md)';
/** Of sqlite's header; a file below that is no database. */
const MIN_BYTES = 100;
/** Copied from a connection whose file was removed; complete as soon as it has this name. */
const RECOVERED = '.recovered';

/** @throws StoreRefused */
export function openStore(file: string, options: OpenOptions): DatabaseSync {
  try {
    if (isStoreThere(file)) {
      if (!options.readOnly) rmSync(file + RECOVERED, { force: true });
    } else {
      if (existsSync(file + RECOVERED)) putRecovered(file);
      else if (!options.create) throw new StoreMissing(`there is no controller state at ${dirname(file)}`);
      else createStore(file);
    }
    return openExisting(file, options);
  } catch (error) {
    if (error instanceof StoreRefused) throw error;
    const why = inWords(error);
    throw new StoreRefused(
      isDamage(error)
        ? `the store ${file} is damaged (${why}): ${RESTORE}, or move it away and have every host enrol again`
        : `the store ${file} can't be opened (${why}): it is left as it is; see that its disk is mounted, writable for this user and not full, or ${RESTORE}`,
    );
  }
}

/** Device and inode; undefined when there is nothing. */
export function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

/** Whether the file was cut to nothing. */
export function isEmptied(file: string): boolean {
  try {
    return statSync(file).size < MIN_BYTES;
  } catch {
    return false;
  }
}

/** SQLITE_CORRUPT and SQLITE_NOTADB (sqlite.org/rescode.html). */
export function isDamage(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && [11, 26].includes(Number(error.errcode) & 0xff);
}

/** SQLITE_BUSY: another process writes, or holds the lock. */
export function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === 5;
}

/** A whole copy under another name, and the log of what was removed out of its way. */
export function recoverTo(db: DatabaseSync, file: string): void {
  const temporary = temporaryOf(file);
  try {
    db.prepare('VACUUM INTO ?').run(temporary);
    const copy = new DatabaseSync(temporary);
    copy.exec('PRAGMA journal_mode = WAL');
    copy.close();
    flush(temporary);
    renameSync(temporary, file + RECOVERED);
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** What `recoverTo` made gets the name of what is gone. @throws EEXIST when something came there meanwhile. */
export function putRecovered(file: string): void {
  removeLog(file);
  try {
    putInPlace(file + RECOVERED, file);
  } finally {
    rmSync(file + RECOVERED, { force: true });
  }
}

/** Of a file that is gone. */
export function removeLog(file: string): void {
  for (const suffix of ['-wal', '-shm']) rmSync(file + suffix, { force: true });
}

/** The same in every copy of one store. */
export function storeIdOf(db: DatabaseSync): string {
  return String(db.prepare("SELECT value FROM meta WHERE key = 'store-id'").get()?.['value'] ?? '');
}

/** @throws StoreRefused when only a part of it is. */
function isStoreThere(file: string): boolean {
  if (isThere(file)) return true;
  if (existsSync(`${file}-wal`) && !existsSync(file + RECOVERED)) {
    throw new StoreRefused(
      `the store ${file} is gone, and its log ${file}-wal is still there: ${RESTORE}, or remove the log too and have every host enrol again`,
    );
  }
  return false;
}

/** A crash leaves a whole store or none: an empty file is never ours. */
function createStore(file: string): void {
  makeDirectory(dirname(file), 0o700);
  const temporary = temporaryOf(file);
  try {
    const db = new DatabaseSync(temporary);
    try {
      db.exec('PRAGMA journal_mode = WAL');
      migrate(db, 0);
    } finally {
      db.close();
    }
    chmodSync(temporary, 0o600);
    flush(temporary);
    putInPlace(temporary, file);
  } catch (error) {
    // Another process made it at the same moment.
    if (errnoOf(error) !== 'EEXIST') throw error;
  } finally {
    for (const suffix of ['', '-wal', '-shm']) rmSync(temporary + suffix, { force: true });
  }
}

function openExisting(file: string, { busyMs, waitMs, check, readOnly }: OpenOptions): DatabaseSync {
  if (isEmptied(file)) {
    throw new StoreRefused(
      `the store ${file} is empty: ${RESTORE}, or remove it and have every host enrol again`,
    );
  }
  const url = pathToFileURL(file);
  url.searchParams.set('mode', 'rw');
  const db = new DatabaseSync(url);
  try {
    db.exec(`PRAGMA busy_timeout = ${waitMs}`);
    const version = versionOf(db, file);
    if (check) checkPages(db, file);
    if (readOnly) db.exec('PRAGMA query_only = 1');
    else {
      // Says that it can't be written before anybody relies on it.
      db.exec('BEGIN IMMEDIATE; ROLLBACK; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
      migrate(db, version);
    }
    db.exec(`PRAGMA busy_timeout = ${busyMs}`);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function versionOf(db: DatabaseSync, file: string): number {
  const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
  if (version > MIGRATIONS.length) {
    throw new StoreTooNew(
      `${file} was written by a newer homeostat (schema ${version}, this one knows ${MIGRATIONS.length}): run that version, or say another --state`,
    );
  }
  if (version < 1) {
    throw new StoreRefused(
      `${file} is a database, and not a controller's store: say another --state, or ${RESTORE}`,
    );
  }
  return version;
}

function checkPages(db: DatabaseSync, file: string): void {
  const found = String(db.prepare('PRAGMA quick_check(1)').get()?.['quick_check']);
  if (found === 'ok') return;
  throw new StoreRefused(
    `the store ${file} is damaged (${found}): ${RESTORE}, or move it away and have every host enrol again`,
  );
}

function migrate(db: DatabaseSync, from: number): void {
  MIGRATIONS.slice(from).forEach((step, i) => {
    db.exec(`BEGIN IMMEDIATE; ${step}; PRAGMA user_version = ${from + i + 1}; COMMIT;`);
  });
}

function temporaryOf(file: string): string {
  return `${file}.new-${randomBytes(4).toString('hex')}`;
}
