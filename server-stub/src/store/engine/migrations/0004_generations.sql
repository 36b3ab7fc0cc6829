-- Generations: what an agent's manifest is made of has changed when the sum of the three counters has. A restore starts a new epoch.
ALTER TABLE users ADD COLUMN generation {int} NOT NULL DEFAULT 0;
ALTER TABLE workspaces ADD COLUMN generation {int} NOT NULL DEFAULT 0;
ALTER TABLE deployment ADD COLUMN generation {int} NOT NULL DEFAULT 0;
ALTER TABLE deployment ADD COLUMN epoch {int} NOT NULL DEFAULT 0;
-- What `serve` was told last: a server that starts with another policy grows the deployment's counter.
ALTER TABLE deployment ADD COLUMN file_policy {text} NOT NULL DEFAULT '';

-- Servers of the deployment. A row whose seen_at is older than the lease is of a server that died.
CREATE TABLE servers (
    id         {uuid} PRIMARY KEY,
    version    {text} NOT NULL,
    key_ids    {text} NOT NULL, -- comma between
    started_at {int} NOT NULL,
    seen_at    {int} NOT NULL
) {strict};

-- Which server saw the agent last: only that one may say that it has left.
ALTER TABLE agent_presence ADD COLUMN server_id {uuid};

CREATE TABLE schema_version (
    one     {int} PRIMARY KEY CHECK (one = 1),
    version {int} NOT NULL,
    oldest  {int} NOT NULL -- the oldest schema that a program must know to use this database
) {strict};
INSERT INTO schema_version (one, version, oldest) VALUES (1, 4, 4);
