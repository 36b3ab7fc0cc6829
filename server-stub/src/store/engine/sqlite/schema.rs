//! The database file: its mode, its pragmas, its schema.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

use super::super::error::{Doing, StoreError};
use super::super::{Role, dialect, migrations};
use super::file;
use super::options::options;
use crate::store::private_file;

/// The schemas that SQLite alone had. A file that was released never changes.
const FIRST: &[&str] = &[
    include_str!("migrations/0001_users_and_secrets.sql"),
    include_str!("migrations/0002_workspaces.sql"),
    include_str!("migrations/0003_git_ssh_keys.sql"),
];

/// Marks the file as ours (`PRAGMA application_id`), so that another program's database is not "migrated".
const APPLICATION_ID: i64 = 0x6364_7273;

/// Makes the file if there is none; mode 0600 whatever the umask says. SQLite gives its -wal and -shm the same mode.
pub(super) fn prepare_file(path: &Path) -> Result<(), StoreError> {
    private_file::create(path)
        .map(drop)
        .or_else(|error| if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
        .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(0o600)))
        .map_err(|source| StoreError::Prepare { path: path.to_owned(), source })
}

/// Opens the database for writing. A server creates it, or brings its schema up to date.
pub(in crate::store) async fn open(path: &Path, role: Role) -> Result<SqliteConnection, StoreError> {
    if role == Role::Command && !path.exists() {
        let place = path.parent().unwrap_or(path).display().to_string();
        return Err(StoreError::NoServer { place });
    }
    prepare_file(path)?;
    let open = |source: sqlx::Error| StoreError::Open { path: path.to_owned(), source: source.into() };
    let mut connection = SqliteConnection::connect_with(&options(path)).await.map_err(open)?;
    let found = version(&mut connection, path).await?;
    migrations::check(found, &path.display().to_string(), role)?;
    if found.is_none_or(|found| found.version < migrations::KNOWN) {
        if let Some(found) = found {
            keep_copy(path, found.version).await?;
        }
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.map_err(open)?;
        migrate(&mut connection, path).await?;
        sqlx::query("COMMIT").execute(&mut connection).await.map_err(open)?;
    }
    Ok(connection)
}

/// The schema of the database; none where it is empty. Fails where it is not ours.
pub(super) async fn version(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<Option<migrations::Found>, StoreError> {
    let open = |source: sqlx::Error| StoreError::Open { path: path.to_owned(), source: source.into() };
    let marks = sqlx::query(
        "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema) \
         FROM pragma_user_version, pragma_application_id",
    )
    .fetch_one(&mut *connection)
    .await
    .and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
    .map_err(open)?;
    let (version, owner, objects): (i64, i64, i64) = marks;
    if owner != APPLICATION_ID && (owner != 0 || version != 0 || objects != 0) {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    if version == 0 {
        return Ok(None);
    }
    // One server has the file, so no older one runs beside a newer: only the same version may use it.
    Ok(Some(migrations::Found { version, oldest: version }))
}

/// A migration that turns out wrong can be undone by putting the copy back.
async fn keep_copy(path: &Path, version: i64) -> Result<(), StoreError> {
    let copy = with_suffix(path, &format!(".schema-{version}"));
    let prepare = |source| StoreError::Prepare { path: copy.clone(), source };
    // Left by a migration that was killed.
    std::fs::remove_file(&copy)
        .or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
        .and_then(|()| private_file::create(&copy))
        .map_err(prepare)?;
    file::copy(path, &copy).await?;
    tracing::info!(from = version, to = migrations::KNOWN, copy = %copy.display(), "migrating the database; a copy of it is kept");
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    // Asked again under the lock: another process may have migrated meanwhile.
    let found = version(connection, path).await?.map_or(0, |found| found.version);
    for (number, sql) in (1..).zip(FIRST).filter(|(number, _)| *number > found) {
        step(connection, number, (*sql).to_owned()).await?;
    }
    for (number, sql) in migrations::after(found) {
        step(connection, number, dialect::sqlite(sql, "").into_owned()).await?;
    }
    let marks = format!(
        "PRAGMA user_version = {known}; PRAGMA application_id = {APPLICATION_ID}; \
         UPDATE schema_version SET version = {known}, oldest = {oldest}",
        known = migrations::KNOWN,
        oldest = migrations::OLDEST,
    );
    sqlx::raw_sql(AssertSqlSafe(marks)).execute(connection).await.map(drop).doing("record the schema")
}

async fn step(connection: &mut SqliteConnection, version: i64, sql: String) -> Result<(), StoreError> {
    let ran = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    ran.map(drop).map_err(|source| StoreError::Migrate { version, source: source.into() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::store::testing;

    #[tokio::test]
    async fn its_files_are_private() {
        let (dir, store) = testing::file_store().await;
        testing::user(&store, "alice").await;
        for entry in std::fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
            assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        }
        assert_eq!(std::fs::metadata(dir.path()).unwrap().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_database_of_a_newer_version_is_refused() {
        let (dir, store) = testing::file_store().await;
        store.close().await;
        let path = dir.path().join("coder.db");
        let mut connection = SqliteConnection::connect_with(&options(&path)).await.unwrap();
        sqlx::query("PRAGMA user_version = 999").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let error = open(&path, Role::Server).await.unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 999, .. }), "{error}");
    }

    /// What the version before made: the released migrations alone.
    async fn of_the_version_before(path: &Path) {
        prepare_file(path).unwrap();
        let mut connection = SqliteConnection::connect_with(&options(path)).await.unwrap();
        for sql in FIRST {
            sqlx::raw_sql(*sql).execute(&mut connection).await.unwrap();
        }
        let marks = format!("PRAGMA user_version = 3; PRAGMA application_id = {APPLICATION_ID}");
        sqlx::raw_sql(AssertSqlSafe(marks)).execute(&mut connection).await.unwrap();
        let user = "INSERT INTO users VALUES (randomblob(16), 'Alice', 7)";
        sqlx::raw_sql(user).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    #[tokio::test]
    async fn only_a_server_migrates_and_it_keeps_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coder.db");
        of_the_version_before(&path).await;
        let error = open(&path, Role::Command).await.unwrap_err();
        assert!(matches!(error, StoreError::Outdated { found: 3, .. }), "{error}");
        open(&path, Role::Server).await.unwrap();
        let copy = dir.path().join("coder.db.schema-3");
        for (path, expected) in [(&path, migrations::KNOWN), (&copy, 3)] {
            let mut connection = SqliteConnection::connect_with(&options(path)).await.unwrap();
            assert_eq!(version(&mut connection, path).await.unwrap().unwrap().version, expected);
            let user = sqlx::query("SELECT username FROM users").fetch_one(&mut connection).await.unwrap();
            assert_eq!(user.get::<String, _>(0), "Alice");
            assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, 0o600);
        }
        open(&path, Role::Command).await.unwrap();
    }

    #[tokio::test]
    async fn a_command_does_not_create_a_database() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coder.db");
        assert!(matches!(open(&path, Role::Command).await, Err(StoreError::NoServer { .. })));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_database_of_another_program_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coder.db");
        prepare_file(&path).unwrap();
        let mut connection = SqliteConnection::connect_with(&options(&path)).await.unwrap();
        sqlx::query("CREATE TABLE theirs (x)").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        assert!(matches!(open(&path, Role::Server).await, Err(StoreError::Foreign { .. })));
    }
}
