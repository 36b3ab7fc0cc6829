//! Copies of the database: consistent, private, and without keys.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use super::audit::{Actor, Record};
use super::key::{KeyId, KeySource};
use super::keyring::Keyring;
use super::schema::create_private;
use super::{DataDir, DataDirError, Doing, Store, StoreError, key_file, schema};

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
        // SQLite fills an empty file and keeps its mode; an existing one is never overwritten.
        create_private(path).map_err(file("create", path))?;
        let written = self.copy_into(path).await;
        if written.is_err() {
            drop(fs::remove_file(path));
        }
        written?;
        let mut copy = read_only(path).connect().await.doing("open the backup")?;
        let keys = key_ids(&mut copy).await?;
        copy.close().await.doing("close the backup")?;
        let target = path.display().to_string();
        self.audit(Record::new(Actor::Administrator, "backup", "database").on(None, &target)).await?;
        Ok(keys)
    }

    async fn copy_into(&self, path: &Path) -> Result<(), BackupError> {
        let action = "copy the database";
        // Absolute, because SQLite takes a name that begins with "file:" for a URI.
        let absolute = std::path::absolute(path).map_err(file("name", path))?;
        let text = absolute.to_str().ok_or_else(|| file("name", path)(ErrorKind::InvalidFilename.into()))?;
        let mut connection = SqliteConnection::connect_with(&schema::options(self.path())).await.doing(action)?;
        sqlx::query("VACUUM INTO ?").bind(text).execute(&mut connection).await.doing(action)?;
        connection.close().await.doing(action)?;
        File::open(path).and_then(|copy| copy.sync_all()).map_err(file("flush", path))?;
        key_file::sync_directory(path).map_err(file("flush the directory of", path))
    }
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
        if !force && has_users(&database).await {
            return Err(BackupError::NotEmpty(database.clone()));
        }
        Ok(())
    };
    if let Err(error) = checked.await {
        drop(fs::remove_file(&fresh));
        return Err(error);
    }
    // The log goes with its database: beside another one SQLite would replay it.
    for suffix in ["-wal", "-shm", ""] {
        let (old, kept) = (with_suffix(&database, suffix), with_suffix(&with_suffix(&database, ".replaced"), suffix));
        match fs::rename(&old, &kept) {
            Err(error) if error.kind() == ErrorKind::NotFound => drop(fs::remove_file(&kept)),
            renamed => renamed.map_err(file("move away", &old))?,
        }
    }
    fs::rename(&fresh, &database).map_err(file("put in place", &database))?;
    key_file::sync_directory(&database).map_err(file("flush the directory of", &database))?;
    drop((serving, seized));
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
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
    let mut copy = create_private(to).map_err(file("create", to))?;
    io::copy(&mut source, &mut copy).and_then(|_| copy.sync_all()).map_err(file("write", to))
}

/// Opens a database that nobody writes, without leaving files beside it.
fn read_only(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).read_only(true).immutable(true).disable_statement_logging()
}

async fn check(copy: &Path, backup: &Path, keys: KeySource) -> Result<(), BackupError> {
    let action = "check the backup";
    let open = |source| StoreError::Open { path: backup.to_owned(), source };
    let mut connection = read_only(copy).connect().await.map_err(open)?;
    schema::version(&mut connection, backup).await?;
    let found: String = sqlx::query("PRAGMA integrity_check(1)").fetch_one(&mut connection).await.doing(action)?.get(0);
    if found != "ok" {
        return Err(BackupError::Damaged { path: backup.to_owned(), found });
    }
    let needed = key_ids(&mut connection).await?;
    connection.close().await.doing(action)?;
    let keys = Keyring::load(keys).map_err(StoreError::from)?;
    for id in &needed {
        keys.require(id).map_err(StoreError::from)?;
    }
    Ok(())
}

async fn key_ids(connection: &mut SqliteConnection) -> Result<Vec<KeyId>, StoreError> {
    let rows = sqlx::query("SELECT id FROM encryption_keys ORDER BY active DESC, id").fetch_all(connection).await;
    Ok(rows.doing("read the key ids of the backup")?.iter().map(|row| KeyId::stored(row.get(0))).collect())
}

/// A database that cannot be read counts as one that has users: it may be what somebody wants to mend.
async fn has_users(path: &Path) -> bool {
    if !path.exists() {
        return false;
    }
    let Ok(mut connection) = SqliteConnection::connect_with(&schema::options(path)).await else { return true };
    let found = sqlx::query("SELECT EXISTS (SELECT 1 FROM users)").fetch_one(&mut connection).await;
    let found = found.map_or(true, |row| row.get(0));
    drop(connection.close().await);
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::super::testing;
    use super::*;

    #[tokio::test]
    async fn a_backup_is_private_names_its_keys_and_restores() {
        let (dir, store) = testing::store().await;
        let data_dir = DataDir::open(dir.path()).unwrap();
        let keys = || KeySource::File(data_dir.key_file());
        let alice = testing::user(&store, "alice").await;
        let backup = dir.path().join("backup.db");
        assert_eq!(store.backup(&backup).await.unwrap(), store.key_ids().await.unwrap());
        assert_eq!(fs::metadata(&backup).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(store.backup(&backup).await, Err(BackupError::File { action: "create", .. })));
        testing::user(&store, "bob").await;
        assert!(matches!(restore(&backup, &data_dir, keys(), true).await, Err(BackupError::InUse)));
        store.close().await;
        drop(store);

        assert!(matches!(restore(&backup, &data_dir, keys(), false).await, Err(BackupError::NotEmpty(_))));
        restore(&backup, &data_dir, keys(), true).await.unwrap();
        let store = testing::reopen(&dir).await;
        assert_eq!(store.user("alice").await.unwrap().unwrap().id, alice);
        assert_eq!(store.user("bob").await.unwrap(), None);
        assert!(dir.path().join("coder.db.replaced").exists());
        assert_eq!(fs::metadata(data_dir.database()).unwrap().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_damaged_or_foreign_backup_changes_nothing() {
        let (dir, store) = testing::store().await;
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
        assert!(store.user("alice").await.unwrap().is_some());
        assert!(!dir.path().join("coder.db.restoring").exists());
    }

    #[tokio::test]
    async fn a_backup_whose_key_is_lost_is_refused() {
        let (dir, store) = testing::store().await;
        let backup = dir.path().join("backup.db");
        store.backup(&backup).await.unwrap();
        let (other_dir, other) = testing::store().await;
        other.close().await;
        drop(other);
        let other_dir = DataDir::open(other_dir.path()).unwrap();
        let error = restore(&backup, &other_dir, KeySource::File(other_dir.key_file()), false).await.unwrap_err();
        assert!(error.to_string().contains(store.key_ids().await.unwrap()[0].as_str()), "{error}");
    }
}
