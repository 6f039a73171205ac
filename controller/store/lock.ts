// One controller for one state directory. The lock is the kernel's (fcntl, by way of sqlite), so it ends with its
// process, kill -9 included, and holds between containers that share the directory.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import * as z from 'zod';
import { inWords } from '../../api/errors.ts';
import { makeDirectory } from './directory.ts';
import { identityOf, isBusy } from './store-file.ts';

const LOCK_FILE = 'controller.lock';
/** Beside it, since a file that is locked can't be read by others. Only for the sentence; it decides nothing. */
const HOLDER_FILE = 'controller.holder';

const Holder = z.object({ pid: z.number(), machine: z.string(), since: z.string(), listen: z.string() });

export class StateLocked extends Error {
  override readonly name = 'StateLocked';
}

export class StateLock {
  readonly #stateDir: string;
  readonly #listen: string;
  readonly #nowMs: () => number;
  #lock: DatabaseSync | undefined;
  #identity: string | undefined;

  constructor(stateDir: string, listen: string, nowMs: () => number) {
    this.#stateDir = stateDir;
    this.#listen = listen;
    this.#nowMs = nowMs;
  }

  /** @throws StateLocked, with who holds it; Error in words when it can't be taken at all. */
  take(): void {
    const file = join(this.#stateDir, LOCK_FILE);
    let lock: DatabaseSync | undefined;
    try {
      makeDirectory(this.#stateDir, 0o700);
      lock = new DatabaseSync(file);
      lock.exec('PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE');
    } catch (error) {
      lock?.close();
      if (isBusy(error)) throw new StateLocked(this.#heldBy());
      throw new Error(
        `the state directory ${this.#stateDir} can't be locked (${inWords(error)}): is it there, writable for this user, and is its disk not full?`,
      );
    }
    this.#lock?.close();
    this.#lock = lock;
    this.#identity = identityOf(file);
    this.#sayWho();
  }

  /** Takes it anew when its file was removed. @throws StateLocked when another controller was faster. */
  keep(): void {
    if (this.#lock === undefined || identityOf(join(this.#stateDir, LOCK_FILE)) === this.#identity) return;
    // A directory that is away comes back; to make it anew is not ours.
    if (identityOf(this.#stateDir) === undefined) return;
    try {
      this.take();
    } catch (error) {
      if (error instanceof StateLocked) throw error;
      // A full disk, say: the store's own problem is reported, and this is tried again.
    }
  }

  release(): void {
    if (this.#lock === undefined) return;
    this.#lock.close();
    this.#lock = undefined;
    rmSync(join(this.#stateDir, HOLDER_FILE), { force: true });
  }

  #sayWho(): void {
    const since = new Date(this.#nowMs()).toISOString();
    const holder = { pid: process.pid, machine: hostname(), since, listen: this.#listen };
    try {
      writeFileSync(join(this.#stateDir, HOLDER_FILE), `${JSON.stringify(holder)}\n`, { mode: 0o600 });
    } catch {
      // The lock holds without it.
    }
  }

  #heldBy(): string {
    const what = `another controller uses the state directory ${this.#stateDir}`;
    const remedy = 'stop it first, or give this one another --state';
    try {
      const text = readFileSync(join(this.#stateDir, HOLDER_FILE), 'utf8');
      const { pid, machine, since, listen } = Holder.parse(JSON.parse(text));
      return `${what}: process ${pid} on ${machine}, started ${since}, told to listen on ${listen}; ${remedy}`;
    } catch {
      return `${what}; ${remedy}`;
    }
  }
}
