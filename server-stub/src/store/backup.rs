//! Copies of the database: consistent, private, and without keys.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::audit::{Actor, Record};
use super::engine::sqlite;
use super::keys::{KeyId, KeySource, Keyring};
use super::rotation;
use super::{DataDir, DataDirError, Store, StoreError, private_file};

/// Why a backup was not written or not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something with a file.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file is damaged.
    #[error("{} is damaged: {found}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the check found first.
        found: String,
    },
    /// The server would go on with a file that is no longer there.
    #[error("the server (process {0}) is running; stop it first")]
    Serving(String),
    /// The same with another command.
    #[error("another coder-server command is using the data directory; try again when it is done")]
    InUse,
    /// A restore must not destroy what is there by mistake.
    #[error("{} has users already; give --force to put the backup in its place (it is kept beside, as .replaced)", .0.display())]
    NotEmpty(PathBuf),
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The database or its keys.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File { action, path, source }
}

impl Store {
    /// Writes a copy of this moment to a new file, while others read and write, and tells which keys it needs.
    pub async fn backup(&self, path: &Path) -> Result<Vec<KeyId>, BackupError> {
        let Some(database) = self.database.file() else {
            return Err(StoreError::NotAFile {
                instead: "use pg_dump, which makes a consistent copy while servers run",
            }
            .into());
        };
        // SQLite fills an empty file and keeps its mode; an existing one is never overwritten.
        private_file::create(path).map_err(file("create", path))?;
        let written = copy_into(database, path).await;
        if written.is_err() {
            drop(fs::remove_file(path));
        }
        written?;
        let keys = rotation::needed(&mut sqlite::inspect(path, path).await?.sql).await?;
        let target = path.display().to_string();
        self.audit().write(Record::new(Actor::Administrator, "backup", "database").on(None, &target)).await?;
        Ok(keys)
    }
}

async fn copy_into(database: &sqlite::Sqlite, path: &Path) -> Result<(), BackupError> {
    // Absolute, because SQLite takes a name that begins with "file:" for a URI.
    let absolute = std::path::absolute(path).map_err(file("name", path))?;
    database.copy_into(&absolute).await?;
    File::open(path).and_then(|copy| copy.sync_all()).map_err(file("flush", path))?;
    private_file::sync_directory(path).map_err(file("flush the directory of", path))
}

/// Puts a backup in place of the database. It is checked first, keys included; what was there is kept beside it.
pub async fn restore(backup: &Path, data_dir: &DataDir, keys: KeySource, force: bool) -> Result<(), BackupError> {
    let serving = data_dir.serve()?.map_err(BackupError::Serving)?;
    let seized = data_dir.seize()?.ok_or(BackupError::InUse)?;
    let database = data_dir.database();
    let fresh = with_suffix(&database, ".restoring");
    copy_private(backup, &fresh)?;
    let checked = async {
        check(&fresh, backup, keys).await?;
        if !force && sqlite::has_users(&database).await {
            return Err(BackupError::NotEmpty(database.clone()));
        }
        sqlite::end_epoch(&fresh).await?;
        File::open(&fresh).and_then(|copy| copy.sync_all()).map_err(file("flush", &fresh))
    };
    if let Err(error) = checked.await {
        drop(fs::remove_file(&fresh));
        return Err(error);
    }
    put_in_place(&fresh, &database)?;
    drop((serving, seized));
    Ok(())
}

/// Makes the file `fresh` the database; a former one is kept beside it.
pub(super) fn put_in_place(fresh: &Path, database: &Path) -> Result<(), BackupError> {
    put_away(database, ".replaced")?;
    fs::rename(fresh, database).map_err(file("put in place", database))?;
    private_file::sync_directory(database).map_err(file("flush the directory of", database))
}

/// Keeps the database under another name. Its log goes with it: beside another database SQLite would replay it.
pub(super) fn put_away(database: &Path, suffix: &str) -> Result<(), BackupError> {
    for part in ["-wal", "-shm", ""] {
        let (old, kept) = (with_suffix(database, part), with_suffix(&with_suffix(database, suffix), part));
        match fs::rename(&old, &kept) {
            Err(error) if error.kind() == ErrorKind::NotFound => drop(fs::remove_file(&kept)),
            renamed => renamed.map_err(file("move away", &old))?,
        }
    }
    Ok(())
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn copy_private(from: &Path, to: &Path) -> Result<(), BackupError> {
    let mut source = File::open(from).map_err(file("read", from))?;
    // Left by a restore that was killed.
    if let Err(error) = fs::remove_file(to)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(file("remove", to)(error));
    }
    let mut copy = private_file::create(to).map_err(file("create", to))?;
    io::copy(&mut source, &mut copy).and_then(|_| copy.sync_all()).map_err(file("write", to))
}

async fn check(copy: &Path, backup: &Path, keys: KeySource) -> Result<(), BackupError> {
    let mut inspected = sqlite::inspect(copy, backup).await?;
    if let Some(found) = inspected.damage {
        return Err(BackupError::Damaged { path: backup.to_owned(), found });
    }
    let needed = rotation::needed(&mut inspected.sql).await?;
    let keys = Keyring::load(keys).map_err(StoreError::from)?;
    for id in &needed {
        keys.require(id).map_err(StoreError::from)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::super::engine::query;
    use super::super::{DeploymentRow, testing};
    use super::*;

    async fn epoch(store: &Store) -> i64 {
        store.database.one(query::<DeploymentRow>("SELECT {columns} FROM deployment")).await.unwrap().epoch
    }

    #[tokio::test]
    async fn a_backup_is_private_names_its_keys_and_restores() {
        let (dir, store) = testing::file_store().await;
        let data_dir = DataDir::open(dir.path()).unwrap();
        let keys = || KeySource::File(data_dir.key_file());
        let alice = testing::user(&store, "alice").await;
        let backup = dir.path().join("backup.db");
        assert_eq!(store.backup(&backup).await.unwrap(), store.keys().ids().await.unwrap());
        assert_eq!(fs::metadata(&backup).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(store.backup(&backup).await, Err(BackupError::File { action: "create", .. })));
        testing::user(&store, "bob").await;
        let former = epoch(&store).await;
        assert!(matches!(restore(&backup, &data_dir, keys(), true).await, Err(BackupError::InUse)));
        store.close().await;
        drop(store);

        assert!(matches!(restore(&backup, &data_dir, keys(), false).await, Err(BackupError::NotEmpty(_))));
        restore(&backup, &data_dir, keys(), true).await.unwrap();
        let store = testing::reopen(&dir).await;
        assert_eq!(store.users().find("alice").await.unwrap().unwrap().id, alice);
        assert_eq!(store.users().find("bob").await.unwrap(), None);
        assert_ne!(epoch(&store).await, former);
        assert!(dir.path().join("coder.db.replaced").exists());
        assert_eq!(fs::metadata(data_dir.database()).unwrap().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_damaged_or_foreign_backup_changes_nothing() {
        let (dir, store) = testing::file_store().await;
        let data_dir = DataDir::open(dir.path()).unwrap();
        testing::user(&store, "alice").await;
        let backup = dir.path().join("backup.db");
        store.backup(&backup).await.unwrap();
        store.close().await;
        drop(store);
        let mut bytes = fs::read(&backup).unwrap();
        // All but the first page: what a page has free can be overwritten without damage.
        bytes[4096..].fill(0xa5);
        fs::write(&backup, &bytes).unwrap();
        let text = dir.path().join("notes.txt");
        fs::write(&text, "no database").unwrap();
        for bad in [&backup, &text, &dir.path().join("missing")] {
            restore(bad, &data_dir, KeySource::File(data_dir.key_file()), true).await.unwrap_err();
        }
        let store = testing::reopen(&dir).await;
        assert!(store.users().find("alice").await.unwrap().is_some());
        assert!(!dir.path().join("coder.db.restoring").exists());
    }

    #[tokio::test]
    async fn a_backup_whose_key_is_lost_is_refused() {
        let (dir, store) = testing::file_store().await;
        let backup = dir.path().join("backup.db");
        store.backup(&backup).await.unwrap();
        let (other_dir, other) = testing::file_store().await;
        other.close().await;
        drop(other);
        let other_dir = DataDir::open(other_dir.path()).unwrap();
        let error = restore(&backup, &other_dir, KeySource::File(other_dir.key_file()), false).await.unwrap_err();
        assert!(error.to_string().contains(store.keys().ids().await.unwrap()[0].as_str()), "{error}");
    }
}
