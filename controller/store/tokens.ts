// Tokens: one-time ones with which a host enrols, and bearer tokens of operators. What is printed once carries
// the fingerprint of the controller's key, so that the new agent knows whom it talks to.
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { sha256 } from '../../api/json.ts';
import type { Database, Row } from './database.ts';

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

export type TokenRefusal =
  | 'TokenUnknown'
  | 'TokenUsed'
  | 'TokenExpired'
  | 'TokenRevoked'
  | 'TokenForOtherHost';

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
    });
    if (done === undefined) throw new Error(this.#db.problem ?? 'the token could not be stored');
    return { id, secret };
  }

  /** Uses up an enrolment token. A token that could not be marked as used is not accepted. */
  redeem(id: string, secret: string, host: string, nowMs: number): 'ok' | TokenRefusal | 'StoreUnavailable' {
    const row = this.#find(id, secret);
    if (row === undefined || row['purpose'] !== 'enroll') return 'TokenUnknown';
    if (row['revoked_at'] !== null) return 'TokenRevoked';
    if (row['used_at'] !== null) return 'TokenUsed';
    if (Number(row['expires_at']) <= nowMs) return 'TokenExpired';
    if (row['subject'] !== host) return 'TokenForOtherHost';
    const changed = this.#db.transaction(() =>
      this.#db.run('UPDATE tokens SET used_at = ? WHERE id = ? AND used_at IS NULL', nowMs, id),
    );
    if (changed === undefined) return 'StoreUnavailable';
    return changed === 1 ? 'ok' : 'TokenUsed';
  }

  /** The operator that a bearer token stands for. */
  operator(id: string, secret: string, nowMs: number): string | undefined {
    const row = this.#find(id, secret);
    if (row === undefined || row['purpose'] !== 'operator' || row['revoked_at'] !== null) return undefined;
    return Number(row['expires_at']) > nowMs ? String(row['subject']) : undefined;
  }

  list(): Token[] {
    return this.#db.all('SELECT * FROM tokens ORDER BY created_at, id').map((row) => ({
      id: String(row['id']),
      purpose: row['purpose'] as Token['purpose'],
      subject: String(row['subject']),
      createdAt: Number(row['created_at']),
      expiresAt: Number(row['expires_at']),
      usedAt: row['used_at'] === null ? undefined : Number(row['used_at']),
      revokedAt: row['revoked_at'] === null ? undefined : Number(row['revoked_at']),
    }));
  }

  /** @returns whether there was such a token. @throws Error when it can't be stored. */
  revoke(id: string, nowMs: number): boolean {
    const changed = this.#db.transaction(() =>
      this.#db.run('UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL', nowMs, id),
    );
    if (changed === undefined) throw new Error(this.#db.problem ?? 'the token could not be revoked');
    return changed > 0;
  }

  #find(id: string, secret: string): Row | undefined {
    const row = this.#db.get('SELECT * FROM tokens WHERE id = ?', id);
    const expected = Buffer.from(String(row?.['secret_hash'] ?? sha256('')), 'hex');
    const fits = timingSafeEqual(expected, Buffer.from(sha256(secret), 'hex'));
    return fits && row !== undefined ? row : undefined;
  }
}
