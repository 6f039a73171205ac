// The one sqlite file of the controller: opened, migrated, written in transactions. A disk that is full, a file
// that is gone or damaged must not end the process: writes then go to memory, `problem` says why in words, and
// `heal` tries to get back to the file.
import { mkdirSync, renameSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { inWords } from '../../api/errors.ts';
import { MIGRATIONS } from './migrations.ts';

export type Row = Record<string, string | number | null>;

/** The store is there and was written by a newer version. Nothing is touched. */
export class StoreTooNew extends Error {
  override readonly name = 'StoreTooNew';
}

export class Database {
  readonly #file: string;
  readonly #nowMs: () => number;
  #db: DatabaseSync | undefined;
  #statements = new Map<string, StatementSync>();
  /** Inode of the open file; undefined while only memory is written. */
  #inode: number | undefined;
  #problem: string | undefined;

  constructor(file: string, nowMs: () => number) {
    this.#file = file;
    this.#nowMs = nowMs;
  }

  /** @throws StoreTooNew */
  open(): void {
    try {
      this.#use(this.#openFile());
    } catch (error) {
      if (error instanceof StoreTooNew) throw error;
      this.#problem = `the store ${this.#file} can't be opened, and nothing outlives a restart: ${inWords(error)}`;
      this.#useMemory();
    }
  }

  close(): void {
    this.#statements.clear();
    this.#db?.close();
    this.#db = undefined;
  }

  /** What keeps writes from lasting, in words. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /**
   * Gets back to the file when it was lost, damaged or could not be written.
   * @returns whether a new, empty file is in use, so that everything must be written again.
   */
  heal(): boolean {
    if (this.#inode !== undefined && this.#inode === inodeOf(this.#file)) return false;
    try {
      const db = this.#openFile();
      this.close();
      this.#use(db);
      return true;
    } catch (error) {
      this.#problem = `the store ${this.#file} can't be written, and nothing outlives a restart: ${inWords(error)}`;
      return false;
    }
  }

  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#prepare(sql).all(...values) as Row[];
  }

  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#prepare(sql).get(...values) as Row | undefined;
  }

  /** @returns how many rows changed. @throws sqlite's error; inside `transaction` only. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#prepare(sql).run(...values).changes);
  }

  /**
   * All or nothing. @returns what `work` returned, or undefined when it could not be written: `problem` has why.
   */
  transaction<T>(work: () => T): T | undefined {
    const db = this.#db;
    if (db === undefined) return undefined;
    try {
      db.exec('BEGIN IMMEDIATE');
      const result = work();
      db.exec('COMMIT');
      if (this.#inode !== undefined) this.#problem = undefined;
      return result;
    } catch (error) {
      try {
        if (db.isTransaction) db.exec('ROLLBACK');
      } catch {
        // The first error says more.
      }
      this.#problem = `the store ${this.#file} can't be written: ${inWords(error)}`;
      return undefined;
    }
  }

  #prepare(sql: string): StatementSync {
    if (this.#db === undefined) throw new Error('the store is not open');
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #openFile(): DatabaseSync {
    mkdirSync(dirname(this.#file), { recursive: true, mode: 0o700 });
    try {
      return openAndMigrate(this.#file);
    } catch (error) {
      if (!isDamage(error)) throw error;
      // The agents' sequences and git have what matters; the damaged file is kept for whoever wants to look.
      renameSync(this.#file, `${this.#file}.damaged-${this.#nowMs()}`);
      for (const suffix of ['-wal', '-shm']) {
        try {
          renameSync(this.#file + suffix, `${this.#file}.damaged-${this.#nowMs()}${suffix}`);
        } catch {
          // It was not there.
        }
      }
      return openAndMigrate(this.#file);
    }
  }

  #use(db: DatabaseSync): void {
    this.#db = db;
    this.#inode = inodeOf(this.#file);
    this.#problem = undefined;
  }

  #useMemory(): void {
    this.#db = openAndMigrate(':memory:');
    this.#inode = undefined;
  }
}

function openAndMigrate(file: string): DatabaseSync {
  const db = new DatabaseSync(file);
  try {
    // The CLI writes tokens into the same file.
    db.exec('PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;');
    const { user_version: version } = db.prepare('PRAGMA user_version').get() as { user_version: number };
    if (version > MIGRATIONS.length) {
      throw new StoreTooNew(
        `${file} was written by a newer homeostat (schema ${version}, this one knows ${MIGRATIONS.length}): run that version, or say another --state`,
      );
    }
    MIGRATIONS.slice(version).forEach((step, i) => {
      db.exec(`BEGIN IMMEDIATE; ${step}; PRAGMA user_version = ${version + i + 1}; COMMIT;`);
    });
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** SQLITE_CORRUPT and SQLITE_NOTADB (sqlite.org/rescode.html). */
function isDamage(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && [11, 26].includes(Number(error.errcode) & 0xff);
}

function inodeOf(file: string): number | undefined {
  try {
    return statSync(file).ino;
  } catch {
    return undefined;
  }
}
