// What the controller remembers: who enrolled, what each host is to run, what it said last, who did what. Reading
// is from sqlite; nothing here decides anything.
import type { Database, Row } from './database.ts';

export interface EnrolledHost {
  readonly name: string;
  /** Base64 of the raw Ed25519 key. */
  readonly publicKey: string;
  /** The tailnet node that it enrolled from, where that could be known. */
  readonly nodeID: string | undefined;
  /** Unix milliseconds. */
  readonly enrolledAt: number;
  /** Enrolled after the one above, and takes over with its first request. */
  readonly next?: HostKey | undefined;
}

export interface HostKey {
  /** Base64 of the raw Ed25519 key. */
  readonly publicKey: string;
  readonly nodeID: string | undefined;
}

/** A host that is known here and not in git. */
export interface Departed {
  readonly host: string;
  /** Unix milliseconds. */
  readonly since: number;
  /** For how long the controller has seen it, by a clock that nobody sets. */
  readonly seenMs: number;
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

/** Actions that anybody can cause: only the newest are kept. */
const REFUSED = '-refused';
const REFUSED_KEPT = 1000;
const FORGET_REFUSED =
  'DELETE FROM audit WHERE action = ? AND id <= (SELECT id FROM audit WHERE action = ? ORDER BY id DESC LIMIT 1 OFFSET ?)';

export class Store {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Who enrolled or reported: somebody trusts this controller's key. */
  knownHosts(): number {
    const sql = 'SELECT count(*) AS n FROM (SELECT name FROM hosts UNION SELECT host FROM statuses)';
    return Number(this.#db.get(sql)?.['n']);
  }

  get problem(): string | undefined {
    return this.#db.problem;
  }

  hosts(): EnrolledHost[] {
    return this.#db.all('SELECT * FROM hosts').map((row) => {
      const next = row['next_key'] ?? null;
      return {
        name: String(row['name']),
        publicKey: String(row['public_key']),
        nodeID: textOf(row['node_id']),
        enrolledAt: Number(row['enrolled_at']),
        next: next === null ? undefined : { publicKey: String(next), nodeID: textOf(row['next_node_id']) },
      };
    });
  }

  hostsIfReadable(): EnrolledHost[] | undefined {
    return this.#db.read(() => this.hosts(), undefined);
  }

  /** Whose status is stored; undefined when that can't be read. */
  statusHosts(): Set<string> | undefined {
    const rows = this.#db.read(() => this.#db.all('SELECT host FROM statuses'), undefined);
    return rows === undefined ? undefined : new Set(rows.map((row) => String(row['host'])));
  }

  /** @returns whether it will outlive a restart, and a power cut. */
  saveHosts(hosts: Iterable<EnrolledHost>): boolean {
    return this.#write(() => {
      for (const host of hosts) putHost(this.#db, host);
    }, true);
  }

  /** Ends everything that is known of hosts: key, status, tokens that were not used yet. */
  forgetHosts(hosts: readonly string[], nowMs: number, who: string, detail: string): boolean {
    return this.#write(() => {
      for (const host of hosts) {
        this.#db.run('DELETE FROM hosts WHERE name = ?', host);
        this.#db.run('DELETE FROM statuses WHERE host = ?', host);
        this.#db.run('DELETE FROM departed WHERE host = ?', host);
        this.#db.run(
          "UPDATE tokens SET revoked_at = ? WHERE purpose = 'enroll' AND subject = ? AND used_at IS NULL AND revoked_at IS NULL",
          nowMs,
          host,
        );
        putAudit(this.#db, { at: nowMs, who, action: 'forget', subject: host, detail });
      }
    }, true);
  }

  departed(): Departed[] {
    return this.#db.all('SELECT * FROM departed').map((row) => ({
      host: String(row['host']),
      since: Number(row['since']),
      seenMs: Number(row['seen_ms']),
    }));
  }

  /** Takes the place of all of them. */
  saveDeparted(departed: Iterable<Departed>): boolean {
    return this.#write(() => {
      this.#db.run('DELETE FROM departed');
      for (const { host, since, seenMs } of departed)
        this.#db.run('INSERT INTO departed VALUES (?, ?, ?)', host, since, seenMs);
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
    return this.#write(() => {
      this.#db.run('DELETE FROM assignments');
      this.#putAssignments(assignments, meta);
    });
  }

  /** Those of some hosts, and none any more of others, in one transaction. */
  changeAssignments(
    changed: Iterable<Assignment>,
    gone: readonly string[],
    meta: Readonly<Record<string, string>>,
  ): boolean {
    return this.#write(() => {
      this.#db.run(
        'DELETE FROM assignments WHERE host IN (SELECT value FROM json_each(?))',
        JSON.stringify(gone),
      );
      this.#putAssignments(changed, meta);
    });
  }

  /** One statement for all rows: ten thousand calls into sqlite would take half a second. */
  #putAssignments(assignments: Iterable<Assignment>, meta: Readonly<Record<string, string>>): void {
    const rows = [...assignments].map((a) => [
      a.host,
      a.sequence,
      a.commit,
      a.payloadDigest,
      a.issuedAt,
      a.document,
    ]);
    this.#db.run(
      `INSERT OR REPLACE INTO assignments SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?)`,
      JSON.stringify(rows),
    );
    for (const [key, value] of Object.entries(meta))
      this.#db.run('INSERT OR REPLACE INTO meta VALUES (?, ?)', key, value);
  }

  /** Of one host, beside those of the others. */
  saveAssignment(assignment: Assignment): boolean {
    return this.#write(() => this.#putAssignments([assignment], {}));
  }

  /** One host for each digest that is assigned and whose text is not stored yet. */
  missingPayloads(): { host: string; digest: string }[] {
    const sql =
      'SELECT min(host) AS host, payload_digest AS digest FROM assignments WHERE payload_digest NOT IN (SELECT digest FROM payloads) GROUP BY payload_digest';
    const rows = this.#db.read(() => this.#db.all(sql), []);
    return rows.map((row) => ({ host: String(row['host']), digest: String(row['digest']) }));
  }

  savePayloads(payloads: readonly { readonly digest: string; readonly text: string }[]): boolean {
    return this.#write(() => {
      for (const { digest, text } of payloads)
        this.#db.run('INSERT OR REPLACE INTO payloads VALUES (?, ?)', digest, text);
    });
  }

  /**
   * Forgets some of the texts that nobody is to run any more: a thousand of them at once take a second.
   * @returns whether there may be more.
   */
  dropPayloads(most: number = Number.MAX_SAFE_INTEGER): boolean {
    let dropped = 0;
    this.#write(() => {
      dropped = this.#db.run(
        'DELETE FROM payloads WHERE digest IN (SELECT digest FROM payloads WHERE digest NOT IN (SELECT payload_digest FROM assignments) LIMIT ?)',
        most,
      );
    });
    return dropped === most;
  }

  payload(digest: string): string | undefined {
    const row = this.#db.read(
      () => this.#db.get('SELECT text FROM payloads WHERE digest = ?', digest),
      undefined,
    );
    return row === undefined ? undefined : String(row['text']);
  }

  meta(key: string): string | undefined {
    const row = this.#db.get('SELECT value FROM meta WHERE key = ?', key);
    return row === undefined ? undefined : String(row['value']);
  }

  saveMeta(key: string, value: string): boolean {
    return this.#write(() => void this.#db.run('INSERT OR REPLACE INTO meta VALUES (?, ?)', key, value));
  }

  statuses(): StoredStatus[] {
    return this.#db.all('SELECT * FROM statuses').map(statusOf);
  }

  status(host: string): StoredStatus | undefined {
    const row = this.#db.read(() => this.#db.get('SELECT * FROM statuses WHERE host = ?', host), undefined);
    return row === undefined ? undefined : statusOf(row);
  }

  saveStatuses(statuses: Iterable<StoredStatus>): boolean {
    return this.#write(() => {
      for (const { host, receivedAt, text } of statuses) {
        this.#db.run('INSERT OR REPLACE INTO statuses VALUES (?, ?, ?)', host, receivedAt, text);
      }
    });
  }

  /** @returns whether they are in the log. */
  audit(...entries: readonly AuditEntry[]): boolean {
    return this.#write(() => {
      for (const entry of entries) {
        putAudit(this.#db, entry);
        const { action } = entry;
        if (action.endsWith(REFUSED)) this.#db.run(FORGET_REFUSED, action, action, REFUSED_KEPT);
      }
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

  /** Whether another process wrote since this was last asked. */
  isChangedByOthers(): boolean {
    return this.#db.isChangedByOthers();
  }

  #write(work: () => void, durable = false): boolean {
    const done = (): true => {
      work();
      return true;
    };
    return this.#db.transaction(done, durable) ?? false;
  }
}

/** Inside a transaction. */
export function putHost(db: Database, { name, publicKey, nodeID, enrolledAt, next }: EnrolledHost): void {
  db.run(
    'INSERT OR REPLACE INTO hosts (name, public_key, node_id, enrolled_at, next_key, next_node_id) VALUES (?, ?, ?, ?, ?, ?)',
    name,
    publicKey,
    nodeID ?? null,
    enrolledAt,
    next?.publicKey ?? null,
    next?.nodeID ?? null,
  );
}

/** Inside a transaction. */
function putAudit(db: Database, { at, who, action, subject, detail }: AuditEntry): void {
  const sql = 'INSERT INTO audit (at, who, action, subject, detail) VALUES (?, ?, ?, ?, ?)';
  db.run(sql, at, who, action, subject, detail);
}

function statusOf(row: Row): StoredStatus {
  return { host: String(row['host']), receivedAt: Number(row['received_at']), text: String(row['text']) };
}

function textOf(value: string | number | null | undefined): string | undefined {
  return value === null || value === undefined ? undefined : String(value);
}
