// The one sqlite file of the controller, in transactions. It is opened or refused, never replaced by memory. What
// breaks it while the controller runs does not end the process: reads go on where they can, writes fail, `problem`
// says why, and `heal` gets back to the file as soon as that can be done without a guess.
import { dirname } from 'node:path';
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { inWords } from '../../api/errors.ts';
import {
  identityOf,
  isBusy,
  isDamage,
  isEmptied,
  type OpenOptions,
  openStore,
  putRecovered,
  recoverTo,
  removeLog,
  storeIdOf,
} from './store-file.ts';

export { StoreMissing, StoreRefused, StoreTooNew } from './store-file.ts';

export type Row = Record<string, string | number | null>;

/** What `heal` did: the removed file was written again from the open connection, or another file is read now. */
export type Healed = 'recovered' | 'replaced' | undefined;

/** A command of the CLI waits for as long as anybody would; a controller must not. */
const CLI_BUSY_MS = 5_000;
export const CONTROLLER_BUSY_MS = 20;

const RESTORE = 'stop the controller and restore its state directory (docs/runbooks/controller-down.md)';

export class Database {
  readonly #file: string;
  readonly #busyMs: number;
  #db: DatabaseSync | undefined;
  #statements = new Map<string, StatementSync>();
  /** Of the open file, its log, and the directory. */
  #identity = { file: '', log: '', directory: '' };
  #problem: string | undefined;
  #isBusy = false;
  /** It can't be believed any more; only another file ends that. */
  #damaged: string | undefined;
  #version = -1;
  #id = '';

  constructor(file: string, busyMs = CLI_BUSY_MS) {
    this.#file = file;
    this.#busyMs = busyMs;
  }

  /** @throws StoreRefused, which says what would mend it. */
  open(options: Omit<OpenOptions, 'busyMs' | 'waitMs'>): void {
    this.#use(openStore(this.#file, { ...options, busyMs: this.#busyMs, waitMs: CLI_BUSY_MS }));
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

  /** Whether the last write failed because another process was writing: worth another try at once. */
  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** Gets back to the file, and tries a write when the last one failed. */
  heal(): Healed {
    try {
      const now = identityOf(this.#file);
      if (this.#db === undefined) return this.#takeOver();
      if (now === undefined) return this.#isDirectoryOurs() ? this.#recover() : this.#lost();
      if (now !== this.#identity.file) return this.#takeOver();
      const isMissing = identityOf(`${this.#file}-wal`) === undefined;
      if (this.#damaged === undefined && isMissing) return this.#relog();
    } catch (error) {
      this.#problem = inWords(error);
      return undefined;
    }
    const detached = this.#whyDetached();
    if (detached !== undefined) this.#problem = detached;
    else if (this.#problem !== undefined) this.#probe();
    return undefined;
  }

  /** Whether another process wrote since this was last asked: the CLI works beside the controller. */
  isChangedByOthers(): boolean {
    const version = this.read(() => Number(this.get('PRAGMA data_version')?.['data_version']), this.#version);
    if (version === this.#version) return false;
    this.#version = version;
    return true;
  }

  /** What can't be read is `otherwise`, and a problem of the store. */
  read<T>(work: () => T, otherwise: T): T {
    try {
      return work();
    } catch (error) {
      this.#failed(error, 'read');
      return otherwise;
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
   * @param durable whether it has to outlive a power cut that comes right after.
   */
  transaction<T>(work: () => T, durable = false): T | undefined {
    const db = this.#db;
    if (db === undefined) return undefined;
    this.#isBusy = false;
    const detached = this.#whyDetached();
    if (detached !== undefined) {
      // What `heal` found out says more.
      this.#problem ??= detached;
      return undefined;
    }
    try {
      if (durable) db.exec('PRAGMA synchronous = FULL');
      db.exec('BEGIN IMMEDIATE');
      const result = work();
      db.exec('COMMIT');
      this.#problem = undefined;
      return result;
    } catch (error) {
      try {
        if (db.isTransaction) db.exec('ROLLBACK');
      } catch {
        // The first error says more.
      }
      this.#failed(error, 'written');
      return undefined;
    } finally {
      if (durable && !db.isTransaction) db.exec('PRAGMA synchronous = NORMAL');
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

  #failed(error: unknown, done: 'read' | 'written'): void {
    if (isDamage(error))
      this.#damaged = `the store ${this.#file} is damaged (${inWords(error)}): what is known is served, nothing is written; ${RESTORE}`;
    this.#isBusy = isBusy(error);
    this.#problem = this.#damaged ?? `the store ${this.#file} can't be ${done}: ${inWords(error)}`;
  }

  /** Why what is written now would be lost: the open file is not the one at its path. */
  #whyDetached(): string | undefined {
    if (this.#damaged !== undefined) return this.#damaged;
    const now = identityOf(this.#file);
    if (now === undefined) return `the store ${this.#file} is not there any more`;
    if (now !== this.#identity.file) return `another file is at ${this.#file}`;
    if (isEmptied(this.#file)) {
      this.#damaged = `the store ${this.#file} was emptied: what is known is served, nothing is written; ${RESTORE}`;
      return this.#damaged;
    }
    return this.#isLogGone() ? `the log ${this.#file}-wal was removed or replaced` : undefined;
  }

  #isLogGone(): boolean {
    return (identityOf(`${this.#file}-wal`) ?? '') !== this.#identity.log;
  }

  #isDirectoryOurs(): boolean {
    return identityOf(dirname(this.#file)) === this.#identity.directory;
  }

  #lost(): undefined {
    this.#problem = `the directory of the store ${this.#file} is gone, or another one is in its place: what is known is served, nothing is written; mount it again, or ${RESTORE}`;
  }

  /** Its file was removed; the open connection still has all of it. */
  #recover(): Healed {
    const old = this.#db;
    if (old === undefined) return undefined;
    if (this.#damaged !== undefined) throw new Error(this.#damaged);
    recoverTo(old, this.#file);
    // sqlite sees that the file moved, and leaves alone what is at its path.
    this.close();
    putRecovered(this.#file);
    this.#reopen();
    return 'recovered';
  }

  /** Its log was removed; the open connection still has it, and writes it into the file. */
  #relog(): Healed {
    const done = this.get('PRAGMA wal_checkpoint(TRUNCATE)');
    if (done?.['busy'] !== 0)
      throw new Error(`the log ${this.#file}-wal was removed while another process reads`);
    this.close();
    this.#reopen();
    return 'recovered';
  }

  #reopen(): void {
    this.#use(this.#openAgain());
  }

  /** While requests wait. */
  #openAgain(): DatabaseSync {
    const busyMs = this.#busyMs;
    return openStore(this.#file, { create: false, check: true, busyMs, waitMs: busyMs });
  }

  /** What came in its place is read, and never written over. Only a copy of the same store is meant for sure. */
  #takeOver(): Healed {
    // The log of the file that is gone must not be read as that of the new one.
    if (this.#db !== undefined && !this.#isLogGone()) removeLog(this.#file);
    const db = this.#openAgain();
    const id = storeIdOf(db);
    if (id !== this.#id) {
      db.close();
      throw new Error(
        `another controller's store is at ${this.#file}: what is known is served, nothing is written; start the controller anew if that one is meant, or ${RESTORE}`,
      );
    }
    this.close();
    this.#use(db);
    return 'replaced';
  }

  /** A write that really is one, so that a store that can be written again is known to be. */
  #probe(): void {
    this.transaction(() => this.run("INSERT OR REPLACE INTO meta VALUES ('probe', hex(randomblob(4)))"));
  }

  #use(db: DatabaseSync): void {
    this.#db = db;
    this.#problem = undefined;
    this.#damaged = undefined;
    this.#version = -1;
    // Its log is there once something was read.
    this.#id = storeIdOf(db);
    this.#identity = {
      file: identityOf(this.#file) ?? '',
      log: identityOf(`${this.#file}-wal`) ?? '',
      directory: identityOf(dirname(this.#file)) ?? '',
    };
  }
}
