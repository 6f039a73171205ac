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
  `
  -- The same in every copy of this store, so that a restored backup is told from another controller's store.
  INSERT INTO meta VALUES ('store-id', lower(hex(randomblob(16))));

  -- A key that enrolled while another one works: it takes over with its first request.
  ALTER TABLE hosts ADD COLUMN next_key TEXT;
  ALTER TABLE hosts ADD COLUMN next_node_id TEXT;

  -- With which key a token was used: the same question gets the same answer again.
  ALTER TABLE tokens ADD COLUMN used_key TEXT;

  -- Hosts that are known and not in git: for how long the controller has seen that.
  CREATE TABLE departed (host TEXT PRIMARY KEY, since INTEGER NOT NULL, seen_ms INTEGER NOT NULL) WITHOUT ROWID;
  `,
];
