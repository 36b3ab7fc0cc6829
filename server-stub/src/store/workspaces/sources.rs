//! Everything a manifest is made of, in one snapshot.

use jiff::Timestamp;
use protocol::secret::Secret;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::super::{Doing, KeyId, Place, Store, StoreError, time};
use super::belongings;
use super::presence::AgentIdentity;
use super::read;
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
        let action = "read what a manifest is made of";
        let mut reading = self.reader().begin().await.doing(action)?;
        let row = sqlx::query("SELECT directory, motd_path FROM agents WHERE id = ? AND token_hash = ?")
            .bind(agent.id)
            .bind(agent.token_hash.as_slice())
            .fetch_optional(&mut *reading)
            .await
            .doing(action)?;
        let Some(row) = row else { return Ok(None) };
        let env = self.template_env(&mut reading, agent).await?;
        let secrets = self.enabled_secrets(&mut reading, agent.owner_id).await?;
        Ok(Some(ManifestSources {
            directory: row.get(0),
            motd_path: row.get(1),
            env,
            scripts: read::scripts(&mut reading, agent.id).await?,
            metadata: read::metadata(&mut reading, agent.id).await?,
            secrets,
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

    async fn template_env(
        &self,
        connection: &mut SqliteConnection,
        agent: &AgentIdentity,
    ) -> Result<Vec<(String, Result<Secret, StoreError>)>, StoreError> {
        let rows = sqlx::query("SELECT id, name, value, value_key_id FROM agent_env WHERE agent_id = ? ORDER BY name")
            .bind(agent.id)
            .fetch_all(connection)
            .await
            .doing("read the variables of an agent")?;
        let variable = |row: &SqliteRow| {
            let place = belongings::env_place(agent.owner_id, row.get(0));
            (row.get(1), self.unseal(&KeyId::stored(row.get(3)), &place, row.get(2)))
        };
        Ok(rows.iter().map(variable).collect())
    }

    async fn enabled_secrets(
        &self,
        connection: &mut SqliteConnection,
        owner: Uuid,
    ) -> Result<Vec<DeliveredSecret>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, name, env_name, file_path, value, value_key_id FROM user_secrets \
             WHERE user_id = ? AND enabled AND (env_name <> '' OR file_path <> '') ORDER BY name",
        )
        .bind(owner)
        .fetch_all(connection)
        .await
        .doing("read the secrets of a user")?;
        let secret = |row: &SqliteRow| {
            let place = Place { table: "user_secrets", user: owner, row: row.get(0), column: "value" };
            DeliveredSecret {
                name: row.get(1),
                env_name: row.get(2),
                file_path: row.get(3),
                value: self.unseal(&KeyId::stored(row.get(5)), &place, row.get(4)),
            }
        };
        Ok(rows.iter().map(secret).collect())
    }
}
