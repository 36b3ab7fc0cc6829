//! A database of an earlier version: everybody who was let in before the upgrade is let in afterwards, and nobody else.

use std::io::Write as _;

use serde::Deserialize;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use super::audit::Actor;
use super::testing::{self, is_postgres, reopen};
use super::{Algorithm, DataDir, KeySource, Role, Store, StoreError};

const SQLITE: [&str; 2] =
    [include_str!("../../testdata/schema-4/sqlite.sql"), include_str!("../../testdata/schema-4/sqlite.json")];
const POSTGRES: [&str; 2] =
    [include_str!("../../testdata/schema-4/postgres.sql"), include_str!("../../testdata/schema-4/postgres.json")];

/// What is known of the earlier database.
#[derive(Deserialize)]
struct Known {
    encryption_key: String,
    session_token: String,
    agent_token: String,
    public_key: String,
}

/// The earlier database, in a directory of its own.
async fn earlier() -> (TempDir, Known) {
    let dir = testing::directory().await;
    let [sql, known] = if is_postgres(&dir) { POSTGRES } else { SQLITE };
    let known: Known = serde_json::from_str(known).unwrap();
    if let Some(url) = testing::url(&dir) {
        let mut connection = url.options().connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let options = SqliteConnectOptions::new().filename(dir.path().join("coder.db")).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
    let mut key = super::private_file::create(&dir.path().join("encryption.key")).unwrap();
    writeln!(key, "{}", known.encryption_key).unwrap();
    (dir, known)
}

async fn session(store: &Store, known: &Known) -> bool {
    store.tokens().session(&known.session_token.clone().into()).await.unwrap().is_some()
}

#[tokio::test]
async fn tokens_values_and_git_keys_of_the_version_before_still_work() {
    let (dir, known) = earlier().await;
    let store = reopen(&dir).await;
    assert!(session(&store, &known).await);
    let agent = store.agents().by_token(&known.agent_token).await.unwrap().unwrap();
    assert_eq!(agent.path(), "alice/dev/main");
    let sources = store.agents().manifest_sources(&agent).await.unwrap().unwrap();
    assert_eq!(sources.secrets[0].value.as_ref().unwrap().expose(), b"a value of the earlier version");
    assert_eq!(sources.env[0].value.as_ref().unwrap().expose(), b"a template value of the earlier version");
    assert_eq!(sources.env[0].sensitive, None);
    let key = store.git_keys().public(Actor::Administrator, agent.owner_id, Algorithm::default()).await.unwrap();
    assert_eq!(key.public_key.trim_end(), known.public_key);
    let data_dir = DataDir::open(dir.path()).unwrap();
    let rotated = store.keys().rotate(&data_dir, true).await.unwrap();
    assert_eq!((rotated.unproven.len(), rotated.dropped.len()), (0, 1));
    assert!(session(&store, &known).await);
    assert_eq!(store.agents().by_token(&known.agent_token).await.unwrap().unwrap(), agent);
    store.close().await;
    drop(store);
    assert!(session(&reopen(&dir).await, &known).await);
}

/// Only the first server with MACs makes them for rows without one: what is put there later is of somebody who has no key.
#[tokio::test]
async fn a_row_without_a_mac_is_believed_once() {
    let (dir, known) = earlier().await;
    let store = reopen(&dir).await;
    testing::execute(&store, "UPDATE session_tokens SET mac = NULL, mac_key_id = NULL").await;
    testing::execute(&store, "UPDATE agents SET mac = NULL, mac_key_id = NULL").await;
    store.close().await;
    drop(store);
    let store = reopen(&dir).await;
    assert!(!session(&store, &known).await);
    assert!(store.agents().by_token(&known.agent_token).await.unwrap().is_none());
}

/// Also not by a rotation of keys, which makes every MAC anew.
#[tokio::test]
async fn a_changed_row_is_not_believed_and_a_rotation_does_not_make_it_true() {
    let (dir, known) = earlier().await;
    let store = reopen(&dir).await;
    let bob = testing::user(&store, "bob").await;
    let agent = store.agents().by_token(&known.agent_token).await.unwrap().unwrap();
    testing::execute_with(&store, "UPDATE workspaces SET owner_id = ?", &[bob]).await;
    testing::execute_with(&store, "UPDATE session_tokens SET user_id = ?", &[bob]).await;
    let refused = async || {
        assert!(!session(&store, &known).await);
        assert!(store.agents().by_token(&known.agent_token).await.unwrap().is_none());
    };
    refused().await;
    let data_dir = DataDir::open(dir.path()).unwrap();
    let rotated = store.keys().rotate(&data_dir, true).await.unwrap_err().to_string();
    assert!(rotated.contains("agent_env"), "the template's value is bound to its owner, too: {rotated}");
    testing::execute(&store, "DELETE FROM agent_env").await;
    let rotated = store.keys().rotate(&data_dir, true).await.unwrap();
    let token = known.session_token.split('-').next().unwrap();
    assert_eq!(rotated.unproven, [format!("session_tokens {token}"), format!("agents {}", agent.id)]);
    refused().await;
    // The owner back in place does not bring them back: a MAC that did not hold is gone.
    testing::execute_with(&store, "UPDATE workspaces SET owner_id = ?", &[agent.owner_id]).await;
    refused().await;
}

#[tokio::test]
async fn a_command_does_not_make_the_macs() {
    let (dir, _known) = earlier().await;
    let data_dir = DataDir::open(dir.path()).unwrap();
    let open = async |role| {
        let keys = KeySource::File(data_dir.key_file());
        Store::open_as(role, &data_dir, testing::url(&dir).as_ref(), keys).await
    };
    assert!(matches!(open(Role::Command).await.err().unwrap(), StoreError::Outdated { found: 4, .. }));
    let store = open(Role::Server).await.unwrap();
    testing::execute(&store, "UPDATE deployment SET macs = FALSE").await;
    store.close().await;
    drop(store);
    assert!(matches!(open(Role::Command).await.err().unwrap(), StoreError::Unbound));
    open(Role::Server).await.unwrap().close().await;
    open(Role::Command).await.unwrap().close().await;
}
