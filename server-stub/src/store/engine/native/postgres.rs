//! Statements on a connection of PostgreSQL.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Arguments as _, AssertSqlSafe, PgConnection, Postgres as Engine};
use uuid::Uuid;

use super::super::query::{Kind, Value};

/// The lock between those who encrypt and those who switch the key. All writers that seal a value hold it together; a switch waits for
/// them, and they wait for a switch. So from the commit of a switch on, nothing is encrypted with the former key.
const KEY_LOCK: i64 = 0x636f_6465_7273_0002;

/// Longest wait for the answer to one statement. A network that has forgotten the connection says nothing, and the kernel takes a quarter
/// of an hour to give up.
const ANSWER: Duration = Duration::from_mins(1);

/// Waits for an answer of the database; one that does not come counts as a lost connection.
pub(in crate::store::engine) async fn within<T>(
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let answer = tokio::time::timeout(ANSWER, answer).await;
    answer.unwrap_or_else(|_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())))
}

/// Who takes the lock.
#[derive(Clone, Copy)]
pub(in crate::store::engine) enum Fence {
    /// A writer that seals.
    Hold,
    /// A change of the active key.
    Switch,
}

pub(in crate::store::engine) async fn fence(connection: &mut PgConnection, fence: Fence) -> Result<(), sqlx::Error> {
    let sql = match fence {
        Fence::Hold => "SELECT pg_advisory_xact_lock_shared($1)",
        Fence::Switch => "SELECT pg_advisory_xact_lock($1)",
    };
    within(sqlx::query(sql).bind(KEY_LOCK).execute(connection)).await.map(drop)
}

pub(in crate::store::engine) async fn lock_user(connection: &mut PgConnection, user: Uuid) -> Result<(), sqlx::Error> {
    // Weaker than FOR UPDATE, which would also stop whoever only refers to the user.
    let sql = "SELECT 1 FROM users WHERE id = $1 FOR NO KEY UPDATE";
    within(sqlx::query(sql).bind(user).execute(connection)).await.map(drop)
}

pub(in crate::store::engine) async fn all(
    connection: &mut PgConnection,
    sql: Cow<'static, str>,
    values: Vec<Value>,
) -> Result<Vec<PgRow>, sqlx::Error> {
    within(prepare(sql, values)?.fetch_all(connection)).await
}

pub(in crate::store::engine) async fn optional(
    connection: &mut PgConnection,
    sql: Cow<'static, str>,
    values: Vec<Value>,
) -> Result<Option<PgRow>, sqlx::Error> {
    within(prepare(sql, values)?.fetch_optional(connection)).await
}

pub(in crate::store::engine) async fn execute(
    connection: &mut PgConnection,
    sql: Cow<'static, str>,
    values: Vec<Value>,
) -> Result<u64, sqlx::Error> {
    within(prepare(sql, values)?.execute(connection)).await.map(|done| done.rows_affected())
}

fn prepare(sql: Cow<'static, str>, values: Vec<Value>) -> Result<Query<'static, Engine, PgArguments>, sqlx::Error> {
    let mut arguments = PgArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        match value {
            Value::Null(Kind::Bool) => arguments.add(None::<bool>),
            Value::Null(Kind::Int) => arguments.add(None::<i64>),
            Value::Null(Kind::Text) => arguments.add(None::<String>),
            Value::Null(Kind::Bytes) => arguments.add(None::<Vec<u8>>),
            Value::Null(Kind::Uuid) => arguments.add(None::<Uuid>),
            Value::Null(Kind::List) => arguments.add(None::<Vec<String>>),
            Value::Bool(value) => arguments.add(value),
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
            Value::Uuid(value) => arguments.add(value),
            Value::Texts(list) => arguments.add(list),
            Value::Uuids(list) => arguments.add(list),
            Value::Blobs(list) => arguments.add(list),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    // Safe: only text that is compiled into the store, without values, becomes a statement.
    Ok(sqlx::query_with(AssertSqlSafe(sql), arguments))
}
