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

  /** Takes the place of all assignments, in one transaction. */
  saveAssignments(assignments: Iterable<Assignment>, meta: Readonly<Record<string, string>>): boolean {
    const rows = [...assignments].map((a) => [
      a.host,
      a.sequence,
      a.commit,
      a.payloadDigest,
      a.issuedAt,
      a.document,
    ]);
    return this.#write(() => {
      this.#db.run('DELETE FROM assignments');
      // One statement for all rows: ten thousand calls into sqlite would take half a second.
      this.#db.run(
        `INSERT INTO assignments SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?)`,
        JSON.stringify(rows),
      );
      for (const [key, value] of Object.entries(meta))
        this.#db.run('INSERT OR REPLACE INTO meta VALUES (?, ?)', key, value);
    });
  }

  /** One host for each digest that is assigned and whose text is not stored yet. */
  missingPayloads(): { host: string; digest: string }[] {
    return this.#db
      .all(
        'SELECT min(host) AS host, payload_digest AS digest FROM assignments WHERE payload_digest NOT IN (SELECT digest FROM payloads) GROUP BY payload_digest',
      )
      .map((row) => ({ host: String(row['host']), digest: String(row['digest']) }));
  }

  savePayloads(payloads: readonly { readonly digest: string; readonly text: string }[]): boolean {
    return this.#write(() => {
      for (const { digest, text } of payloads)
        this.#db.run('INSERT OR REPLACE INTO payloads VALUES (?, ?)', digest, text);
    });
  }

  /** Forgets the texts that nobody is to run any more. */
  dropPayloads(): boolean {
    return this.#write(() => {
      this.#db.run('DELETE FROM payloads WHERE digest NOT IN (SELECT payload_digest FROM assignments)');
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
