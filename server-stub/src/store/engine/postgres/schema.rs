//! The schema of a PostgreSQL database.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _};

use super::super::error::{Doing, StoreError};
use super::super::{Role, dialect, migrations};
use super::pooler;

/// The schema that the first file makes; later ones are the same for both engines.
const BASELINE: i64 = 3;

/// Serializes migrations. Advisory locks share one namespace for a database; this is the program's own number.
const LOCK: i64 = 0x636f_6465_7273_0001;

/// Checks what is at the other end, and as a server creates or migrates the tables.
pub(in crate::store) async fn prepare(options: &PgConnectOptions, named: &str, role: Role) -> Result<(), StoreError> {
    let connect = |source: sqlx::Error| StoreError::Connect { database: named.to_owned(), source: source.into() };
    if pooler::shares_sessions(options).await.map_err(connect)? {
        return Err(StoreError::Pooler { database: named.to_owned() });
    }
    let mut connection = options.connect().await.map_err(connect)?;
    let found = version(&mut connection).await.doing("read the schema version")?;
    migrations::check(found, named, role)?;
    if found.is_none_or(|found| found.version < migrations::KNOWN) && role == Role::Server {
        migrate(&mut connection, named).await?;
    }
    connection.close().await.doing("close a connection")
}

/// The marks of the schema; none where there are no tables of ours.
async fn version(connection: &mut PgConnection) -> Result<Option<migrations::Found>, sqlx::Error> {
    let exists = sqlx::query("SELECT to_regclass('schema_version') IS NOT NULL").fetch_one(&mut *connection).await?;
    if !exists.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let row = sqlx::query("SELECT version, oldest FROM schema_version").fetch_one(connection).await?;
    Ok(Some(migrations::Found { version: row.try_get("version")?, oldest: row.try_get("oldest")? }))
}

async fn migrate(connection: &mut PgConnection, named: &str) -> Result<(), StoreError> {
    let action = "migrate the database";
    let mut transaction = connection.begin().await.doing(action)?;
    // Another server may be at it. Released with the transaction.
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await.doing(action)?;
    let found = version(&mut transaction).await.doing(action)?;
    migrations::check(found, named, Role::Server)?;
    let mut version = found.map(|found| found.version);
    if version.is_none() {
        refuse_foreign(&mut transaction, named).await?;
        run(&mut transaction, BASELINE, include_str!("0003_baseline.sql").to_owned()).await?;
        version = Some(BASELINE);
    }
    for (number, sql) in migrations::after(version.unwrap_or(BASELINE)) {
        run(&mut transaction, number, dialect::postgres(sql, "").into_owned()).await?;
    }
    let mark = "UPDATE schema_version SET version = $1, oldest = $2";
    let mark = sqlx::query(mark).bind(migrations::KNOWN).bind(migrations::OLDEST);
    mark.execute(&mut *transaction).await.doing(action)?;
    transaction.commit().await.doing(action)?;
    tracing::info!(
        database = named,
        from = found.map(|found| found.version),
        to = migrations::KNOWN,
        "migrated the database"
    );
    Ok(())
}

async fn run(connection: &mut PgConnection, version: i64, sql: String) -> Result<(), StoreError> {
    let ran = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    ran.map(drop).map_err(|source| StoreError::Migrate { version, source: source.into() })
}

/// Tables of another program in the schema are not ours to stand among: its `users` may be asked for ours.
async fn refuse_foreign(connection: &mut PgConnection, named: &str) -> Result<(), StoreError> {
    let tables = "SELECT current_schema() IS NULL, count(*) FROM information_schema.tables WHERE table_schema = current_schema()";
    let found = sqlx::query(tables).fetch_one(connection).await;
    let found = found.and_then(|row| Ok((row.try_get::<bool, _>(0)?, row.try_get::<i64, _>(1)?)));
    match found.doing("look for tables")? {
        (true, _) => Err(StoreError::NoSchema { database: named.to_owned() }),
        (_, 0) => Ok(()),
        _ => Err(StoreError::ForeignSchema { database: named.to_owned() }),
    }
}
