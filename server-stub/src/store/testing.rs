//! A real database in a scratch directory, or in a schema of its own.
//!
//! Tests run on SQLite, and once more on PostgreSQL if `CODER_TEST_DATABASE_URL` names a database for them.

use std::path::PathBuf;
use std::sync::Arc;

use protocol::definitions::AppliedWorkspace;
use protocol::rest::CreateUserSecretRequest;
use protocol::workspace::Checked;
use protocol::workspace::definition::parse;
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use tempfile::TempDir;
use uuid::Uuid;

use super::audit::Actor;
use super::engine::{Query, command};
use super::{DataDir, DatabaseUrl, KeySource, Role, Store, StoreError};

/// A store with one user, and the directory of both; others build their own worlds on it.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
    /// alice.
    pub(crate) user: Uuid,
    /// The same as she appears in the audit log.
    pub(crate) actor: Actor,
}

impl World {
    pub(crate) async fn new() -> Self {
        let (dir, store) = store().await;
        let user = user(&store, "alice").await;
        Self { dir, store, user, actor: Actor::User { id: user, name: "alice".into(), address: None, token: None } }
    }
}

/// Workspace definitions, ready to be applied.
pub(crate) fn checked(definitions: &str) -> Vec<Checked> {
    parse(definitions).unwrap().into_iter().map(|workspace| Checked::new(workspace).unwrap()).collect()
}

/// Applies workspace definitions.
pub(crate) async fn apply(store: &Store, definitions: &str, rotate_tokens: bool) -> Vec<AppliedWorkspace> {
    store.workspaces().apply(checked(definitions), rotate_tokens).await.unwrap()
}

/// The new token of the first agent of the first workspace, if it got one.
pub(crate) fn token(applied: &[AppliedWorkspace]) -> Option<String> {
    applied[0].agents[0].token.as_ref().map(|token| token.expose_str().unwrap().to_owned())
}

/// An empty store; the directory lives as long as the handle.
pub(crate) async fn store() -> (TempDir, Store) {
    let dir = directory().await;
    let store = reopen(&dir).await;
    (dir, store)
}

/// A directory for a store, and an empty schema for it on PostgreSQL.
pub(crate) async fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    // Closes the directory, before there is anything in it.
    DataDir::open(dir.path()).unwrap();
    if let Ok(url) = std::env::var("CODER_TEST_DATABASE_URL") {
        std::fs::write(url_file(&dir), new_schema(&url).await).unwrap();
    }
    dir
}

/// As [`store`], always on SQLite, for what only a file can show.
pub(crate) async fn file_store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = reopen(&dir).await;
    (dir, store)
}

/// The store of a directory that may have one.
pub(crate) async fn reopen(dir: &TempDir) -> Store {
    let data_dir = DataDir::open(dir.path()).unwrap();
    let keys = KeySource::File(data_dir.key_file());
    Store::open_as(Role::Server, &data_dir, url(dir).as_ref(), keys).await.unwrap()
}

/// The schema of a directory; none on SQLite.
pub(crate) fn url(dir: &TempDir) -> Option<DatabaseUrl> {
    std::fs::read_to_string(url_file(dir)).ok().map(|url| DatabaseUrl::parse(&url.into()).unwrap())
}

/// Whether the store of a directory is one of PostgreSQL.
pub(crate) fn is_postgres(dir: &TempDir) -> bool {
    url_file(dir).exists()
}

fn url_file(dir: &TempDir) -> PathBuf {
    dir.path().join("database-url")
}

/// The URL of a new schema.
async fn new_schema(url: &str) -> String {
    let name = format!("test_{}", Uuid::new_v4().simple());
    let mut connection = DatabaseUrl::parse(&url.to_owned().into()).unwrap().options().connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE SCHEMA {name}"))).execute(&mut connection).await.unwrap();
    format!("{url}{}options=-csearch_path%3D{name}", if url.contains('?') { '&' } else { '?' })
}

/// A new user.
pub(crate) async fn user(store: &Store, name: &str) -> Uuid {
    store.users().create(name).await.unwrap().id
}

/// A statement behind the back of the store: what someone who can write the database might do.
pub(crate) async fn execute(store: &Store, sql: &'static str) {
    run(store, command(sql)).await;
}

/// As [`execute`], with ids.
pub(crate) async fn execute_with(store: &Store, sql: &'static str, ids: &[Uuid]) {
    run(store, ids.iter().fold(command(sql), |command, id| command.bind(*id))).await;
}

/// As [`execute`], with values.
pub(in crate::store) async fn run(store: &Store, command: Query<()>) {
    let ran: Result<u64, StoreError> = store
        .database
        .write(move |writing| Box::pin(async move { Ok(writing.sql.execute(command).await.unwrap()) }))
        .await;
    ran.unwrap();
}

/// A secret with the value `value of NAME`.
pub(crate) async fn put_secret(store: &Store, user: Uuid, name: &str, env_name: &str, file_path: &str, enabled: bool) {
    let request = CreateUserSecretRequest {
        name: name.into(),
        value: format!("value of {name}").into(),
        env_name: env_name.into(),
        file_path: file_path.into(),
        enabled: Some(enabled),
        ..CreateUserSecretRequest::default()
    };
    store.secrets().create(Actor::Administrator, user, request, &Arc::default()).await.unwrap();
}
