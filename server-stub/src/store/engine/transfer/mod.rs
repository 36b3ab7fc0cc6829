//! Copying everything from one engine's database to the other's: all or nothing, compared row by row before it counts.

mod catalog;
mod ends;

use std::path::Path;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _, SqliteConnection};
use uuid::Uuid;

use super::error::{Doing, StoreError};
use super::postgres::options::DatabaseUrl;
use super::query::Value;
use super::{Role, native, postgres, sqlite};
use catalog::Table;
use ends::{BATCH, End, Values};

/// Tables that a server fills by itself when it starts for the first time. An empty database may have them.
const OF_A_NEW_SERVER: [&str; 2] = ["deployment", "encryption_keys"];

/// Texts that people have chosen. PostgreSQL cannot store a null byte in them, and nobody but their owner may change them.
const NAMED_BY_PEOPLE: [(&str, &str); 4] = [
    ("user_secrets", "name"),
    ("user_secrets", "description"),
    ("user_secrets", "env_name"),
    ("user_secrets", "file_path"),
];

/// Which way.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Way<'w> {
    /// From the file to the PostgreSQL database.
    ToPostgres(&'w Path, &'w DatabaseUrl),
    /// From the PostgreSQL database to a new file.
    ToSqlite(&'w DatabaseUrl, &'w Path),
}

/// What was copied.
#[derive(Debug, Default)]
pub struct Copied {
    /// Each table that had rows, with their number.
    pub tables: Vec<(String, u64)>,
    /// Rows of reports and records in which a null byte became U+FFFD.
    pub replaced: u64,
}

/// Why nothing was copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The new database has data.
    #[error("{place} is not empty: table {table} has {rows} rows; give an empty database")]
    NotEmpty {
        /// File or URL.
        place: String,
        /// The first such table.
        table: String,
        /// How many.
        rows: i64,
    },
    /// A server has the database open.
    #[error(
        "a server of {place} is running, or was killed less than 30 seconds ago; stop all servers of both databases, then \
         run this again"
    )]
    Serving {
        /// The database.
        place: String,
    },
    /// Texts that PostgreSQL cannot store.
    #[error(
        "PostgreSQL stores no null bytes, which these have: {}; their owners can delete them by the name in a URL, as it \
         stands here, or change the field", .0.join("; ")
    )]
    NullBytes(Vec<String>),
    /// What arrived is not what was sent.
    #[error("table {table} differs after the copy; nothing was kept")]
    Differs {
        /// The table.
        table: String,
    },
    /// A database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Copies everything. Nobody else may use the file; of the PostgreSQL database this makes sure. A server whose lease was renewed after
/// `alive_since` counts as running.
pub(in crate::store) async fn copy(way: Way<'_>, alive_since: i64) -> Result<Copied, CopyError> {
    let (mut from, mut to, tables) = begin(way, alive_since).await?;
    let place = match way {
        Way::ToPostgres(_, url) => url.to_string(),
        Way::ToSqlite(_, path) => path.display().to_string(),
    };
    require_empty(&mut to, &tables, place).await?;
    let mut job =
        Job { to_postgres: matches!(way, Way::ToPostgres(..)), copied: Copied::default(), refused: Vec::new() };
    for table in &tables {
        job.table(&mut from, &mut to, table).await?;
    }
    if !job.refused.is_empty() {
        return Err(CopyError::NullBytes(named(&mut from, job.refused).await?));
    }
    for table in &tables {
        job.compare(&mut from, &mut to, table).await?;
    }
    let action = "finish the copy";
    if let End::Postgres(connection) = &mut to {
        for table in &tables {
            continue_identity(connection, table).await.doing(action)?;
        }
    }
    // Whoever opens it next begins an epoch: agents must not take its numbers for those of the old database.
    to.execute("UPDATE deployment SET epoch = 0, home = ''".into(), Vec::new()).await.doing(action)?;
    to.commit().await.doing(action)?;
    from.commit().await.doing("close a connection")?;
    Ok(job.copied)
}

/// Both ends, each in a transaction in which nobody else writes.
async fn begin(way: Way<'_>, alive_since: i64) -> Result<(End, End, Vec<Table>), CopyError> {
    let action = "begin the copy";
    let (path, url) = match way {
        Way::ToPostgres(path, url) | Way::ToSqlite(url, path) => (path, url),
    };
    // Migrates an old file, as a server would.
    let mut file: SqliteConnection = sqlite::schema::open(path, Role::Server).await?;
    let (place, options) = (url.to_string(), url.options());
    let role = if matches!(way, Way::ToPostgres(..)) { Role::Server } else { Role::Command };
    postgres::schema::prepare(&options, &place, role).await?;
    let connect = |source: sqlx::Error| StoreError::Connect { database: place.clone(), source: source.into() };
    let mut database = options.connect().await.map_err(connect)?;
    let tables = catalog::tables(&mut file, &mut database).await?;

    native::sqlite::begin(&mut file).await.doing(action)?;
    // In the first statement after BEGIN, so that what is read is what the lock protects.
    let (isolation, mode) = match way {
        Way::ToPostgres(..) => ("READ COMMITTED", "ACCESS EXCLUSIVE"),
        Way::ToSqlite(..) => ("REPEATABLE READ", "SHARE"),
    };
    let names: Vec<_> = tables.iter().map(|table| format!("\"{}\"", table.name)).collect();
    let lock = format!(
        "BEGIN ISOLATION LEVEL {isolation} READ WRITE; SET LOCAL lock_timeout = '10s'; \
         LOCK TABLE servers, {} IN {mode} MODE",
        names.join(", ")
    );
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut database).await.doing(action)?;
    let live = "SELECT count(*) FROM servers WHERE seen_at > $1";
    let live =
        sqlx::query(live).bind(alive_since).fetch_one(&mut database).await.and_then(|row| row.try_get::<i64, _>(0));
    if live.doing(action)? > 0 {
        return Err(CopyError::Serving { place });
    }
    Ok(match way {
        Way::ToPostgres(..) => (End::Sqlite(file), End::Postgres(database), tables),
        Way::ToSqlite(..) => (End::Postgres(database), End::Sqlite(file), tables),
    })
}

/// Makes room for the rows that a new database has, and refuses one with others.
async fn require_empty(to: &mut End, tables: &[Table], place: String) -> Result<(), CopyError> {
    let action = "look whether the new database is empty";
    for table in tables.iter().filter(|table| !OF_A_NEW_SERVER.contains(&table.name.as_str())) {
        let rows = to.count(table).await.doing(action)?;
        if rows > 0 {
            return Err(CopyError::NotEmpty { place, table: table.name.clone(), rows });
        }
    }
    for table in OF_A_NEW_SERVER {
        to.execute(format!("DELETE FROM {table}"), Vec::new()).await.doing(action)?;
    }
    Ok(())
}

struct Job {
    to_postgres: bool,
    copied: Copied,
    refused: Vec<Refused>,
}

/// A text that a user has chosen and PostgreSQL cannot store.
struct Refused {
    user: Uuid,
    secret: String,
    column: String,
}

impl Job {
    async fn table(&mut self, from: &mut End, to: &mut End, table: &Table) -> Result<(), CopyError> {
        let (mut rows, mut count) = (from.rows(table), 0);
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            while batch.len() < BATCH
                && let Some(row) = rows.try_next().await.doing("read the old database")?
            {
                batch.push(self.fit(table, row));
            }
            if batch.is_empty() {
                break;
            }
            count += batch.len() as u64;
            // What is refused is only listed to its end.
            if self.refused.is_empty() {
                to.insert(table, batch).await.doing("write the new database")?;
            }
        }
        if count > 0 {
            self.copied.tables.push((table.name.clone(), count));
        }
        Ok(())
    }

    /// The row as the new database can store it.
    fn fit(&mut self, table: &Table, mut row: Values) -> Values {
        let is_named = |column: &str| NAMED_BY_PEOPLE.contains(&(table.name.as_str(), column));
        let mut replaced = false;
        for (at, column) in table.columns.iter().enumerate().filter(|_| self.to_postgres) {
            let Some(Value::Text(text)) = row.get_mut(at) else { continue };
            if !text.contains('\0') {
                continue;
            }
            if is_named(&column.name) {
                self.refused.extend(refused(table, &row, &column.name));
                break;
            }
            *text = crate::store::storable(std::mem::take(text));
            replaced = true;
        }
        self.copied.replaced += u64::from(replaced);
        row
    }

    async fn compare(&self, from: &mut End, to: &mut End, table: &Table) -> Result<(), CopyError> {
        let action = "compare the databases";
        let (mut sent, mut arrived) = (from.rows(table), to.rows(table));
        // Counts nothing a second time.
        let mut again = Self { to_postgres: self.to_postgres, copied: Copied::default(), refused: Vec::new() };
        loop {
            let sent = sent.try_next().await.doing(action)?.map(|row| again.fit(table, row));
            let arrived = arrived.try_next().await.doing(action)?;
            if sent != arrived {
                return Err(CopyError::Differs { table: table.name.clone() });
            }
            if sent.is_none() {
                return Ok(());
            }
        }
    }
}

fn refused(table: &Table, row: &[Value], column: &str) -> Option<Refused> {
    let value = |name: &str| Some(row.get(table.columns.iter().position(|column| column.name == name)?)?.clone());
    let (Value::Uuid(user), Value::Text(secret)) = (value("user_id")?, value("name")?) else { return None };
    Some(Refused { user, secret, column: column.to_owned() })
}

/// As an administrator and an owner know them: the name as it stands in a URL.
async fn named(from: &mut End, refused: Vec<Refused>) -> Result<Vec<String>, StoreError> {
    let mut lines = Vec::with_capacity(refused.len());
    for Refused { user, secret, column } in refused {
        let owner = from.username(user).await.doing("read a user")?;
        lines.push(format!("{column} of {owner}'s secret {}", secret.replace('\0', "%00")));
    }
    Ok(lines)
}

/// The next number is behind those that were copied.
async fn continue_identity(connection: &mut sqlx::PgConnection, table: &Table) -> Result<(), sqlx::Error> {
    let [key] = table.key.as_slice() else { return Ok(()) };
    let sequence = "SELECT pg_get_serial_sequence(quote_ident($1), $2)";
    let sequence = sqlx::query(sequence).bind(&table.name).bind(key).fetch_one(&mut *connection).await?;
    if let Some(sequence) = sequence.try_get::<Option<String>, _>(0)? {
        let next = format!(
            "SELECT setval($1::regclass, (SELECT coalesce(max(\"{key}\"), 0) + 1 FROM \"{}\"), FALSE)",
            table.name
        );
        sqlx::query(AssertSqlSafe(next)).bind(sequence).execute(connection).await?;
    }
    Ok(())
}
