// What the controller remembers: who enrolled, what each host is to run, what it said last, who did what. Reading
// is from sqlite; nothing here decides anything.
import type { Database } from './database.ts';

export interface EnrolledHost {
  readonly name: string;
  /** Base64 of the raw Ed25519 key. */
  readonly publicKey: string;
  /** The tailnet node that it enrolled from, where that could be known. */
  readonly nodeID: string | undefined;
  /** Unix milliseconds. */
  readonly enrolledAt: number;
}

export interface Assignment {
  readonly host: string;
  readonly sequence: number;
  readonly commit: string;
  readonly payloadDigest: string;
  /** RFC 3339. */
  readonly issuedAt: string;
  /** JSON of the Host document at that commit. */
  readonly document: string;
}

export interface StoredStatus {
  readonly host: string;
  /** Unix milliseconds. */
  readonly receivedAt: number;
  /** JSON of the AgentStatus. */
  readonly text: string;
}

export interface AuditEntry {
  /** Unix milliseconds. */
  readonly at: number;
  readonly who: string;
  readonly action: string;
  readonly subject: string;
  readonly detail: string;
}

export class Store {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  get problem(): string | undefined {
    return this.#db.problem;
  }

  hosts(): EnrolledHost[] {
    return this.#db.all('SELECT * FROM hosts').map((row) => ({
      name: String(row['name']),
      publicKey: String(row['public_key']),
      nodeID: row['node_id'] === null ? undefined : String(row['node_id']),
      enrolledAt: Number(row['enrolled_at']),
    }));
  }

  /** @returns whether it will outlive a restart. */
  saveHosts(hosts: Iterable<EnrolledHost>): boolean {
    return this.#write(() => {
      for (const { name, publicKey, nodeID, enrolledAt } of hosts) {
        this.#db.run(
          'INSERT OR REPLACE INTO hosts VALUES (?, ?, ?, ?)',
          name,
          publicKey,
          nodeID ?? null,
          enrolledAt,
        );
      }
    });
  }

  assignments(): Assignment[] {
    return this.#db.all('SELECT * FROM assignments').map((row) => ({
      host: String(row['host']),
      sequence: Number(row['sequence']),
      commit: String(row['commit_id']),
      payloadDigest: String(row['payload_digest']),
      issuedAt: String(row['issued_at']),
      document: String(row['document']),
    }));
  }

  /**
   * Takes the place of all assignments, in one transaction.
   * @param text of a payload that is not stored yet.
   */
  saveAssignments(
    assignments: Iterable<Assignment>,
    meta: Readonly<Record<string, string>>,
    text: (host: string) => string,
  ): boolean {
    return this.#write(() => {
      const known = new Set(this.#db.all('SELECT digest FROM payloads').map((row) => row['digest']));
      this.#db.run('DELETE FROM assignments');
      for (const a of assignments) {
        const { host, sequence, commit, payloadDigest, issuedAt, document } = a;
        this.#db.run(
          'INSERT INTO assignments VALUES (?, ?, ?, ?, ?, ?)',
          host,
          sequence,
          commit,
          payloadDigest,
          issuedAt,
          document,
        );
        if (known.has(payloadDigest)) continue;
        this.#db.run('INSERT INTO payloads VALUES (?, ?)', payloadDigest, text(host));
        known.add(payloadDigest);
      }
      this.#db.run('DELETE FROM payloads WHERE digest NOT IN (SELECT payload_digest FROM assignments)');
      for (const [key, value] of Object.entries(meta))
        this.#db.run('INSERT OR REPLACE INTO meta VALUES (?, ?)', key, value);
    });
  }

  payload(digest: string): string | undefined {
    const row = this.#db.get('SELECT text FROM payloads WHERE digest = ?', digest);
    return row === undefined ? undefined : String(row['text']);
  }

  meta(key: string): string | undefined {
    const row = this.#db.get('SELECT value FROM meta WHERE key = ?', key);
    return row === undefined ? undefined : String(row['value']);
  }

  statuses(): StoredStatus[] {
    return this.#db.all('SELECT * FROM statuses').map((row) => ({
      host: String(row['host']),
      receivedAt: Number(row['received_at']),
      text: String(row['text']),
    }));
  }

  status(host: string): StoredStatus | undefined {
    const row = this.#db.get('SELECT * FROM statuses WHERE host = ?', host);
    if (row === undefined) return undefined;
    return { host, receivedAt: Number(row['received_at']), text: String(row['text']) };
  }

  saveStatuses(statuses: Iterable<StoredStatus>): boolean {
    return this.#write(() => {
      for (const { host, receivedAt, text } of statuses) {
        this.#db.run('INSERT OR REPLACE INTO statuses VALUES (?, ?, ?)', host, receivedAt, text);
      }
    });
  }

  audit({ at, who, action, subject, detail }: AuditEntry): boolean {
    return this.#write(() => {
      this.#db.run(
        'INSERT INTO audit (at, who, action, subject, detail) VALUES (?, ?, ?, ?, ?)',
        at,
        who,
        action,
        subject,
        detail,
      );
    });
  }

  auditLog(limit: number): AuditEntry[] {
    return this.#db.all('SELECT * FROM audit ORDER BY id DESC LIMIT ?', limit).map((row) => ({
      at: Number(row['at']),
      who: String(row['who']),
      action: String(row['action']),
      subject: String(row['subject']),
      detail: String(row['detail']),
    }));
  }

  #write(work: () => void): boolean {
    return (
      this.#db.transaction(() => {
        work();
        return true;
      }) ?? false
    );
  }
}
