//! `coder-server move`

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use clap::builder::TypedValueParser as _;
use protocol::secret::Secret;

use super::{AdminError, output};
use crate::config::{ConfigError, Environment, StoreArgs};
use crate::store::audit::{Actor, Record};
use crate::store::{self, Copied, DataDir, DatabaseUrl, Role, Store};

/// What `--to` says for the file in the data directory.
const SQLITE: &[u8] = b"sqlite";

/// Flags of `move`.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// Copy into the empty PostgreSQL database at this URL, or, with the word sqlite, into a file in the data directory
    ///
    /// Other users of this machine can see command lines, so give a password by the variable or by --to-file. To move back, give
    /// --database-url and --to sqlite.
    #[arg(
        long,
        value_name = "URL",
        env = "CODER_SERVER_MOVE_TO",
        hide_env_values = true,
        value_parser = clap::builder::StringValueParser::new().map(|url| Arc::new(Secret::from(url))),
        required_unless_present = "to_file"
    )]
    to: Option<Arc<Secret>>,
    /// Read the URL from this file
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    to_file: Option<PathBuf>,
}

/// Ways that `move` does not go.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// Both are PostgreSQL.
    #[error(
        "--database-url (or its variable) and --to both name PostgreSQL databases; move copies between SQLite and \
         PostgreSQL: unset the first to move the data directory's database, or use pg_dump and pg_restore"
    )]
    BothPostgres,
    /// Both are files.
    #[error("--to sqlite needs the PostgreSQL database to move from; give --database-url")]
    BothSqlite,
}

pub(super) async fn run(args: &MoveArgs, at: &StoreArgs, environment: Environment<'_>) -> Result<(), AdminError> {
    let to = match (&args.to, &args.to_file) {
        (Some(to), _) => Arc::clone(to),
        (None, Some(path)) => Arc::new(Secret::new(
            std::fs::read(path).map_err(|source| ConfigError::DatabaseUrlFile { path: path.clone(), source })?,
        )),
        (None, None) => Arc::default(),
    };
    let from = at.database_url(environment)?;
    let to = match (&from, to.expose().trim_ascii() == SQLITE) {
        (None, false) => Some(DatabaseUrl::parse(&to)?),
        (Some(_), true) => None,
        (Some(_), false) => return Err(UsageError::BothPostgres.into()),
        (None, true) => return Err(UsageError::BothSqlite.into()),
    };
    let data_dir = if from.is_none() { at.existing_data_dir(environment)? } else { at.data_dir()? };
    // Before anything is copied: the old database has this version's schema, and its keys are there.
    at.open(&data_dir, environment).await?.close().await;
    match (&from, &to) {
        (_, Some(to)) => to_postgres(&data_dir, to).await?,
        (Some(from), None) => to_sqlite(&data_dir, from).await?,
        (None, None) => {}
    }
    let store = Store::open_as(Role::Server, &data_dir, to.as_ref(), at.key_source(&data_dir, environment)?).await?;
    let place = to.as_ref().map_or_else(|| data_dir.database().display().to_string(), DatabaseUrl::to_string);
    store.audit().write(Record::new(Actor::Administrator, "move", "database").on(None, &place)).await?;
    let next = match to {
        Some(_) => "set CODER_SERVER_DATABASE_URL for the server and for every other command".to_owned(),
        None => format!("unset CODER_SERVER_DATABASE_URL, give --data-dir {}", data_dir.path().display()),
    };
    output::line(&format!("Next: {next}, and start the server. It needs the same keys: {}.", store.keys().source()))?;
    store.close().await;
    Ok(())
}

async fn to_postgres(data_dir: &DataDir, url: &DatabaseUrl) -> Result<(), AdminError> {
    let moved = store::to_postgres(data_dir, url).await?;
    tell(&moved.copied, &url.to_string())?;
    let kept = moved.kept.display();
    output::line(&format!("The old database is kept as {kept}; nothing uses it any more."))
}

async fn to_sqlite(data_dir: &DataDir, url: &DatabaseUrl) -> Result<(), AdminError> {
    tell(&store::to_sqlite(data_dir, url).await?, &data_dir.database().display().to_string())?;
    output::line(&format!("{url} is as it was; start no server on it any more."))
}

fn tell(copied: &Copied, to: &str) -> Result<(), AdminError> {
    let rows: u64 = copied.tables.iter().map(|(_, rows)| rows).sum();
    output::line(&format!("Copied {rows} rows of {} tables to {to}, and compared each:", copied.tables.len()))?;
    output::table(&[], copied.tables.iter().map(|(table, rows)| vec![format!("  {table}"), rows.to_string()]))?;
    if copied.replaced > 0 {
        output::line(&format!(
            "{} rows of reports and audit records had null bytes, which PostgreSQL cannot store; U+FFFD stands for each now.",
            copied.replaced
        ))?;
    }
    Ok(())
}
