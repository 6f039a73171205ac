// Tokens: one-time ones with which a host enrols, and bearer tokens of operators. What is printed once carries
// the fingerprint of the controller's key, so that the new agent knows whom it talks to.
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { sha256 } from '../../api/json.ts';
import type { Database, Row } from './database.ts';
import { type EnrolledHost, putHost } from './store.ts';

export interface Token {
  readonly id: string;
  readonly purpose: 'enroll' | 'operator';
  /** The host's name, or the operator's. */
  readonly subject: string;
  /** Unix milliseconds. */
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly usedAt: number | undefined;
  readonly revokedAt: number | undefined;
}

type TokenRefusal = 'TokenUnknown' | 'TokenUsed' | 'TokenExpired' | 'TokenRevoked' | 'TokenForOtherHost';

/** `again`: the same token with the same key, which was accepted before. */
export type Redeemed = 'ok' | 'again' | TokenRefusal | 'StoreUnavailable';

export interface Redemption {
  readonly id: string;
  readonly secret: string;
  readonly nowMs: number;
  readonly publicKey: string;
  /** The host as it is recorded now. */
  readonly current: EnrolledHost | undefined;
  /** The host as it is to be recorded. */
  readonly host: EnrolledHost;
}

/** Not an operator's name: a name has no such type. */
export const UNREADABLE: unique symbol = Symbol('the store can not be read');
export type Unreadable = typeof UNREADABLE;

export class Tokens {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** @returns id and secret; the secret can't be had again. @throws Error when it can't be stored. */
  create(
    purpose: Token['purpose'],
    subject: string,
    nowMs: number,
    ttlMs: number,
  ): { id: string; secret: string } {
    const id = randomBytes(4).toString('hex');
    const secret = randomBytes(24).toString('base64url');
    const done = this.#db.transaction(() => {
      this.#db.run('DELETE FROM tokens WHERE expires_at < ?', nowMs - 30 * 24 * 3600_000);
      return this.#db.run(
        'INSERT INTO tokens (id, purpose, subject, secret_hash, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)',
        id,
        purpose,
        subject,
        sha256(secret),
        nowMs,
        nowMs + ttlMs,
      );
    }, true);
    if (done === undefined) throw new Error(this.#db.problem ?? 'the token could not be stored');
    return { id, secret };
  }

  /** Whether this is an enrolment token of ours, whatever became of it since; undefined while the store can't be read. */
  knows(id: string, secret: string): boolean | undefined {
    const row = this.#findIfReadable(id, secret);
    return row === UNREADABLE ? undefined : row?.['purpose'] === 'enroll';
  }

  /** Whether what could not be stored just now is worth another try at once. */
  get isBusy(): boolean {
    return this.#db.isBusy;
  }

  /**
   * Uses up an enrolment token for a host's key, and records that key, in one step. The same question gets the same
   * answer again for as long as its key is the host's: an answer may be lost on its way.
   * @param host what is to be recorded; left as it is for a question that was answered before.
   */
  redeem({ id, secret, nowMs, publicKey, current, host }: Redemption): Redeemed {
    const name = host.name;
    const row = this.#findIfReadable(id, secret);
    if (row === UNREADABLE) return 'StoreUnavailable';
    if (row === undefined || row['purpose'] !== 'enroll') return 'TokenUnknown';
    if (row['revoked_at'] !== null) return 'TokenRevoked';
    if (row['subject'] !== name) return 'TokenForOtherHost';
    if (row['used_at'] !== null) {
      const isSame = row['used_key'] === publicKey && holds(current, publicKey);
      return isSame ? 'again' : 'TokenUsed';
    }
    if (Number(row['expires_at']) <= nowMs) return 'TokenExpired';
    const sql = 'UPDATE tokens SET used_at = ?, used_key = ? WHERE id = ? AND used_at IS NULL';
    const changed = this.#db.transaction(() => {
      const used = this.#db.run(sql, nowMs, publicKey, id);
      if (used === 1) putHost(this.#db, host);
      return used;
    }, true);
    if (changed === undefined) return 'StoreUnavailable';
    return changed === 1 ? 'ok' : 'TokenUsed';
  }

  /** The operator that a bearer token stands for. */
  operator(id: string, secret: string, nowMs: number): string | undefined | Unreadable {
    const row = this.#findIfReadable(id, secret);
    if (row === UNREADABLE) return UNREADABLE;
    if (row === undefined || row['purpose'] !== 'operator' || row['revoked_at'] !== null) return undefined;
    return Number(row['expires_at']) > nowMs ? String(row['subject']) : undefined;
  }

  list(): Token[] {
    return this.#db.all('SELECT * FROM tokens ORDER BY created_at, id').map((row) => ({
      id: String(row['id']),
      purpose: row['purpose'] === 'enroll' ? 'enroll' : 'operator',
      subject: String(row['subject']),
      createdAt: Number(row['created_at']),
      expiresAt: Number(row['expires_at']),
      usedAt: row['used_at'] === null ? undefined : Number(row['used_at']),
      revokedAt: row['revoked_at'] === null ? undefined : Number(row['revoked_at']),
    }));
  }

  /** @returns whether there was such a token. @throws Error when it can't be stored. */
  revoke(id: string, nowMs: number): boolean {
    const sql = 'UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL';
    const changed = this.#db.transaction(() => this.#db.run(sql, nowMs, id), true);
    if (changed === undefined) throw new Error(this.#db.problem ?? 'the token could not be revoked');
    return changed > 0;
  }

  #findIfReadable(id: string, secret: string): Row | undefined | Unreadable {
    return this.#db.read<Row | undefined | Unreadable>(() => this.#find(id, secret), UNREADABLE);
  }

  #find(id: string, secret: string): Row | undefined {
    const row = this.#db.get('SELECT * FROM tokens WHERE id = ?', id);
    const expected = Buffer.from(String(row?.['secret_hash'] ?? sha256('')), 'hex');
    const fits = timingSafeEqual(expected, Buffer.from(sha256(secret), 'hex'));
    return fits && row !== undefined ? row : undefined;
  }
}

function holds(host: EnrolledHost | undefined, publicKey: string): boolean {
  return host !== undefined && (host.publicKey === publicKey || host.next?.publicKey === publicKey);
}
