-- Times are microseconds since 1970 UTC. An encrypted column X stands beside X_key_id, which names its key.

CREATE TABLE workspaces (
    id         BLOB PRIMARY KEY CHECK (length(id) = 16),
    owner_id   BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name       TEXT NOT NULL COLLATE NOCASE,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (owner_id, name)
) STRICT;

CREATE TABLE agents (
    id                 BLOB PRIMARY KEY CHECK (length(id) = 16),
    workspace_id       BLOB NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    name               TEXT NOT NULL COLLATE NOCASE,
    position           INTEGER NOT NULL,
    token_hash         BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    directory          TEXT NOT NULL,
    motd_path          TEXT NOT NULL,
    connection_timeout INTEGER NOT NULL, -- seconds
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    -- What the agent told of itself.
    version            TEXT NOT NULL DEFAULT '',
    expanded_directory TEXT NOT NULL DEFAULT '',
    subsystems         TEXT NOT NULL DEFAULT '', -- names, comma between
    api_version        TEXT NOT NULL DEFAULT '',
    lifecycle_state    INTEGER NOT NULL DEFAULT 1, -- as on the wire; 1 is created
    started_at         INTEGER,
    ready_at           INTEGER,
    logs_bytes         INTEGER NOT NULL DEFAULT 0,
    logs_overflowed    INTEGER NOT NULL DEFAULT 0 CHECK (logs_overflowed IN (0, 1)),
    UNIQUE (workspace_id, name)
) STRICT;

-- What the connection monitor saw. Apart from the agents because every row of it is written four times a minute.
CREATE TABLE agent_presence (
    agent_id           BLOB PRIMARY KEY REFERENCES agents (id) ON DELETE CASCADE,
    first_connected_at INTEGER NOT NULL,
    last_connected_at  INTEGER NOT NULL,
    disconnected_at    INTEGER
) STRICT, WITHOUT ROWID;

-- The merged variables of the template, ready for the manifest.
CREATE TABLE agent_env (
    id           BLOB PRIMARY KEY CHECK (length(id) = 16),
    agent_id     BLOB NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    value        BLOB NOT NULL,
    value_key_id TEXT NOT NULL REFERENCES encryption_keys (id),
    UNIQUE (agent_id, name)
) STRICT;

-- Scripts are in clear: they are code that every process of the workspace may read. A token belongs into a variable.
CREATE TABLE scripts (
    id                 BLOB PRIMARY KEY CHECK (length(id) = 16),
    agent_id           BLOB NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    position           INTEGER NOT NULL,
    display_name       TEXT NOT NULL,
    log_source_id      BLOB NOT NULL CHECK (length(log_source_id) = 16),
    script             TEXT NOT NULL,
    cron               TEXT NOT NULL,
    log_path           TEXT NOT NULL,
    timeout            INTEGER NOT NULL, -- seconds
    run_on_start       INTEGER NOT NULL CHECK (run_on_start IN (0, 1)),
    run_on_stop        INTEGER NOT NULL CHECK (run_on_stop IN (0, 1)),
    start_blocks_login INTEGER NOT NULL CHECK (start_blocks_login IN (0, 1)),
    UNIQUE (agent_id, display_name)
) STRICT;

CREATE TABLE script_timings (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    script_id  BLOB NOT NULL REFERENCES scripts (id) ON DELETE CASCADE,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    exit_code  INTEGER NOT NULL,
    stage      INTEGER NOT NULL, -- as on the wire
    status     INTEGER NOT NULL
) STRICT;
CREATE INDEX script_timings_script ON script_timings (script_id, id);

CREATE TABLE agent_metadata (
    agent_id     BLOB NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    key          TEXT NOT NULL,
    position     INTEGER NOT NULL,
    display_name TEXT NOT NULL,
    script       TEXT NOT NULL,
    interval     INTEGER NOT NULL, -- seconds
    timeout      INTEGER NOT NULL, -- seconds
    value        TEXT NOT NULL DEFAULT '',
    error        TEXT NOT NULL DEFAULT '',
    collected_at INTEGER,
    PRIMARY KEY (agent_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_sources (
    agent_id     BLOB NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    id           BLOB NOT NULL CHECK (length(id) = 16),
    display_name TEXT NOT NULL,
    icon         TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (agent_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE agent_logs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id   BLOB NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    source_id  BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    level      INTEGER NOT NULL, -- as on the wire
    output     TEXT NOT NULL
) STRICT;
CREATE INDEX agent_logs_agent ON agent_logs (agent_id, id);

CREATE TABLE lifecycle_states (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id   BLOB NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    state      INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX lifecycle_states_agent ON lifecycle_states (agent_id, id);
