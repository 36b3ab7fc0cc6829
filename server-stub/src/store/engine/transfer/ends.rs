//! Reading and writing rows of any table, in both databases.

use std::borrow::Cow;

use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, PgConnection, Row, SqliteConnection};
use uuid::Uuid;

use super::super::native;
use super::super::query::{Kind, Value};
use super::catalog::{Column, Table};

/// Rows of one statement: far from the limit of both engines on placeholders, even with twenty columns.
pub(super) const BATCH: usize = 200;

/// One of the two databases, in a transaction.
pub(super) enum End {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// The values of a row, in the order of the table's columns.
pub(super) type Values = Vec<Value>;

impl End {
    /// All rows in the order of their keys.
    pub(super) fn rows<'c>(&'c mut self, table: &'c Table) -> BoxStream<'c, Result<Values, sqlx::Error>> {
        let (name, order) = (&table.name, table.order());
        match self {
            Self::Sqlite(connection) => {
                let columns = table.listed(|column| format!("\"{}\"", column.name));
                let sql = format!("SELECT {columns} FROM \"{name}\" ORDER BY {order}");
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch(connection);
                Box::pin(rows.and_then(move |row| std::future::ready(of_sqlite(&row, table))))
            }
            Self::Postgres(connection) => {
                let columns = table.listed(|column| match column.kind {
                    // Some are narrower.
                    Kind::Int => format!("\"{}\"::bigint", column.name),
                    _ => format!("\"{}\"", column.name),
                });
                let sql = format!("SELECT {columns} FROM \"{name}\" ORDER BY {order}");
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch(connection);
                Box::pin(rows.and_then(move |row| std::future::ready(of_postgres(&row, table))))
            }
        }
    }

    /// Writes some rows, at most [`BATCH`].
    pub(super) async fn insert(&mut self, table: &Table, rows: Vec<Values>) -> Result<(), sqlx::Error> {
        let columns = table.listed(|column| format!("\"{}\"", column.name));
        let numbered = matches!(self, Self::Postgres(_));
        let mut next = 0;
        let mut placeholder = || {
            next += 1;
            if numbered { format!("${next}") } else { "?".to_owned() }
        };
        let mut row = |_| format!("({})", table.columns.iter().map(|_| placeholder()).collect::<Vec<_>>().join(", "));
        let places = (0..rows.len()).map(&mut row).collect::<Vec<_>>().join(", ");
        let sql = format!("INSERT INTO \"{}\" ({columns}) VALUES {places}", table.name);
        let values = rows.into_iter().flatten().collect();
        self.execute(sql, values).await.map(drop)
    }

    /// How many rows a table has.
    pub(super) async fn count(&mut self, table: &Table) -> Result<i64, sqlx::Error> {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM \"{}\"", table.name));
        match self {
            Self::Sqlite(connection) => sqlx::query(sql).fetch_one(connection).await?.try_get(0),
            Self::Postgres(connection) => sqlx::query(sql).fetch_one(connection).await?.try_get(0),
        }
    }

    /// What a user is called.
    pub(super) async fn username(&mut self, user: Uuid) -> Result<String, sqlx::Error> {
        match self {
            Self::Sqlite(connection) => {
                let name = sqlx::query("SELECT username FROM users WHERE id = ?").bind(user);
                name.fetch_one(connection).await?.try_get(0)
            }
            Self::Postgres(connection) => {
                let name = sqlx::query("SELECT username FROM users WHERE id = $1").bind(user);
                name.fetch_one(connection).await?.try_get(0)
            }
        }
    }

    /// Runs a statement with values.
    pub(super) async fn execute(&mut self, sql: String, values: Values) -> Result<u64, sqlx::Error> {
        match self {
            Self::Sqlite(connection) => native::sqlite::execute(connection, Cow::Owned(sql), values).await,
            Self::Postgres(connection) => native::postgres::execute(connection, Cow::Owned(sql), values).await,
        }
    }

    /// Ends the transaction and closes the connection. Dropping it instead undoes what was written.
    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        use sqlx::Connection as _;
        match self {
            Self::Sqlite(mut connection) => {
                sqlx::query("COMMIT").execute(&mut connection).await?;
                connection.close().await
            }
            Self::Postgres(mut connection) => {
                sqlx::query("COMMIT").execute(&mut connection).await?;
                connection.close().await
            }
        }
    }
}

/// The value of one column; `$row` may be of either engine.
macro_rules! value {
    ($row:ident, $at:ident, $kind:expr) => {
        match $kind {
            Kind::Bool => $row.try_get::<Option<bool>, _>($at)?.map(Value::Bool),
            Kind::Int => $row.try_get::<Option<i64>, _>($at)?.map(Value::Int),
            Kind::Text | Kind::List => $row.try_get::<Option<String>, _>($at)?.map(Value::Text),
            Kind::Bytes => $row.try_get::<Option<Vec<u8>>, _>($at)?.map(Value::Bytes),
            Kind::Uuid => $row.try_get::<Option<Uuid>, _>($at)?.map(Value::Uuid),
        }
        .unwrap_or(Value::Null($kind))
    };
}

fn of_sqlite(row: &SqliteRow, table: &Table) -> Result<Values, sqlx::Error> {
    let value = |(at, column): (usize, &Column)| Ok(value!(row, at, column.kind));
    table.columns.iter().enumerate().map(value).collect()
}

fn of_postgres(row: &PgRow, table: &Table) -> Result<Values, sqlx::Error> {
    let value = |(at, column): (usize, &Column)| Ok(value!(row, at, column.kind));
    table.columns.iter().enumerate().map(value).collect()
}
