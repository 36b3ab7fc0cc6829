//! The parts of an agent that a definition names: its variables, scripts and metadata.

use std::collections::BTreeMap;

use protocol::workspace::Variable;
use protocol::workspace::definition::{Metadata, Script};
use uuid::Uuid;

use super::super::engine::{Connection, Writing, command, insert, query, row};
use super::super::keys::KeyId;
use super::super::keys::sealed::TEMPLATE_VALUE;
use super::super::{Doing, StoreError};
use super::logs;

row! {
    struct SourceRow { log_source_id: Uuid }
}

row! {
    struct VariableRow { id: Uuid, name: String, value: Vec<u8>, value_key_id: KeyId, sensitive: Option<bool> }
}

row! {
    struct ScriptRow {
        display_name: String,
        script: String,
        cron: String,
        log_path: String,
        timeout: i64,
        run_on_start: bool,
        run_on_stop: bool,
        start_blocks_login: bool,
    }
}

impl ScriptRow {
    fn is(&self, script: &Script) -> bool {
        self.display_name == script.display_name.value.as_str()
            && self.script == script.script.as_str()
            && self.cron == script.cron.as_ref().map_or("", |cron| cron.as_str())
            && self.log_path == script.log_path.as_ref().map_or("", |path| path.as_str())
            && self.timeout == script.timeout.get()
            && self.run_on_start == script.run_on_start
            && self.run_on_stop == script.run_on_stop
            && self.start_blocks_login == script.start_blocks_login
    }
}

row! {
    struct MetadataRow { key: String, display_name: String, script: String, interval: i64, timeout: i64 }
}

impl MetadataRow {
    fn is(&self, item: &Metadata) -> bool {
        self.key == item.key.value.as_str()
            && self.display_name == item.display_name.as_ref().unwrap_or(&item.key.value).as_str()
            && self.script == item.script.as_str()
            && self.interval == item.interval.get()
            && self.timeout == item.timeout.get()
    }
}

/// Makes the agent have these variables; true if it had others.
pub(super) async fn keep_env(
    writing: &mut Writing,
    owner: Uuid,
    agent: Uuid,
    env: &BTreeMap<String, Variable>,
) -> Result<bool, StoreError> {
    if has_env(writing, owner, agent, env).await? {
        return Ok(false);
    }
    let action = "keep the variables of an agent";
    writing.sql.execute(command("DELETE FROM agent_env WHERE agent_id = ?").bind(agent)).await.doing(action)?;
    for (name, variable) in env {
        let id = Uuid::new_v4();
        let sealed = writing.seal(&TEMPLATE_VALUE.of(owner, id), variable.value.expose()).await?;
        let insert = insert!("agent_env" {
            id: id,
            agent_id: agent,
            name: name,
            value: sealed.data,
            value_key_id: sealed.key,
            sensitive: variable.sensitive,
        });
        writing.sql.execute(insert).await.doing(action)?;
    }
    Ok(true)
}

async fn has_env(
    writing: &mut Writing,
    owner: Uuid,
    agent: Uuid,
    env: &BTreeMap<String, Variable>,
) -> Result<bool, StoreError> {
    let stored = query::<VariableRow>("SELECT {columns} FROM agent_env WHERE agent_id = ? ORDER BY name").bind(agent);
    let stored = writing.sql.all(stored).await.doing("read the variables of an agent")?;
    let same = |(row, (name, variable)): (&VariableRow, (&String, &Variable))| {
        let opened = writing.unseal(&row.value_key_id, &TEMPLATE_VALUE.of(owner, row.id), &row.value);
        let same_value = opened.is_ok_and(|opened| opened == variable.value);
        row.name == *name && row.sensitive == variable.sensitive && same_value
    };
    Ok(stored.len() == env.len() && stored.iter().zip(env).all(same))
}

/// Makes the agent have these scripts; true if it had others.
pub(super) async fn keep_scripts(writing: &mut Writing, agent: Uuid, scripts: &[Script]) -> Result<bool, StoreError> {
    let stored = query::<ScriptRow>("SELECT {columns} FROM scripts WHERE agent_id = ? ORDER BY position").bind(agent);
    let stored = writing.sql.all(stored).await.doing("read the scripts of an agent")?;
    let same = stored.len() == scripts.len() && stored.iter().zip(scripts).all(|(row, script)| row.is(script));
    let names: Vec<String> = scripts.iter().map(|script| script.display_name.value.as_str().to_owned()).collect();
    let drop = command("DELETE FROM scripts WHERE agent_id = ? AND display_name NOT IN ({each text})");
    writing.sql.execute(drop.bind(agent).bind(names)).await.doing("drop scripts")?;
    for (position, script) in (0..).zip(scripts) {
        let source = keep_script(&mut writing.sql, agent, position, script).await?;
        let icon = script.icon.as_ref().map_or("", |icon| icon.as_str());
        logs::keep_source(writing, agent, source, script.display_name.value.as_str(), icon).await?;
    }
    Ok(!same)
}

/// The log source of the script: a changed script keeps its ids, and with them its results and its lines.
async fn keep_script(sql: &mut Connection, agent: Uuid, position: i64, script: &Script) -> Result<Uuid, StoreError> {
    let keep = query::<SourceRow>(
        "INSERT INTO scripts (id, agent_id, position, display_name, log_source_id, script, cron, log_path, timeout, \
                              run_on_start, run_on_stop, start_blocks_login) VALUES (?,?,?,?,?,?,?,?,?,?,?,?) \
         ON CONFLICT (agent_id, display_name) DO UPDATE SET position = excluded.position, script = excluded.script, \
           cron = excluded.cron, log_path = excluded.log_path, timeout = excluded.timeout, \
           run_on_start = excluded.run_on_start, run_on_stop = excluded.run_on_stop, \
           start_blocks_login = excluded.start_blocks_login RETURNING {columns}",
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
    .bind(script.start_blocks_login);
    Ok(sql.one(keep).await.doing("keep a script")?.log_source_id)
}

/// Makes the agent have these items; true if it had others.
pub(super) async fn keep_metadata(
    sql: &mut Connection,
    agent: Uuid,
    metadata: &[Metadata],
) -> Result<bool, StoreError> {
    let stored = query::<MetadataRow>("SELECT {columns} FROM agent_metadata WHERE agent_id = ? ORDER BY position");
    let stored = sql.all(stored.bind(agent)).await.doing("read the metadata of an agent")?;
    let same = stored.len() == metadata.len() && stored.iter().zip(metadata).all(|(row, item)| row.is(item));
    let keys: Vec<String> = metadata.iter().map(|item| item.key.value.as_str().to_owned()).collect();
    let drop = command("DELETE FROM agent_metadata WHERE agent_id = ? AND key NOT IN ({each text})");
    sql.execute(drop.bind(agent).bind(keys)).await.doing("drop metadata")?;
    for (position, item) in (0_i64..).zip(metadata) {
        let keep = insert!("agent_metadata" {
            agent_id: agent,
            key: item.key.value.as_str(),
            position: position,
            display_name: item.display_name.as_ref().unwrap_or(&item.key.value).as_str(),
            script: item.script.as_str(),
            interval: item.interval.get(),
            timeout: item.timeout.get(),
        } "ON CONFLICT (agent_id, key) DO UPDATE SET position = excluded.position, \
             display_name = excluded.display_name, script = excluded.script, interval = excluded.interval, \
             timeout = excluded.timeout");
        sql.execute(keep).await.doing("keep metadata")?;
    }
    Ok(!same)
}
