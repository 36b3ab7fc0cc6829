-- Revoked workspaces get nothing any more, from the commit on.
ALTER TABLE workspaces ADD COLUMN revoked_at {int};
ALTER TABLE workspaces ADD COLUMN revoked_reason {text} NOT NULL DEFAULT '';

-- What each agent told of its last delivery. Names, paths and reasons, never a value.
CREATE TABLE agent_deliveries (
    agent_id    {uuid} PRIMARY KEY REFERENCES agents (id) ON DELETE CASCADE,
    epoch       {int} NOT NULL,
    number      {int} NOT NULL,
    reported_at {int} NOT NULL,
    revoked     {bool} NOT NULL,
    targets     {text} NOT NULL -- JSON
) {strict};

-- Former values of secrets. Numbers count from 1 with each new value of a secret; the current one has the highest.
ALTER TABLE user_secrets ADD COLUMN version {int} NOT NULL DEFAULT 1;
-- When the current value was stored, 0 for updated_at, and the public id of the session token that did.
ALTER TABLE user_secrets ADD COLUMN value_at {int} NOT NULL DEFAULT 0;
ALTER TABLE user_secrets ADD COLUMN value_token {text} NOT NULL DEFAULT '';
CREATE TABLE secret_versions (
    id           {uuid} PRIMARY KEY,
    user_id      {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    secret_id    {uuid} NOT NULL REFERENCES user_secrets (id) ON DELETE CASCADE,
    number       {int} NOT NULL,
    value        {bytes} NOT NULL,
    value_key_id {text} NOT NULL REFERENCES encryption_keys (id),
    value_at     {int} NOT NULL,
    value_token  {text} NOT NULL,
    replaced_at  {int} NOT NULL,
    UNIQUE (secret_id, number)
) {strict};
CREATE INDEX secret_versions_replaced ON secret_versions (replaced_at);
