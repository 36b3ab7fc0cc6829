//! The rows that have a MAC: making it for old rows, anew when keys are rotated, and asking it at each use.

use uuid::Uuid;

use super::engine::{Connection, Database, Doing, FromRow, Query, Role, StoreError, Writing, command, query, row};
use super::keys::sealed::GIT_PRIVATE_KEY;
use super::keys::{Claim, KeyError, KeyId, Keyring, Mac};

/// Rows that one transaction gives a new MAC, so that other writes wait for milliseconds only.
const BATCH: i64 = 100;

row! {
    struct MadeRow { macs: bool }
}

/// The MAC of a row, as it was read.
pub(super) struct Stored {
    pub(super) mac: Option<Vec<u8>>,
    pub(super) key: Option<KeyId>,
}

impl Stored {
    /// Whether a server with the keys wrote what `claim` says.
    pub(super) fn proves(&self, keys: &Keyring, claim: &Claim) -> bool {
        matches!((&self.mac, &self.key), (Some(mac), Some(key)) if keys.proves(key, claim, mac))
    }
}

/// A kind of row with a MAC.
trait Proven: FromRow + Send + 'static {
    /// Rows without one.
    const WITHOUT: &'static str;
    /// At most so many rows (second placeholder) whose MAC is under another key (first).
    const UNDER_OTHERS: &'static str;

    /// Table and row, for messages.
    fn named(&self) -> String;
    /// What the row says.
    fn claim(&self, keys: &Keyring) -> Result<Claim, KeyError>;
    /// Its MAC.
    fn stored(&mut self) -> Stored;
    /// Gives it another one, unless it says something else by now. `None` makes it a row that is not trusted.
    fn keep(self, mac: Option<Mac>) -> Query<()>;
}

row! {
    struct SessionRow {
        id: String,
        user_id: Uuid,
        secret_hash: Vec<u8>,
        scope: String,
        mac: Option<Vec<u8>>,
        mac_key_id: Option<KeyId>,
    }
}

impl Proven for SessionRow {
    const WITHOUT: &'static str = "SELECT {columns} FROM session_tokens WHERE mac IS NULL";
    const UNDER_OTHERS: &'static str = "SELECT {columns} FROM session_tokens WHERE mac_key_id <> ? LIMIT ?";

    fn named(&self) -> String {
        format!("session_tokens {}", self.id)
    }

    fn claim(&self, _: &Keyring) -> Result<Claim, KeyError> {
        Ok(Claim::session_token(&self.id, self.user_id, &self.secret_hash, &self.scope))
    }

    fn stored(&mut self) -> Stored {
        Stored { mac: self.mac.take(), key: self.mac_key_id.take() }
    }

    fn keep(self, mac: Option<Mac>) -> Query<()> {
        set("UPDATE session_tokens SET mac = ?, mac_key_id = ? WHERE id = ? AND user_id = ? AND secret_hash = ?", mac)
            .bind(self.id)
            .bind(self.user_id)
            .bind(self.secret_hash)
    }
}

row! {
    struct AgentRow {
        id: Uuid = "a.id",
        workspace_id: Uuid = "a.workspace_id",
        owner_id: Uuid = "w.owner_id",
        token_hash: Vec<u8> = "a.token_hash",
        mac: Option<Vec<u8>> = "a.mac",
        mac_key_id: Option<KeyId> = "a.mac_key_id",
    }
}

impl Proven for AgentRow {
    const WITHOUT: &'static str =
        "SELECT {columns} FROM agents a JOIN workspaces w ON w.id = a.workspace_id WHERE a.mac IS NULL";
    const UNDER_OTHERS: &'static str =
        "SELECT {columns} FROM agents a JOIN workspaces w ON w.id = a.workspace_id WHERE a.mac_key_id <> ? LIMIT ?";

    fn named(&self) -> String {
        format!("agents {}", self.id)
    }

    fn claim(&self, _: &Keyring) -> Result<Claim, KeyError> {
        Ok(Claim::agent_token(self.id, self.workspace_id, self.owner_id, &self.token_hash))
    }

    fn stored(&mut self) -> Stored {
        Stored { mac: self.mac.take(), key: self.mac_key_id.take() }
    }

    fn keep(self, mac: Option<Mac>) -> Query<()> {
        set("UPDATE agents SET mac = ?, mac_key_id = ? WHERE id = ? AND token_hash = ?", mac)
            .bind(self.id)
            .bind(self.token_hash)
    }
}

row! {
    struct GitKeyRow {
        user_id: Uuid,
        public_key: String,
        private_key: Vec<u8>,
        private_key_key_id: KeyId,
        mac: Option<Vec<u8>>,
        mac_key_id: Option<KeyId>,
    }
}

impl Proven for GitKeyRow {
    const WITHOUT: &'static str = "SELECT {columns} FROM git_ssh_keys WHERE mac IS NULL";
    const UNDER_OTHERS: &'static str = "SELECT {columns} FROM git_ssh_keys WHERE mac_key_id <> ? LIMIT ?";

    fn named(&self) -> String {
        format!("git_ssh_keys {}", self.user_id)
    }

    fn claim(&self, keys: &Keyring) -> Result<Claim, KeyError> {
        let place = GIT_PRIVATE_KEY.of(self.user_id, self.user_id);
        let private = keys.unseal(&self.private_key_key_id, &place, &self.private_key)?;
        Ok(Claim::git_key(self.user_id, &self.public_key, &private))
    }

    fn stored(&mut self) -> Stored {
        Stored { mac: self.mac.take(), key: self.mac_key_id.take() }
    }

    fn keep(self, mac: Option<Mac>) -> Query<()> {
        set("UPDATE git_ssh_keys SET mac = ?, mac_key_id = ? WHERE user_id = ? AND public_key = ?", mac)
            .bind(self.user_id)
            .bind(self.public_key)
    }
}

fn set(sql: &'static str, mac: Option<Mac>) -> Query<()> {
    let (data, key) = mac.map(|mac| (mac.data, mac.key)).unzip();
    command(sql).bind(data).bind(key)
}

/// Makes the MACs of a database that has none yet: once, by the first server that knows them. From then on a row without one is of
/// somebody who has no key. In a transaction.
pub(super) async fn make(
    sql: &mut Connection,
    keys: &Keyring,
    active: Option<KeyId>,
    role: Role,
) -> Result<(), StoreError> {
    let action = "bind tokens to the encryption key";
    if sql.one(query::<MadeRow>("SELECT {columns} FROM deployment")).await.doing(action)?.macs {
        return Ok(());
    }
    if role == Role::Command {
        return Err(StoreError::Unbound);
    }
    let active = active.ok_or(StoreError::Malformed { what: "encryption_keys.active" })?;
    let tokens = make_for::<SessionRow>(sql, keys, &active).await?;
    let agents = make_for::<AgentRow>(sql, keys, &active).await?;
    let git_keys = make_for::<GitKeyRow>(sql, keys, &active).await?;
    sql.execute(command("UPDATE deployment SET macs = TRUE")).await.doing(action)?;
    if tokens + agents + git_keys > 0 {
        tracing::info!(tokens, agents, git_keys, key = %active, "bound tokens and git keys to the encryption key");
    }
    Ok(())
}

async fn make_for<R: Proven>(sql: &mut Connection, keys: &Keyring, active: &KeyId) -> Result<usize, StoreError> {
    let action = "bind tokens to the encryption key";
    let mut made = 0;
    for row in sql.all(query::<R>(R::WITHOUT)).await.doing(action)? {
        let mac = row.claim(keys).and_then(|claim| keys.mac(active, &claim));
        match mac {
            Ok(mac) => {
                sql.execute(row.keep(Some(mac))).await.doing(action)?;
                made += 1;
            }
            // A private key that does not open: its pair could not be used before either.
            Err(error) => tracing::error!(%error, row = row.named(), "cannot bind a row to the encryption key"),
        }
    }
    Ok(made)
}

/// Brings every MAC under the active key, and returns the rows whose old one did not hold: they stay without.
pub(super) async fn renew(database: &Database) -> Result<Vec<String>, StoreError> {
    let mut unproven = renew_for::<SessionRow>(database).await?;
    unproven.extend(renew_for::<AgentRow>(database).await?);
    unproven.extend(renew_for::<GitKeyRow>(database).await?);
    Ok(unproven)
}

async fn renew_for<R: Proven>(database: &Database) -> Result<Vec<String>, StoreError> {
    let mut unproven = Vec::new();
    loop {
        let batch = database.write(|writing| Box::pin(renew_batch::<R>(writing))).await?;
        match batch {
            Some(more) => unproven.extend(more),
            None => return Ok(unproven),
        }
    }
}

/// The unproven of one batch; none when nothing was left.
async fn renew_batch<R: Proven>(writing: &mut Writing) -> Result<Option<Vec<String>>, StoreError> {
    let action = "make a MAC anew";
    let active = writing.active_key().await?;
    let rows = writing.sql.all(query::<R>(R::UNDER_OTHERS).bind(&active).bind(BATCH)).await.doing(action)?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut unproven = Vec::new();
    for mut row in rows {
        let stored = row.stored();
        // A MAC for whatever stands there would be what somebody without the key waits for.
        let claim = row.claim(writing.keys()).ok().filter(|claim| stored.proves(writing.keys(), claim));
        let mac = match claim {
            Some(claim) => Some(writing.mac(&claim).await?),
            None => None,
        };
        if mac.is_none() {
            unproven.push(row.named());
        }
        writing.sql.execute(row.keep(mac)).await.doing(action)?;
    }
    Ok(Some(unproven))
}

/// Which tokens were ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedTokens {
    /// Session tokens of users. They are gone.
    pub sessions: u64,
    /// Agents that need a new token.
    pub agents: u64,
}

/// Ends every token, of users and of agents.
pub(super) async fn end_tokens(writing: &mut Writing) -> Result<EndedTokens, StoreError> {
    let action = "end tokens";
    let sessions = writing.sql.execute(command("DELETE FROM session_tokens")).await.doing(action)?;
    let agents = command("UPDATE agents SET mac = NULL, mac_key_id = NULL");
    let agents = writing.sql.execute(agents).await.doing(action)?;
    Ok(EndedTokens { sessions, agents })
}
