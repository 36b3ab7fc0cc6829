//! Every column of sealed values: the one place that names what a value is bound to.
//!
//! A sealed column `X` stands beside `X_key_id`, which names its key. A test compares this list with the schema.

use uuid::Uuid;

use super::ring::Place;

/// A column of sealed values.
#[derive(Debug)]
pub(in crate::store) struct SealedColumn {
    pub(in crate::store) table: &'static str,
    pub(in crate::store) name: &'static str,
    /// Rows after an id that are not under a key, as key rotation reads them.
    pub(in crate::store) select: &'static str,
    /// Stores a value that was sealed again, unless somebody has changed it: value, key, row, former value.
    pub(in crate::store) update: &'static str,
}

impl SealedColumn {
    /// What the value in the row `row` is bound to: moved to another row, another user or another column, it does not open.
    pub(in crate::store) fn of(&self, user: Uuid, row: Uuid) -> Place {
        Place { table: self.table, user, row, column: self.name }
    }
}

/// Values of user secrets.
pub(in crate::store) const SECRET_VALUE: SealedColumn = SealedColumn {
    table: "user_secrets",
    name: "value",
    select: "SELECT id, user_id, value AS data, value_key_id AS key_id FROM user_secrets
             WHERE value_key_id <> ? AND id > ? ORDER BY id LIMIT ?",
    update: "UPDATE user_secrets SET value = ?, value_key_id = ? WHERE id = ? AND value = ?",
};

/// Former values of user secrets.
pub(in crate::store) const SECRET_VERSION: SealedColumn = SealedColumn {
    table: "secret_versions",
    name: "value",
    select: "SELECT id, user_id, value AS data, value_key_id AS key_id FROM secret_versions
             WHERE value_key_id <> ? AND id > ? ORDER BY id LIMIT ?",
    update: "UPDATE secret_versions SET value = ?, value_key_id = ? WHERE id = ? AND value = ?",
};

/// Values of template variables, bound to the owner of the workspace.
pub(in crate::store) const TEMPLATE_VALUE: SealedColumn = SealedColumn {
    table: "agent_env",
    name: "value",
    select: "SELECT e.id AS id, w.owner_id AS user_id, e.value AS data, e.value_key_id AS key_id FROM agent_env e
             JOIN agents a ON a.id = e.agent_id JOIN workspaces w ON w.id = a.workspace_id
             WHERE e.value_key_id <> ? AND e.id > ? ORDER BY e.id LIMIT ?",
    update: "UPDATE agent_env SET value = ?, value_key_id = ? WHERE id = ? AND value = ?",
};

/// Private keys for git.
pub(in crate::store) const GIT_PRIVATE_KEY: SealedColumn = SealedColumn {
    table: "git_ssh_keys",
    name: "private_key",
    select: "SELECT user_id AS id, user_id, private_key AS data, private_key_key_id AS key_id FROM git_ssh_keys
             WHERE private_key_key_id <> ? AND user_id > ? ORDER BY user_id LIMIT ?",
    update: "UPDATE git_ssh_keys SET private_key = ?, private_key_key_id = ? WHERE user_id = ? AND private_key = ?",
};

/// Texts of scripts that a template marks as secrets.
pub(in crate::store) const SCRIPT_TEXT: SealedColumn = SealedColumn {
    table: "scripts",
    name: "sealed_script",
    select: "SELECT s.id AS id, w.owner_id AS user_id, s.sealed_script AS data, s.sealed_script_key_id AS key_id FROM scripts s
             JOIN agents a ON a.id = s.agent_id JOIN workspaces w ON w.id = a.workspace_id
             WHERE s.sealed_script_key_id <> ? AND s.id > ? ORDER BY s.id LIMIT ?",
    update: "UPDATE scripts SET sealed_script = ?, sealed_script_key_id = ? WHERE id = ? AND sealed_script = ?",
};

/// Sensitive values that are shown of resources.
pub(in crate::store) const RESOURCE_VALUE: SealedColumn = SealedColumn {
    table: "resource_items",
    name: "sealed",
    select:
        "SELECT i.id AS id, w.owner_id AS user_id, i.sealed AS data, i.sealed_key_id AS key_id FROM resource_items i
             JOIN workspace_resources r ON r.id = i.resource_id JOIN workspaces w ON w.id = r.workspace_id
             WHERE i.sealed_key_id <> ? AND i.id > ? ORDER BY i.id LIMIT ?",
    update: "UPDATE resource_items SET sealed = ?, sealed_key_id = ? WHERE id = ? AND sealed = ?",
};

/// All of them, as key rotation goes through them.
pub(in crate::store) const ALL: [&SealedColumn; 6] =
    [&SECRET_VALUE, &SECRET_VERSION, &TEMPLATE_VALUE, &GIT_PRIVATE_KEY, &SCRIPT_TEXT, &RESOURCE_VALUE];
