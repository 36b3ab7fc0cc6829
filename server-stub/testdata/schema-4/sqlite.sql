-- sqlite3 coder.db .dump
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE deployment (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id  BLOB NOT NULL CHECK (length(id) = 16)
, generation INTEGER NOT NULL DEFAULT 0, epoch INTEGER NOT NULL DEFAULT 0, file_policy TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO deployment VALUES(1,X'57530e62315e44311127f84affd738ac',1,3388507232077432889,'allowed');
CREATE TABLE encryption_keys (
    id         TEXT PRIMARY KEY,
    active     INTEGER NOT NULL CHECK (active IN (0, 1)),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO encryption_keys VALUES('1c8c8fb7162651db',1,1796005846667291);
CREATE TABLE users (
    id         BLOB PRIMARY KEY CHECK (length(id) = 16),
    username   TEXT NOT NULL COLLATE NOCASE UNIQUE,
    created_at INTEGER NOT NULL
, generation INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO users VALUES(X'149d31e29c0b4ad8820af8692f3e352d','alice',1796005846826041,1);
CREATE TABLE session_tokens (
    id             TEXT PRIMARY KEY,
    user_id        BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    secret_hash    BLOB NOT NULL CHECK (length(secret_hash) = 32),
    created_at     INTEGER NOT NULL,
    last_used_at   INTEGER,
    last_used_from TEXT
) STRICT, WITHOUT ROWID;
INSERT INTO session_tokens VALUES('6dcpxpzec3',X'149d31e29c0b4ad8820af8692f3e352d',X'7d6051bed1166fb0ea7a8afc8dd1e35ab68f02651c0d54effe26323fb44b4266',1796005846836032,1796005846914490,'127.0.0.1');
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
INSERT INTO user_secrets VALUES(X'1fe70312b0464a93aff9ba6b23ca4aba',X'149d31e29c0b4ad8820af8692f3e352d','api-key','',X'8684ba289e8e12187b2deef91d60216b8a41b62a4bd3a581f331307164142d2a6bfb65fe59e6b3b68180cc684c94c8096f21d2111d127ce0ab33','1c8c8fb7162651db',30,'API_KEY','~/api-key',1,1796005846858296,1796005846858296);
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
CREATE TABLE workspaces (
    id         BLOB PRIMARY KEY CHECK (length(id) = 16),
    owner_id   BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name       TEXT NOT NULL COLLATE NOCASE,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL, generation INTEGER NOT NULL DEFAULT 0,
    UNIQUE (owner_id, name)
) STRICT;
INSERT INTO workspaces VALUES(X'd3e63831279a40f0a921daee43eb44f9',X'149d31e29c0b4ad8820af8692f3e352d','dev',1796005846892371,1796005846892371,1);
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
INSERT INTO agents VALUES(X'60a698d26ddb4bd8a73bafee1b05d6f4',X'd3e63831279a40f0a921daee43eb44f9','main',0,X'7b1747038a4174b62accd5a9dfa10d73f0245d1d30c9c8bba2750d3a529a977f','','',120,1796005846892371,1796005846892371,'','','','',1,NULL,NULL,0,0);
CREATE TABLE agent_presence (
    agent_id           BLOB PRIMARY KEY REFERENCES agents (id) ON DELETE CASCADE,
    first_connected_at INTEGER NOT NULL,
    last_connected_at  INTEGER NOT NULL,
    disconnected_at    INTEGER
, server_id BLOB) STRICT, WITHOUT ROWID;
CREATE TABLE agent_env (
    id           BLOB PRIMARY KEY CHECK (length(id) = 16),
    agent_id     BLOB NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    value        BLOB NOT NULL,
    value_key_id TEXT NOT NULL REFERENCES encryption_keys (id),
    UNIQUE (agent_id, name)
) STRICT;
INSERT INTO agent_env VALUES(X'89c2dbb8fee1473f95caa636cf084c8c',X'60a698d26ddb4bd8a73bafee1b05d6f4','TEMPLATE',X'cb924de943ee46c22bcd8cd1845d3b6784bc0b9c5171f441df2e3aad18d962a20b8bcd37a953725d4b7260792da51ca7c89964a4512ac27e01a9a484cc2ad2a6854782','1c8c8fb7162651db');
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
CREATE TABLE lifecycle_states (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id   BLOB NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    state      INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE TABLE git_ssh_keys (
    user_id            BLOB PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    public_key         TEXT NOT NULL, -- an authorized_keys line
    private_key        BLOB NOT NULL,
    private_key_key_id TEXT NOT NULL REFERENCES encryption_keys (id),
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO git_ssh_keys VALUES(X'149d31e29c0b4ad8820af8692f3e352d',replace('ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOunKrSzCImBkBky3wUHFa/vAHKZGQic97oRCKUfT1fR\n','\n',char(10)),X'fd96303d19aaa0f6c5b9e4ca0b561e2420c4026712e1a6d9166df15a173969d3cb53012c78f0325d63a26537e081464e3797d0cf9505485ca9cff35920a59d5d6dd93bd4472bc5a16a81e2c285b190103ef1da7e2db3a0d1c931f14b63e5af69552cb29fb26e3124b6c7b10863fb58d58c578ec8ac817e47c44561c72b91884af3e4daa0c35e4422bad805e1c0a15e330f11c25c8fb6c6ee977aca11b4764b6c74d7102cc9154a7463ec431e49f80359442472243536d74c8cb9e3804305042f02ee8cf7cd63b4cc6cae9b67232bc122e23fe4c043dbb507e33d92c6ad75337a3e91a2e291c2b94dc76e95032909d84703deff132e4e851ddafb263dff7128631682c3aeee1a317a96751295de7ca6d2ef75408d075ea12390c23dd1d6356990b5f6e7352a8a6a6afc7ff5b60139544ede1839d8f4ff23afbb4ebc8a738e835f6fcec0334dab3ce622f3bb56b362bab9816edb2c03343e95302714d9bf3b61708ab8a3023d199e09581b4f95a46d8df7121d5e563533c4bc7c2914e653436998cb5a50f59c40e94de1da65b462f9e1fa4086c77d4e58cf293113de07238868','1c8c8fb7162651db',1796005846826041,1796005846826041);
CREATE TABLE servers (
    id         BLOB PRIMARY KEY,
    version    TEXT NOT NULL,
    key_ids    TEXT NOT NULL, -- comma between
    started_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL
) STRICT;
CREATE TABLE schema_version (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,
    oldest  INTEGER NOT NULL -- the oldest schema that a program must know to use this database
) STRICT;
INSERT INTO schema_version VALUES(1,4,4);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('audit',6);
CREATE UNIQUE INDEX encryption_keys_active ON encryption_keys (active) WHERE active = 1;
CREATE INDEX session_tokens_user ON session_tokens (user_id);
CREATE UNIQUE INDEX user_secrets_env_name ON user_secrets (user_id, env_name) WHERE env_name <> '';
CREATE UNIQUE INDEX user_secrets_file_path ON user_secrets (user_id, file_path) WHERE file_path <> '';
CREATE INDEX audit_at ON audit (at);
CREATE INDEX script_timings_script ON script_timings (script_id, id);
CREATE INDEX agent_logs_agent ON agent_logs (agent_id, id);
CREATE INDEX lifecycle_states_agent ON lifecycle_states (agent_id, id);
COMMIT;
PRAGMA user_version = 4;
PRAGMA application_id = 1667527283;
