//! A real database in a scratch directory.

use tempfile::TempDir;
use uuid::Uuid;

use super::{DataDir, KeySource, Store};

/// An empty store; the directory lives as long as the handle.
pub(crate) async fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = reopen(&dir).await;
    (dir, store)
}

/// The store of a directory that may have one.
pub(crate) async fn reopen(dir: &TempDir) -> Store {
    let data_dir = DataDir::open(dir.path()).unwrap();
    Store::open(&data_dir, KeySource::File(data_dir.key_file())).await.unwrap()
}

/// A new user.
pub(crate) async fn user(store: &Store, name: &str) -> Uuid {
    store.create_user(name).await.unwrap().id
}
