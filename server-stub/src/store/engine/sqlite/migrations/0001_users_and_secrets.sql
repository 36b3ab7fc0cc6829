-- Times are microseconds since 1970 UTC. An encrypted column X stands beside X_key_id, which names its key.

CREATE TABLE deployment (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id  BLOB NOT NULL CHECK (length(id) = 16)
) STRICT;
INSERT INTO deployment VALUES (1, randomblob(16));

-- The keys this database needs, by name only. A row goes when nothing refers to it any more, never before.
CREATE TABLE encryption_keys (
    id         TEXT PRIMARY KEY,
    active     INTEGER NOT NULL CHECK (active IN (0, 1)),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX encryption_keys_active ON encryption_keys (active) WHERE active = 1;

CREATE TABLE users (
    id         BLOB PRIMARY KEY CHECK (length(id) = 16),
    username   TEXT NOT NULL COLLATE NOCASE UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE session_tokens (
    id             TEXT PRIMARY KEY,
    user_id        BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    secret_hash    BLOB NOT NULL CHECK (length(secret_hash) = 32),
    created_at     INTEGER NOT NULL,
    last_used_at   INTEGER,
    last_used_from TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX session_tokens_user ON session_tokens (user_id);

CREATE TABLE user_secrets (
    id           BLOB PRIMARY KEY CHECK (length(id) = 16),
    user_id      BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    description  TEXT NOT NULL,
    value        BLOB NOT NULL,
    value_key_id TEXT NOT NULL REFERENCES encryption_keys (id),
    value_bytes  INTEGER NOT NULL, -- of the plaintext: the caps count these
    env_name     TEXT NOT NULL,
    file_path    TEXT NOT NULL,
    enabled      INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    UNIQUE (user_id, name)
) STRICT;
CREATE UNIQUE INDEX user_secrets_env_name ON user_secrets (user_id, env_name) WHERE env_name <> '';
CREATE UNIQUE INDEX user_secrets_file_path ON user_secrets (user_id, file_path) WHERE file_path <> '';

-- Who did what to which, when and from where. Never a value; no foreign keys, because records outlive what they tell of.
CREATE TABLE audit (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    actor_kind  TEXT NOT NULL,
    actor_id    BLOB,
    actor_name  TEXT NOT NULL,
    address     TEXT NOT NULL,
    action      TEXT NOT NULL,
    resource    TEXT NOT NULL,
    resource_id BLOB,
    target      TEXT NOT NULL,
    status      INTEGER NOT NULL,
    diff        TEXT NOT NULL
) STRICT;
CREATE INDEX audit_at ON audit (at);
