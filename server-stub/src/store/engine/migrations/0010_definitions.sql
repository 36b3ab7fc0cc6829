-- What the latest apply that changed something made, and whether it left the workspace without agents.
ALTER TABLE workspaces ADD COLUMN build_id {uuid}; -- NULL before the first such apply of this version: then it is the workspace's own
ALTER TABLE workspaces ADD COLUMN build_number {int} NOT NULL DEFAULT 1;
ALTER TABLE workspaces ADD COLUMN stopped_at {int};

ALTER TABLE agents ADD COLUMN user_data {bool} NOT NULL DEFAULT TRUE; -- whether it gets the owner's secrets and git key
ALTER TABLE agents ADD COLUMN resource {text} NOT NULL DEFAULT ''; -- the address of its machine

-- The text of a script that the template marks as a secret; the column script is empty then.
ALTER TABLE scripts ADD COLUMN sealed_script {bytes};
ALTER TABLE scripts ADD COLUMN sealed_script_key_id {text} REFERENCES encryption_keys (id);

-- What a template made besides agents. Attributes are not kept.
CREATE TABLE workspace_resources (
    id           {uuid} PRIMARY KEY,
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    position     {int} NOT NULL,
    address      {text} NOT NULL,
    kind         {text} NOT NULL,
    name         {text} NOT NULL,
    module_path  {text} NOT NULL,
    hide         {bool} NOT NULL,
    icon         {text} NOT NULL,
    daily_cost   {int} NOT NULL,
    UNIQUE (workspace_id, address)
) {strict};

-- What is shown of a resource. A sensitive value is sealed, and value is NULL then; both are NULL for null.
CREATE TABLE resource_items (
    id            {uuid} PRIMARY KEY,
    resource_id   {uuid} NOT NULL REFERENCES workspace_resources (id) ON DELETE CASCADE,
    position      {int} NOT NULL,
    key           {text} NOT NULL,
    value         {text},
    sensitive     {bool} NOT NULL,
    sealed        {bytes},
    sealed_key_id {text} REFERENCES encryption_keys (id)
) {strict};
CREATE INDEX resource_items_resource ON resource_items (resource_id);

-- What a template needs of the workspace's owner.
CREATE TABLE required_secrets (
    workspace_id {uuid} NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    position     {int} NOT NULL,
    env          {text} NOT NULL,
    file         {text} NOT NULL,
    help_message {text} NOT NULL,
    PRIMARY KEY (workspace_id, position)
) {strict};
