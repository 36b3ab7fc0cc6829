//! The database file: its mode, its pragmas, its schema.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

use super::error::{Doing, StoreError};

/// Schema N is what the first N files make of an empty database. A file that was released never changes.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_users_and_secrets.sql"),
    include_str!("migrations/0002_workspaces.sql"),
    include_str!("migrations/0003_git_ssh_keys.sql"),
];

/// Marks the file as ours (`PRAGMA application_id`), so that another program's database is not "migrated".
const APPLICATION_ID: i64 = 0x6364_7273;

/// Longest wait for a write of another process, such as an admin command beside the server.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How every connection opens the database at `path`.
pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    use sqlx::ConnectOptions as _;
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        // A deleted or replaced value leaves no ciphertext in free pages, nor in temporary files.
        .pragma("secure_delete", "ON")
        .pragma("temp_store", "MEMORY")
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
}

/// Makes the file if there is none; mode 0600 whatever the umask says. SQLite gives its -wal and -shm the same mode.
pub(super) fn prepare_file(path: &Path) -> Result<(), StoreError> {
    create_private(path)
        .map(drop)
        .or_else(|error| if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
        .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(0o600)))
        .map_err(|source| StoreError::Prepare { path: path.to_owned(), source })
}

/// A new file that only its owner can read, whatever the umask says; fails where one exists.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Opens the database for writing and brings its schema up to date.
pub(super) async fn open(path: &Path) -> Result<SqliteConnection, StoreError> {
    prepare_file(path)?;
    let open = |source| StoreError::Open { path: path.to_owned(), source };
    let mut connection = SqliteConnection::connect_with(&options(path)).await.map_err(open)?;
    if version(&mut connection, path).await? < known() {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.map_err(open)?;
        migrate(&mut connection, path).await?;
        sqlx::query("COMMIT").execute(&mut connection).await.map_err(open)?;
    }
    Ok(connection)
}

/// The schema of the database, refused when it is not ours or newer than this program.
pub(super) async fn version(connection: &mut SqliteConnection, path: &Path) -> Result<i64, StoreError> {
    let marks = sqlx::query("SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_user_version, pragma_application_id")
        .fetch_one(connection)
        .await
        .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    let (found, owner, objects): (i64, i64, i64) = (marks.get(0), marks.get(1), marks.get(2));
    if owner != APPLICATION_ID && (owner != 0 || found != 0 || objects != 0) {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    if found > known() {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: known() });
    }
    Ok(found)
}

fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    // Asked again under the lock: another process may have migrated meanwhile.
    let found = version(connection, path).await?;
    for (sql, version) in MIGRATIONS.iter().zip(1..).filter(|(_, version)| *version > found) {
        sqlx::raw_sql(*sql)
            .execute(&mut *connection)
            .await
            .map_err(|source| StoreError::Migrate { version, source })?;
    }
    let marks = format!("PRAGMA user_version = {}; PRAGMA application_id = {APPLICATION_ID}", known());
    sqlx::raw_sql(AssertSqlSafe(marks)).execute(connection).await.map(drop).doing("record the schema")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::store::testing;

    #[tokio::test]
    async fn its_files_are_private() {
        let (dir, store) = testing::store().await;
        testing::user(&store, "alice").await;
        for entry in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
            assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        }
        assert_eq!(std::fs::metadata(dir.path()).unwrap().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_database_of_a_newer_version_is_refused() {
        let (dir, store) = testing::store().await;
        store.close().await;
        let path = dir.path().join("coder.db");
        let mut connection = SqliteConnection::connect_with(&options(&path)).await.unwrap();
        sqlx::query("PRAGMA user_version = 999").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let error = open(&path).await.unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 999, .. }), "{error}");
    }

    #[tokio::test]
    async fn a_database_of_another_program_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coder.db");
        prepare_file(&path).unwrap();
        let mut connection = SqliteConnection::connect_with(&options(&path)).await.unwrap();
        sqlx::query("CREATE TABLE theirs (x)").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        assert!(matches!(open(&path).await, Err(StoreError::Foreign { .. })));
    }
}
