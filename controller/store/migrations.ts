// The store's schema, as steps that are never changed once released: a new one is added at the end.

/** Step n (from 1) takes a database from user_version n-1 to n. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

  -- Agents that enrolled. What git says of a host's key or node wins over this.
  CREATE TABLE hosts (
    name TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,
    node_id TEXT,
    enrolled_at INTEGER NOT NULL
  ) WITHOUT ROWID;

  -- Secrets are kept as SHA-256: they are random, and nobody can try 2^192 of them.
  CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    purpose TEXT NOT NULL CHECK (purpose IN ('enroll', 'operator')),
    subject TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    revoked_at INTEGER
  ) WITHOUT ROWID;

  -- What each host is to run. This, and not git, is what is served.
  CREATE TABLE assignments (
    host TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    commit_id TEXT NOT NULL,
    payload_digest TEXT NOT NULL,
    issued_at TEXT NOT NULL,
    document TEXT NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE payloads (digest TEXT PRIMARY KEY, text TEXT NOT NULL);

  CREATE TABLE statuses (host TEXT PRIMARY KEY, received_at INTEGER NOT NULL, text TEXT NOT NULL);

  CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
  );
  `,
];
