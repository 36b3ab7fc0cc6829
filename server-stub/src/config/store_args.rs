//! Where data and keys are: the options that every command has.
#![expect(clippy::doc_markdown, reason = "the comments of flags are their help, where backticks would show")]

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use clap::builder::TypedValueParser as _;
use protocol::secret::Secret;

use super::{ConfigError, Environment};
use crate::store::{self, DataDir, DatabaseUrl, KEYS_VARIABLE, KeySource, Role, Store, StoreError};

/// Coder's variable for its database.
const PG_VARIABLE: &str = "CODER_PG_CONNECTION_URL";

/// The section of `--help` that these options share, after those of the command.
const HEADING: &str = "Database and keys";

/// Where data and keys are; the same for every command.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Keep the database in this directory [default: $XDG_DATA_HOME/coder-server; for root /var/lib/coder-server]
    #[arg(long, global = true, value_name = "DIR", env = "CODER_SERVER_DATA_DIR", help_heading = HEADING)]
    pub data_dir: Option<PathBuf>,
    /// Keep the encryption keys in this file [default: encryption.key in the data directory]
    ///
    /// A copy of the database is worth little without the keys, so keep them in another place. To give the keys themselves, set
    /// CODER_SERVER_ENCRYPTION_KEYS or CODER_EXTERNAL_TOKEN_ENCRYPTION_KEYS: 32 bytes each, in base64, separated by commas. The
    /// first key encrypts; every key decrypts.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "CODER_SERVER_ENCRYPTION_KEY_FILE",
        help_heading = HEADING,
        hide_short_help = true
    )]
    pub encryption_key_file: Option<PathBuf>,
    /// Use this PostgreSQL database instead of the SQLite file in the data directory [also: CODER_PG_CONNECTION_URL]
    ///
    /// The URL has the form of libpq: postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full. For a schema other than
    /// public, add options=-csearch_path%3DSCHEMA. Other users of this machine can see command lines, so give a password by the
    /// variable or by --database-url-file.
    // Of a type that nothing prints: it may have a password.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "CODER_SERVER_DATABASE_URL",
        hide_env_values = true,
        value_parser = clap::builder::StringValueParser::new().map(|url| Arc::new(Secret::from(url))),
        help_heading = HEADING,
        hide_short_help = true
    )]
    pub database_url: Option<Arc<Secret>>,
    /// Read the URL of the PostgreSQL database from this file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "CODER_SERVER_DATABASE_URL_FILE",
        conflicts_with = "database_url",
        help_heading = HEADING,
        hide_short_help = true
    )]
    pub database_url_file: Option<PathBuf>,
}

impl StoreArgs {
    /// The data directory, checked and made where it is missing: only for `serve`, `restore` and `move`. Elsewhere a mistyped path would become a
    /// second server, empty and with a key of its own.
    pub fn data_dir(&self) -> Result<DataDir, ConfigError> {
        Ok(DataDir::open(&self.path()?)?)
    }

    /// The data directory of a server that was started before.
    pub fn existing_data_dir(&self, environment: Environment<'_>) -> Result<DataDir, OpenError> {
        let path = self.path()?;
        if self.database_url(environment)?.is_none() {
            store::require_database(&path)?;
        } else if !path.exists() {
            // PostgreSQL says itself whether there is a server's database; the directory has the keys.
            return Err(StoreError::NoServer { place: path.display().to_string() }.into());
        }
        Ok(DataDir::open(&path).map_err(ConfigError::from)?)
    }

    fn path(&self) -> Result<PathBuf, ConfigError> {
        Ok(self.data_dir.clone().map_or_else(DataDir::default_path, Ok)?)
    }

    /// Where the encryption keys come from.
    pub fn key_source(&self, data_dir: &DataDir, environment: Environment<'_>) -> Result<KeySource, ConfigError> {
        let given = [KEYS_VARIABLE, "CODER_EXTERNAL_TOKEN_ENCRYPTION_KEYS"]
            .into_iter()
            .find_map(|name| Some((name, environment(name).filter(|value| !value.is_empty())?)));
        match (given, &self.encryption_key_file) {
            (Some((name, _)), Some(_)) => Err(ConfigError::TwoKeySources(name)),
            (Some((name, text)), None) => {
                Ok(KeySource::Variable { name, text: Secret::new(text.into_encoded_bytes()) })
            }
            (None, Some(path)) => Ok(KeySource::File(path.clone())),
            (None, None) => Ok(KeySource::File(data_dir.key_file())),
        }
    }

    /// The PostgreSQL database, if the server has one.
    pub fn database_url(&self, environment: Environment<'_>) -> Result<Option<DatabaseUrl>, OpenError> {
        let given = match (&self.database_url, &self.database_url_file) {
            (Some(url), _) => Some(Arc::clone(url)),
            (None, Some(path)) => Some(Arc::new(Secret::new(
                std::fs::read(path).map_err(|source| ConfigError::DatabaseUrlFile { path: path.clone(), source })?,
            ))),
            (None, None) => environment(PG_VARIABLE)
                .filter(|value| !value.is_empty())
                .map(|value| Arc::new(Secret::new(value.into_encoded_bytes()))),
        };
        Ok(given.map(|url| DatabaseUrl::parse(&url)).transpose()?)
    }

    /// Opens the store, as every command but `serve` does.
    pub async fn open(&self, data_dir: &DataDir, environment: Environment<'_>) -> Result<Store, OpenError> {
        let source = self.key_source(data_dir, environment)?;
        let url = self.database_url(environment)?;
        Ok(Store::open_as(Role::Command, data_dir, url.as_ref(), source).await?)
    }
}

/// Why the store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Flags, variables or the data directory.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database or its keys.
    #[error(transparent)]
    Store(#[from] StoreError),
}
