//! Statements on a connection of SQLite.

use std::borrow::Cow;

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Row as _, Sqlite as Engine, SqliteConnection};

use super::super::query::Value;

pub(in crate::store::engine) async fn all(
    connection: &mut SqliteConnection,
    sql: Cow<'static, str>,
    values: Vec<Value>,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    prepare(sql, values)?.fetch_all(connection).await
}

pub(in crate::store::engine) async fn optional(
    connection: &mut SqliteConnection,
    sql: Cow<'static, str>,
    values: Vec<Value>,
) -> Result<Option<SqliteRow>, sqlx::Error> {
    prepare(sql, values)?.fetch_optional(connection).await
}

pub(in crate::store::engine) async fn execute(
    connection: &mut SqliteConnection,
    sql: Cow<'static, str>,
    values: Vec<Value>,
) -> Result<u64, sqlx::Error> {
    prepare(sql, values)?.execute(connection).await.map(|done| done.rows_affected())
}

fn prepare(sql: Cow<'static, str>, values: Vec<Value>) -> Result<Query<'static, Engine, SqliteArguments>, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        match value {
            Value::Null(_) => arguments.add(None::<i64>),
            Value::Bool(value) => arguments.add(value),
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
            Value::Uuid(value) => arguments.add(value),
            Value::Texts(list) => arguments.add(serde_json::Value::from(list).to_string()),
            Value::Uuids(list) => arguments.add(hex_list(list.iter().map(|id| id.as_bytes().as_slice()))),
            Value::Blobs(list) => arguments.add(hex_list(list.iter().map(Vec::as_slice))),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    // Safe: only text that is compiled into the store, without values, becomes a statement.
    Ok(sqlx::query_with(AssertSqlSafe(sql), arguments))
}

fn hex_list<'b>(items: impl Iterator<Item = &'b [u8]>) -> String {
    serde_json::Value::from(items.map(hex::encode).collect::<Vec<_>>()).to_string()
}

/// Runs statements of the engine's own.
pub(in crate::store::engine) async fn run(
    connection: &mut SqliteConnection,
    sql: &'static str,
) -> Result<(), sqlx::Error> {
    sqlx::query(sql).execute(connection).await.map(drop)
}

/// A number that differs after a commit by another process. This one's readers never write.
pub(in crate::store::engine) async fn changed_elsewhere(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query("PRAGMA data_version").fetch_one(connection).await?.try_get(0)
}

/// Begins a transaction that holds the write lock.
pub(in crate::store::engine) async fn begin(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    run(connection, "BEGIN IMMEDIATE").await
}
