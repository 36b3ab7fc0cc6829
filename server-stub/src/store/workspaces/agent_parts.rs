//! The parts of an agent that a definition names: its variables, scripts and metadata. Each function makes the agent have them, and adds
//! what it changed to `changes`: names, never values.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use protocol::definition::{Agent, AgentMetadata, Script, Variable};
use protocol::secret::Secret;
use uuid::Uuid;

use super::super::engine::{Writing, command, insert, query, row};
use super::super::keys::KeyId;
use super::super::keys::sealed::{SCRIPT_TEXT, TEMPLATE_VALUE};
use super::super::{Doing, StoreError};
use super::logs;
use super::view::{script_key, shown_name};

row! {
    struct VariableRow { id: Uuid, name: String, value: Vec<u8>, value_key_id: KeyId, sensitive: Option<bool> }
}

row! {
    struct ScriptRow {
        id: Uuid,
        log_source_id: Uuid,
        display_name: String,
        script: String,
        sealed_script: Option<Vec<u8>>,
        sealed_script_key_id: Option<KeyId>,
        cron: String,
        log_path: String,
        timeout: i64,
        run_on_start: bool,
        run_on_stop: bool,
        start_blocks_login: bool,
        position: i64,
    }
}

row! {
    struct MetadataRow { key: String, display_name: String, script: String, interval: i64, timeout: i64, position: i64 }
}

impl MetadataRow {
    fn is(&self, item: &AgentMetadata, position: i64) -> bool {
        self.display_name == item.display_name
            && self.script == item.script
            && self.interval == item.interval
            && self.timeout == item.timeout
            && self.position == position
    }
}

/// Makes the agent have the variables of its definition.
pub(super) async fn keep_env(
    writing: &mut Writing,
    owner: Uuid,
    agent: Uuid,
    wanted: &Agent,
    changes: &mut Vec<String>,
) -> Result<(), StoreError> {
    let before = changes.len();
    let stored = query::<VariableRow>("SELECT {columns} FROM agent_env WHERE agent_id = ? ORDER BY name").bind(agent);
    let stored = writing.sql.all(stored).await.doing("read the variables of an agent")?;
    let mut gone: BTreeSet<&str> = BTreeSet::new();
    let mut known: BTreeMap<&str, bool> = BTreeMap::new();
    for row in &stored {
        let Some(variable) = wanted.env.get(&row.name) else {
            gone.insert(&row.name);
            continue;
        };
        let opened = writing.unseal(&row.value_key_id, &TEMPLATE_VALUE.of(owner, row.id), &row.value);
        let same = row.sensitive == variable.sensitive && opened.is_ok_and(|opened| opened == variable.value);
        known.insert(&row.name, same);
    }
    for name in wanted.env.keys() {
        match known.get(name.as_str()) {
            Some(true) => {}
            Some(false) => changes.push(format!("agent {}: variable {name} changed", wanted.name)),
            None => changes.push(format!("agent {}: variable {name} added", wanted.name)),
        }
    }
    changes.extend(gone.iter().map(|name| format!("agent {}: variable {name} removed", wanted.name)));
    if changes.len() > before { replace_env(writing, owner, agent, &wanted.env).await } else { Ok(()) }
}

async fn replace_env(
    writing: &mut Writing,
    owner: Uuid,
    agent: Uuid,
    env: &BTreeMap<String, Variable>,
) -> Result<(), StoreError> {
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
    Ok(())
}

/// Makes the agent have the scripts of its definition. A changed script keeps its ids, and with them its results and its lines.
pub(super) async fn keep_scripts(
    writing: &mut Writing,
    owner: Uuid,
    agent: Uuid,
    wanted: &Agent,
    changes: &mut Vec<String>,
) -> Result<(), StoreError> {
    let stored = query::<ScriptRow>("SELECT {columns} FROM scripts WHERE agent_id = ? ORDER BY position").bind(agent);
    let stored = writing.sql.all(stored).await.doing("read the scripts of an agent")?;
    let mut stored: HashMap<String, ScriptRow> =
        stored.into_iter().map(|row| (row.display_name.clone(), row)).collect();
    let mut uses: HashMap<&str, usize> = HashMap::new();
    let mut kept = Vec::with_capacity(wanted.scripts.len());
    for (position, script) in (0_i64..).zip(&wanted.scripts) {
        let name = script.display_name.as_str();
        let nth = uses.entry(name).or_default();
        *nth += 1;
        let key = script_key(name, *nth);
        let old = stored.remove(&key);
        let what = match &old {
            Some(old) if is_same(writing, owner, old, script, position) => None,
            Some(_) => Some("changed"),
            None => Some("added"),
        };
        let (id, source) = old.map_or_else(|| (Uuid::new_v4(), Uuid::new_v4()), |row| (row.id, row.log_source_id));
        logs::keep_source(writing, agent, source, name, &script.icon).await?;
        if let Some(what) = what {
            changes.push(format!("agent {}: script {name} {what}", wanted.name));
            keep_script(writing, (owner, agent, id, source), position, &key, script).await?;
        }
        kept.push(key);
    }
    changes.extend(stored.keys().map(|key| format!("agent {}: script {} removed", wanted.name, shown_name(key))));
    let delete = command("DELETE FROM scripts WHERE agent_id = ? AND display_name NOT IN ({each text})");
    writing.sql.execute(delete.bind(agent).bind(kept)).await.map(drop).doing("drop scripts")
}

fn is_same(writing: &Writing, owner: Uuid, row: &ScriptRow, script: &Script, position: i64) -> bool {
    let text = match (&row.sealed_script, &row.sealed_script_key_id) {
        (Some(data), Some(key)) => writing.unseal(key, &SCRIPT_TEXT.of(owner, row.id), data).ok(),
        _ => Some(Secret::from(row.script.clone())),
    };
    text.is_some_and(|text| text == script.script)
        && row.sealed_script.is_some() == script.sensitive
        && row.cron == script.runs.cron
        && row.log_path == script.log_path
        && row.timeout == script.timeout
        && row.run_on_start == script.runs.run_on_start
        && row.run_on_stop == script.runs.run_on_stop
        && row.start_blocks_login == script.runs.start_blocks_login
        && row.position == position
}

async fn keep_script(
    writing: &mut Writing,
    (owner, agent, id, source): (Uuid, Uuid, Uuid, Uuid),
    position: i64,
    key: &str,
    script: &Script,
) -> Result<(), StoreError> {
    let sealed = if script.sensitive {
        Some(writing.seal(&SCRIPT_TEXT.of(owner, id), script.script.expose()).await?)
    } else {
        None
    };
    let text = if script.sensitive { "" } else { script.script.expose_str().unwrap_or_default() };
    let (data, key_id) = sealed.map(|sealed| (sealed.data, sealed.key)).unzip();
    let keep = insert!("scripts" {
        id: id,
        agent_id: agent,
        position: position,
        display_name: key,
        log_source_id: source,
        script: text,
        sealed_script: data,
        sealed_script_key_id: key_id,
        cron: &script.runs.cron,
        log_path: &script.log_path,
        timeout: script.timeout,
        run_on_start: script.runs.run_on_start,
        run_on_stop: script.runs.run_on_stop,
        start_blocks_login: script.runs.start_blocks_login,
    } "ON CONFLICT (agent_id, display_name) DO UPDATE SET position = excluded.position, script = excluded.script, \
         sealed_script = excluded.sealed_script, sealed_script_key_id = excluded.sealed_script_key_id, \
         cron = excluded.cron, log_path = excluded.log_path, timeout = excluded.timeout, \
         run_on_start = excluded.run_on_start, run_on_stop = excluded.run_on_stop, \
         start_blocks_login = excluded.start_blocks_login");
    writing.sql.execute(keep).await.map(drop).doing("keep a script")
}

/// Makes the agent have the metadata of its definition. A changed item keeps its last value.
pub(super) async fn keep_metadata(
    writing: &mut Writing,
    agent: Uuid,
    wanted: &Agent,
    changes: &mut Vec<String>,
) -> Result<(), StoreError> {
    let stored = query::<MetadataRow>("SELECT {columns} FROM agent_metadata WHERE agent_id = ? ORDER BY position");
    let stored = writing.sql.all(stored.bind(agent)).await.doing("read the metadata of an agent")?;
    let mut stored: HashMap<String, MetadataRow> = stored.into_iter().map(|row| (row.key.clone(), row)).collect();
    for (position, item) in (0_i64..).zip(&wanted.metadata) {
        let what = match stored.remove(&item.key) {
            Some(row) if row.is(item, position) => continue,
            Some(_) => "changed",
            None => "added",
        };
        changes.push(format!("agent {}: metadata {} {what}", wanted.name, item.key));
        let keep = insert!("agent_metadata" {
            agent_id: agent,
            key: &item.key,
            position: position,
            display_name: &item.display_name,
            script: &item.script,
            interval: item.interval,
            timeout: item.timeout,
        } "ON CONFLICT (agent_id, key) DO UPDATE SET position = excluded.position, \
             display_name = excluded.display_name, script = excluded.script, interval = excluded.interval, \
             timeout = excluded.timeout");
        writing.sql.execute(keep).await.doing("keep metadata")?;
    }
    for key in stored.into_keys() {
        changes.push(format!("agent {}: metadata {key} removed", wanted.name));
        let delete = command("DELETE FROM agent_metadata WHERE agent_id = ? AND key = ?").bind(agent).bind(key);
        writing.sql.execute(delete).await.doing("drop metadata")?;
    }
    Ok(())
}
