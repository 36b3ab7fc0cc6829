//! Everything a manifest is made of, in one snapshot.

use jiff::Timestamp;
use protocol::secret::Secret;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::super::{Doing, KeyId, Place, Store, StoreError, time};
use super::belongings;
use super::presence::AgentIdentity;
use super::view::{Metadata, Script};

/// What a manifest is made of.
#[derive(Debug)]
pub struct ManifestSources {
    /// Where scripts and sessions start.
    pub directory: String,
    /// Path of what is shown at login.
    pub motd_path: String,
    /// The merged variables of the template. A value that does not open is an error of its own.
    pub env: Vec<(String, Result<Secret, StoreError>)>,
    /// In the order of the definition.
    pub scripts: Vec<Script>,
    /// In the order of the definition.
    pub metadata: Vec<Metadata>,
    /// The owner's enabled secrets that have a target, by name.
    pub secrets: Vec<DeliveredSecret>,
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

impl Store {
    /// What the manifest of `agent` is made of; none when the agent, or the token it came with, is gone.
    pub async fn manifest_sources(&self, agent: &AgentIdentity) -> Result<Option<ManifestSources>, StoreError> {
        let row = sqlx::query(SOURCES)
            .bind(agent.owner_id)
            .bind(agent.id)
            .bind(agent.token_hash.as_slice())
            .fetch_optional(self.reader())
            .await
            .doing("read what a manifest is made of")?;
        let Some(row) = row else { return Ok(None) };
        let opened = |place: Place, value: &Hex, key: &str| self.unseal(&KeyId::stored(key), &place, &value.0);
        let owner = agent.owner_id;
        let variable =
            |(id, name, value, key): VariableRow| (name, opened(belongings::env_place(owner, id), &value, &key));
        let secret = |(id, name, env_name, file_path, value, key): SecretRow| {
            let place = Place { table: "user_secrets", user: owner, row: id, column: "value" };
            DeliveredSecret { name, env_name, file_path, value: opened(place, &value, &key) }
        };
        Ok(Some(ManifestSources {
            directory: row.get(0),
            motd_path: row.get(1),
            env: list(&row, 2)?.into_iter().map(variable).collect(),
            scripts: list(&row, 3)?.into_iter().map(script).collect(),
            metadata: list(&row, 4)?.into_iter().map(metadata).collect(),
            secrets: list(&row, 5)?.into_iter().map(secret).collect(),
        }))
    }

    /// When the agent last got secrets; none when it never did, or when the audit log has forgotten it.
    pub async fn last_delivery(&self, agent: Uuid) -> Result<Option<Delivery>, StoreError> {
        let row = sqlx::query(
            "SELECT at, address, coalesce(diff ->> 'delivered', 0) FROM audit \
             WHERE actor_id = ? AND action = 'deliver' AND status = 200 ORDER BY id DESC LIMIT 1",
        )
        .bind(agent)
        .fetch_optional(self.reader())
        .await
        .doing("look up a delivery")?;
        Ok(row.map(|row| Delivery { time: time(row.get(0)), address: row.get(1), secrets: row.get(2) }))
    }
}

/// One statement is one snapshot, and one row: each row on its way from the thread of a connection to the one that asks costs more than
/// reading it, and a manifest has sixty.
const SOURCES: &str = "\
SELECT directory, motd_path,
  (SELECT json_group_array(json_array(hex(id), name, hex(value), value_key_id) ORDER BY name)
   FROM agent_env WHERE agent_id = agents.id),
  (SELECT json_group_array(json_array(hex(id), hex(log_source_id), display_name, script, cron, log_path, timeout,
                                      run_on_start, run_on_stop, start_blocks_login) ORDER BY position)
   FROM scripts WHERE agent_id = agents.id),
  (SELECT json_group_array(json_array(key, display_name, script, interval, timeout) ORDER BY position)
   FROM agent_metadata WHERE agent_id = agents.id),
  (SELECT json_group_array(json_array(hex(id), name, env_name, file_path, hex(value), value_key_id) ORDER BY name)
   FROM user_secrets WHERE user_id = ? AND enabled AND (env_name <> '' OR file_path <> ''))
FROM agents WHERE id = ? AND token_hash = ?";

type VariableRow = (Uuid, String, Hex, String);
type SecretRow = (Uuid, String, String, String, Hex, String);
type ScriptRow = (Uuid, Uuid, String, String, String, String, i64, u8, u8, u8);
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

fn list<'r, T: Deserialize<'r>>(row: &'r SqliteRow, column: usize) -> Result<Vec<T>, StoreError> {
    serde_json::from_str(row.get(column)).map_err(|_| StoreError::Malformed { what: "a part of a manifest" })
}

/// Of its results a manifest tells nothing.
fn script(row: ScriptRow) -> Script {
    let (id, log_source_id, display_name, script, cron, log_path, timeout, start, stop, blocks) = row;
    Script {
        id,
        log_source_id,
        display_name,
        script,
        cron,
        log_path,
        timeout,
        run_on_start: start != 0,
        run_on_stop: stop != 0,
        start_blocks_login: blocks != 0,
        last: None,
    }
}

/// Of what was collected, neither.
fn metadata((key, display_name, script, interval, timeout): MetadataRow) -> Metadata {
    let (value, error) = (String::new(), String::new());
    Metadata { key, display_name, script, interval, timeout, value, error, collected_at: None }
}
