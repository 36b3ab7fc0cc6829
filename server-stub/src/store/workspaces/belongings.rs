//! What belongs to one agent of a definition: its variables, scripts and metadata.

use std::collections::BTreeMap;

use protocol::secret::Secret;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::super::{Doing, Place, StoreError, Writing};
use super::logs;
use protocol::workspace::definition::{Metadata, Script};

pub(super) async fn replace_env(
    writing: &mut Writing,
    owner: Uuid,
    agent: Uuid,
    env: &BTreeMap<String, Secret>,
) -> Result<(), StoreError> {
    let action = "keep the variables of an agent";
    sqlx::query("DELETE FROM agent_env WHERE agent_id = ?")
        .bind(agent)
        .execute(writing.connection())
        .await
        .doing(action)?;
    for (name, value) in env {
        let id = Uuid::new_v4();
        let sealed = writing.seal(&env_place(owner, id), value.expose())?;
        sqlx::query("INSERT INTO agent_env (id, agent_id, name, value, value_key_id) VALUES (?, ?, ?, ?, ?)")
            .bind(id)
            .bind(agent)
            .bind(name)
            .bind(sealed.data)
            .bind(sealed.key.as_str())
            .execute(writing.connection())
            .await
            .doing(action)?;
    }
    Ok(())
}

/// What the value of a template variable is bound to.
pub(super) fn env_place(owner: Uuid, row: Uuid) -> Place {
    Place { table: "agent_env", user: owner, row, column: "value" }
}

pub(super) async fn keep_scripts(writing: &mut Writing, agent: Uuid, scripts: &[Script]) -> Result<(), StoreError> {
    let names: Vec<&str> = scripts.iter().map(|script| script.display_name.value.as_str()).collect();
    let names = serde_json::Value::from(names).to_string();
    sqlx::query("DELETE FROM scripts WHERE agent_id = ? AND display_name NOT IN (SELECT value FROM json_each(?))")
        .bind(agent)
        .bind(names)
        .execute(writing.connection())
        .await
        .doing("drop scripts")?;
    for (position, script) in (0..).zip(scripts) {
        let source = keep_script(writing.connection(), agent, position, script).await?;
        let icon = script.icon.as_ref().map_or("", |icon| icon.as_str());
        logs::keep_source(writing, agent, source, script.display_name.value.as_str(), icon).await?;
    }
    Ok(())
}

/// The log source of the script: a changed script keeps its ids, and with them its results and its lines.
async fn keep_script(
    connection: &mut SqliteConnection,
    agent: Uuid,
    position: i64,
    script: &Script,
) -> Result<Uuid, StoreError> {
    let row = sqlx::query(
        "INSERT INTO scripts (id, agent_id, position, display_name, log_source_id, script, cron, log_path, timeout, \
                              run_on_start, run_on_stop, start_blocks_login) VALUES (?,?,?,?,?,?,?,?,?,?,?,?) \
         ON CONFLICT (agent_id, display_name) DO UPDATE SET position = excluded.position, script = excluded.script, \
           cron = excluded.cron, log_path = excluded.log_path, timeout = excluded.timeout, \
           run_on_start = excluded.run_on_start, run_on_stop = excluded.run_on_stop, \
           start_blocks_login = excluded.start_blocks_login RETURNING log_source_id",
    )
    .bind(Uuid::new_v4())
    .bind(agent)
    .bind(position)
    .bind(script.display_name.value.as_str())
    .bind(Uuid::new_v4())
    .bind(script.script.as_str())
    .bind(script.cron.as_ref().map_or("", |cron| cron.as_str()))
    .bind(script.log_path.as_ref().map_or("", |path| path.as_str()))
    .bind(script.timeout.get())
    .bind(script.run_on_start)
    .bind(script.run_on_stop)
    .bind(script.start_blocks_login)
    .fetch_one(connection)
    .await
    .doing("keep a script")?;
    Ok(row.get(0))
}

pub(super) async fn keep_metadata(
    connection: &mut SqliteConnection,
    agent: Uuid,
    metadata: &[Metadata],
) -> Result<(), StoreError> {
    let keys: Vec<&str> = metadata.iter().map(|item| item.key.value.as_str()).collect();
    let keys = serde_json::Value::from(keys).to_string();
    sqlx::query("DELETE FROM agent_metadata WHERE agent_id = ? AND key NOT IN (SELECT value FROM json_each(?))")
        .bind(agent)
        .bind(keys)
        .execute(&mut *connection)
        .await
        .doing("drop metadata")?;
    for (position, item) in (0_i64..).zip(metadata) {
        sqlx::query(
            "INSERT INTO agent_metadata (agent_id, key, position, display_name, script, interval, timeout) \
             VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (agent_id, key) DO UPDATE SET position = excluded.position, \
               display_name = excluded.display_name, script = excluded.script, interval = excluded.interval, \
               timeout = excluded.timeout",
        )
        .bind(agent)
        .bind(item.key.value.as_str())
        .bind(position)
        .bind(item.display_name.as_ref().unwrap_or(&item.key.value).as_str())
        .bind(item.script.as_str())
        .bind(item.interval.get())
        .bind(item.timeout.get())
        .execute(&mut *connection)
        .await
        .doing("keep metadata")?;
    }
    Ok(())
}
