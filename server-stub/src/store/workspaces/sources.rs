//! Everything a manifest is made of, in one snapshot.

use jiff::Timestamp;
use protocol::secret::Secret;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use super::super::engine::{query, row};
use super::super::keys::sealed::{SCRIPT_TEXT, SECRET_VALUE, TEMPLATE_VALUE};
use super::super::keys::{KeyId, Place};
use super::super::{Doing, Generation, StoreError};
use super::view::{Metadata, Script, shown_name};
use super::{AgentIdentity, Agents};

/// What a manifest is made of.
#[derive(Debug)]
pub struct ManifestSources {
    /// Where scripts and sessions start.
    pub directory: String,
    /// Path of what is shown at login.
    pub motd_path: String,
    /// Which state of all this it is.
    pub generation: Generation,
    /// The workspace gets nothing any more.
    pub is_revoked: bool,
    /// The merged variables of the template, by name.
    pub env: Vec<DeliveredVariable>,
    /// In the order of the definition.
    pub scripts: Vec<Script>,
    /// In the order of the definition.
    pub metadata: Vec<Metadata>,
    /// The owner's enabled secrets that have a target, by name.
    pub secrets: Vec<DeliveredSecret>,
}

/// A variable of the template on its way to an agent.
#[derive(Debug)]
pub struct DeliveredVariable {
    /// Its name.
    pub name: String,
    /// The value, unless it does not open.
    pub value: Result<Secret, StoreError>,
    /// Whether it is a secret; none where the definition does not say.
    pub sensitive: Option<bool>,
}

/// A user secret on its way to an agent.
#[derive(Debug)]
pub struct DeliveredSecret {
    /// Its name; the agent is not told.
    pub name: String,
    /// Environment variable target, or empty.
    pub env_name: String,
    /// File target, or empty.
    pub file_path: String,
    /// The value, unless it does not open.
    pub value: Result<Secret, StoreError>,
}

/// A delivery of secrets, from the audit log.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// When.
    pub time: Timestamp,
    /// Where the agent was.
    pub address: String,
    /// How many secrets it got.
    pub secrets: i64,
}

row! {
    /// One statement is one snapshot, and one row: each row on its way from the thread of a connection to the one that asks costs more
    /// than reading it, and a manifest has sixty.
    struct SourcesRow {
        directory: String,
        motd_path: String,
        epoch: i64 = "(SELECT epoch FROM deployment)",
        generation: i64 = "(SELECT u.generation + w.generation + d.generation
            FROM workspaces w JOIN users u ON u.id = w.owner_id CROSS JOIN deployment d WHERE w.id = agents.workspace_id)",
        revoked_at: Option<Timestamp> = "(SELECT revoked_at FROM workspaces WHERE id = agents.workspace_id)",
        env: String = "(SELECT {rows {id id}, name, {hex value}, value_key_id, sensitive ORDER BY name}
            FROM agent_env WHERE agent_id = agents.id)",
        scripts: String = "(SELECT {rows {id id}, {id log_source_id}, display_name, script, {hex sealed_script},
                sealed_script_key_id, cron, log_path, timeout, run_on_start, run_on_stop, start_blocks_login ORDER BY position}
            FROM scripts WHERE agent_id = agents.id)",
        metadata: String = "(SELECT {rows key, display_name, script, interval, timeout ORDER BY position}
            FROM agent_metadata WHERE agent_id = agents.id)",
        secrets: String = "(SELECT {rows {id id}, name, env_name, file_path, {hex value}, value_key_id ORDER BY name}
            FROM user_secrets WHERE user_id = ? AND agents.user_data AND enabled AND (env_name <> '' OR file_path <> ''))",
    }
}

row! {
    struct DeliveryRow { at: Timestamp, address: String, diff: String }
}

impl Agents<'_> {
    /// What the manifest of `agent` is made of; none when the agent, or the token it came with, is gone, the owner
    /// is suspended, or the workspace stopped.
    pub async fn manifest_sources(&self, agent: &AgentIdentity) -> Result<Option<ManifestSources>, StoreError> {
        let sources = query::<SourcesRow>(
            "SELECT {columns} FROM agents WHERE id = ? AND token_hash = ? AND EXISTS (SELECT 1 FROM workspaces w \
               JOIN users u ON u.id = w.owner_id WHERE w.id = agents.workspace_id AND u.suspended_at IS NULL \
               AND w.stopped_at IS NULL)",
        )
        .bind(agent.owner_id)
        .bind(agent.id)
        .bind(agent.token_hash);
        let row = self.0.optional(sources).await.doing("read what a manifest is made of")?;
        let Some(row) = row else { return Ok(None) };
        let opened = |place: Place, value: &Hex, key: &str| {
            self.0.keys().unseal(&KeyId::stored(key), &place, &value.0).map_err(StoreError::from)
        };
        let owner = agent.owner_id;
        let variable = |(id, name, value, key, sensitive): VariableRow| {
            let value = opened(TEMPLATE_VALUE.of(owner, id), &value, &key);
            DeliveredVariable { name, value, sensitive: sensitive.map(|flag| flag.is_set()) }
        };
        let secret = |(id, name, env_name, file_path, value, key): SecretRow| {
            let value = opened(SECRET_VALUE.of(owner, id), &value, &key);
            DeliveredSecret { name, env_name, file_path, value }
        };
        let text = |id: Uuid, data: &Hex, key: &str| opened(SCRIPT_TEXT.of(owner, id), data, key);
        Ok(Some(ManifestSources {
            env: list(&row.env)?.into_iter().map(variable).collect(),
            scripts: list(&row.scripts)?.into_iter().map(|row| script(row, text)).collect(),
            metadata: list(&row.metadata)?.into_iter().map(metadata).collect(),
            secrets: list(&row.secrets)?.into_iter().map(secret).collect(),
            generation: Generation { epoch: row.epoch, number: row.generation },
            is_revoked: row.revoked_at.is_some(),
            directory: row.directory,
            motd_path: row.motd_path,
        }))
    }

    /// When the agent last got secrets; none when it never did, or when the audit log has forgotten it.
    pub async fn last_delivery(&self, agent: Uuid) -> Result<Option<Delivery>, StoreError> {
        let last = query::<DeliveryRow>(
            "SELECT {columns} FROM audit WHERE actor_id = ? AND action = 'deliver' AND status = 200 \
             ORDER BY id DESC LIMIT 1",
        );
        let row = self.0.optional(last.bind(agent)).await.doing("look up a delivery")?;
        let delivered = |diff: &str| {
            let diff: serde_json::Value = serde_json::from_str(diff).unwrap_or_default();
            diff["delivered"].as_i64().unwrap_or_default()
        };
        Ok(row.map(|row| Delivery { time: row.at, secrets: delivered(&row.diff), address: row.address }))
    }
}

type VariableRow = (Uuid, String, Hex, String, Option<Flag>);
type SecretRow = (Uuid, String, String, String, Hex, String);
type ScriptRow = (Uuid, Uuid, String, String, Option<Hex>, Option<String>, String, String, i64, Flag, Flag, Flag);
type MetadataRow = (String, String, String, i64, i64);

/// A sealed value on its way through JSON.
struct Hex(Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        let mut bytes = vec![0; text.len() / 2];
        hex::decode_to_slice(text, &mut bytes).map_err(D::Error::custom)?;
        Ok(Self(bytes))
    }
}

/// A boolean on its way through JSON: SQLite has numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Number(u8),
}

impl Flag {
    fn is_set(&self) -> bool {
        matches!(self, Self::Bool(true) | Self::Number(1..))
    }
}

fn list<'r, T: Deserialize<'r>>(column: &'r str) -> Result<Vec<T>, StoreError> {
    serde_json::from_str(column).map_err(|_| StoreError::Malformed { what: "a part of a manifest" })
}

/// Of its results a manifest tells nothing. A sealed text is opened by `open`.
fn script(row: ScriptRow, open: impl Fn(Uuid, &Hex, &str) -> Result<Secret, StoreError>) -> Script {
    let (id, log_source_id, display_name, script, sealed, key, cron, log_path, timeout, start, stop, blocks) = row;
    let opened = sealed.as_ref().zip(key.as_ref()).map(|(data, key)| open(id, data, key));
    let script = match opened {
        None => script,
        Some(Ok(text)) => text.expose_str().unwrap_or_default().to_owned(),
        // It must not pass for one that has nothing to do.
        Some(Err(error)) => {
            tracing::error!(%error, script = %id, "cannot open a script");
            "echo 'the server could not decrypt this script; ask its administrator' >&2; exit 1".to_owned()
        }
    };
    Script {
        id,
        log_source_id,
        display_name: shown_name(&display_name).to_owned(),
        script,
        sensitive: sealed.is_some(),
        cron,
        log_path,
        timeout,
        run_on_start: start.is_set(),
        run_on_stop: stop.is_set(),
        start_blocks_login: blocks.is_set(),
        last: None,
    }
}

/// Of what was collected, neither.
fn metadata((key, display_name, script, interval, timeout): MetadataRow) -> Metadata {
    let (value, error) = (String::new(), String::new());
    Metadata { key, display_name, script, interval, timeout, value, error, collected_at: None }
}
