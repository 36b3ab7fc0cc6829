//! The configuration of a command: flags, then `CODER_SERVER_…`, then Coder's own variable, then the default.
#![expect(clippy::doc_markdown, reason = "the comments of flags are their help, where backticks would show")]

mod account_args;
mod addresses;
mod proxies;
mod quantities;
mod store_args;
mod targets;

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

pub use account_args::{AccountArgs, AccountConfig};
use addresses::{access_url, listen};
pub use proxies::TrustedProxies;
use quantities::{drain_time, retention, size};
pub use quantities::{lifetime, since};
pub use store_args::{OpenError, StoreArgs};
use targets::targets;

use crate::limits::DEFAULT_RATE;
use crate::store::{Algorithm, AlgorithmError, DataDirError, KeepVersions, PatternError, Targets};

/// Port 7080 on loopback: reachable from elsewhere only when somebody says so.
const DEFAULT_LISTEN: &str = "127.0.0.1:7080";
/// A quarter.
const DEFAULT_AUDIT_RETENTION: &str = "90d";
/// Enough to get behind a few attempts to correct a mistake.
const DEFAULT_VERSIONS: u32 = 5;
/// More would be a place to find old secrets in.
const MOST_VERSIONS: i64 = 100;
/// Some millions of records.
const DEFAULT_AUDIT_MAX_SIZE: &str = "1GiB";

/// Flags of `serve`.
#[derive(Debug, Default, Args)]
pub struct ServeArgs {
    /// Listen on this address; port 0 picks a free port [default: 127.0.0.1:7080] [also: CODER_HTTP_ADDRESS]
    #[arg(long, value_name = "HOST:PORT", env = "CODER_SERVER_LISTEN")]
    pub listen: Option<String>,
    /// Send users and agents to this address of the server [default: the address it listens on] [also: CODER_ACCESS_URL]
    #[arg(long, value_name = "URL", env = "CODER_SERVER_ACCESS_URL")]
    pub access_url: Option<String>,
    /// Serve TLS with this certificate chain (PEM); needs --tls-key [also: CODER_TLS_CERT_FILE]
    #[arg(long, value_name = "FILE", env = "CODER_SERVER_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// Use this private key of the certificate (PEM) [also: CODER_TLS_KEY_FILE]
    #[arg(long, value_name = "FILE", env = "CODER_SERVER_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Refuse new file targets, and deliver no secret as a file [also: CODER_DISABLE_USER_SECRET_FILE_PATH]
    #[arg(
        long, value_name = "BOOL", env = "CODER_SERVER_DISABLE_USER_SECRET_FILE_PATH",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new()
    )]
    pub disable_user_secret_file_path: Option<bool>,
    /// Deny secrets the variables of these names, such as @code,NODE_*; * is any text, @code all that are known to run as code
    #[arg(long, value_name = "PATTERNS", env = "CODER_SERVER_DENY_USER_SECRET_ENV_NAME", value_delimiter = ',')]
    pub deny_user_secret_env_name: Vec<String>,
    /// Deny secrets the files at these paths, such as @code,~/.ssh/*; * is any text, @code all that are known to run as code
    #[arg(long, value_name = "PATTERNS", env = "CODER_SERVER_DENY_USER_SECRET_FILE_PATH", value_delimiter = ',')]
    pub deny_user_secret_file_path: Vec<String>,
    /// Delete audit records that are older than this, such as 90d or 12h; 0 for no limit [default: 90d]
    #[arg(long, value_name = "TIME", env = "CODER_SERVER_AUDIT_RETENTION")]
    pub audit_retention: Option<String>,
    /// Delete the oldest audit records when the log exceeds this size, such as 512MiB or 1GiB; 0 for no limit [default: 1GiB]
    #[arg(long, value_name = "SIZE", env = "CODER_SERVER_AUDIT_MAX_SIZE")]
    pub audit_max_size: Option<String>,
    /// Accept this many requests a minute from each user and agent; 0 for no limit [default: 512] [also: CODER_API_RATE_LIMIT]
    #[arg(long, value_name = "N", env = "CODER_SERVER_RATE_LIMIT")]
    pub rate_limit: Option<u32>,
    /// Generate new git keys for this algorithm: ed25519 or ecdsa (P-256); existing keys stay [default: ed25519]
    #[arg(long, value_name = "NAME", env = "CODER_SERVER_SSH_KEYGEN_ALGORITHM")]
    pub ssh_keygen_algorithm: Option<Algorithm>,
    /// Keep this many former values of each secret, for 7 days at most, so that coder secret rollback can undo a change; 0 for none
    /// [default: 5]
    #[arg(
        long, value_name = "N", env = "CODER_SERVER_KEEP_VERSIONS",
        value_parser = clap::value_parser!(u32).range(0..=MOST_VERSIONS)
    )]
    pub keep_versions: Option<u32>,
    /// After a change, end the sessions of Coder's own agents, which fetch it when they connect again; at most once in 10s each
    /// [default: true]
    #[arg(
        long, value_name = "BOOL", env = "CODER_SERVER_REFRESH_CODER_AGENTS",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new()
    )]
    pub refresh_coder_agents: Option<bool>,
    /// Serve at most this many connections at a time [default: as many as the open-file limit allows]
    #[arg(long, value_name = "N", env = "CODER_SERVER_MAX_CONNECTIONS")]
    pub max_connections: Option<usize>,
    /// Trust reverse proxies in these networks, such as 10.0.0.0/8,127.0.0.1, to name the client; needs --proxy-trusted-headers
    /// [also: CODER_PROXY_TRUSTED_ORIGINS]
    #[arg(long, value_name = "NETWORKS", env = "CODER_SERVER_PROXY_TRUSTED_ORIGINS")]
    pub proxy_trusted_origins: Option<String>,
    /// Read the client's address from the first of these headers that a trusted proxy sends, such as X-Forwarded-For
    /// [also: CODER_PROXY_TRUSTED_HEADERS]
    #[arg(long, value_name = "HEADERS", env = "CODER_SERVER_PROXY_TRUSTED_HEADERS")]
    pub proxy_trusted_headers: Option<String>,
    /// Answer GET /metrics for Prometheus on this address, in clear and without a token [default: nowhere]
    #[arg(long, value_name = "HOST:PORT", env = "CODER_SERVER_METRICS_LISTEN")]
    pub metrics_listen: Option<String>,
    /// At a stop, hand agents over to other servers for this long, such as 20s; 0 stops at once
    /// [default: 10s if other servers use the database, else 0]
    #[arg(long, value_name = "TIME", env = "CODER_SERVER_DRAIN_TIME")]
    pub drain_time: Option<String>,
    /// What users may have.
    #[command(flatten)]
    pub accounts: AccountArgs,
    /// Write log lines in this format
    #[arg(long, value_name = "FORMAT", env = "CODER_SERVER_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line for each event, for people.
    #[default]
    Text,
    /// One JSON object for each event.
    Json,
}

/// The server's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// Host and port.
    pub listen: String,
    /// Address from outside, without a slash at the end.
    pub access_url: Option<String>,
    /// Certificate chain and private key.
    pub tls: Option<TlsFiles>,
    /// What secrets may target.
    pub targets: Targets,
    /// None keeps audit records for ever.
    pub audit_retention: Option<Duration>,
    /// Bytes of the audit log; none for no limit.
    pub audit_max_size: Option<u64>,
    /// Requests a minute and principal; 0 for no limit.
    pub rate_limit: u32,
    /// What new git keys are made for.
    pub git_keys: Algorithm,
    /// Whether agents without live delivery are made to dial again after a change.
    pub refresh_coder_agents: bool,
    /// How many former values of a secret are kept.
    pub keep_versions: KeepVersions,
    /// Connections at a time; none for what the open-file limit allows.
    pub max_connections: Option<usize>,
    /// The reverse proxies whose word counts.
    pub proxies: TrustedProxies,
    /// Host and port for metrics.
    pub metrics_listen: Option<String>,
    /// How long a stop takes.
    pub drain: Drain,
    /// What users may have.
    pub accounts: AccountConfig,
    /// How log lines are written.
    pub log_format: LogFormat,
}

/// How long a server that stops hands its agents over to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drain {
    /// Some seconds if there are others.
    #[default]
    Auto,
    /// This long.
    For(Duration),
}

/// Files of the server's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// What is wrong with flags or variables.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file with the URL of the database.
    #[error("cannot read the database URL from {}", path.display())]
    DatabaseUrlFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A variable or flag does not parse.
    #[error("{name} is \"{text}\", which is not {wanted}")]
    Malformed {
        /// Its name.
        name: &'static str,
        /// What it holds; none of these holds a secret.
        text: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// An address that cannot be listened on.
    #[error("{name} is \"{text}\"; {hint}")]
    Listen {
        /// The option or variable.
        name: &'static str,
        /// What it holds.
        text: String,
        /// What to write instead.
        hint: String,
    },
    /// One half of the word of proxies.
    #[error("--proxy-trusted-origins and --proxy-trusted-headers go together; one of them is missing")]
    HalfProxies,
    /// No network, or no header name.
    #[error(
        "\"{0}\" in --proxy-trusted-origins or --proxy-trusted-headers is no network such as 10.0.0.0/8 and no header name"
    )]
    Proxies(String),
    /// A pattern that can match nothing.
    #[error("{name} has \"{text}\"")]
    Pattern {
        /// The option.
        name: &'static str,
        /// What it holds.
        text: String,
        /// What is wrong.
        source: PatternError,
    },
    /// No algorithm of ours.
    #[error("{0} names no algorithm for git keys")]
    GitKeys(&'static str, #[source] AlgorithmError),
    /// One half of TLS.
    #[error("--tls-cert and --tls-key go together; one of them is missing")]
    HalfTls,
    /// Keys in two places.
    #[error("encryption keys are given twice, by the variable {0} and by a key file; use one of them")]
    TwoKeySources(&'static str),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

/// How variables are looked up; tests give their own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl ServeArgs {
    /// Adds Coder's own variables and the defaults.
    pub fn resolve(self, environment: Environment<'_>) -> Result<ServeConfig, ConfigError> {
        let env = |name| environment(name).filter(|value| !value.is_empty());
        let text = |name| env(name).map(|value| value.to_string_lossy().into_owned());
        let cert = self.tls_cert.or_else(|| env("CODER_TLS_CERT_FILE").map(PathBuf::from));
        let key = self.tls_key.or_else(|| env("CODER_TLS_KEY_FILE").map(PathBuf::from));
        let disabled = match self.disable_user_secret_file_path {
            Some(given) => given,
            None => {
                boolean("CODER_DISABLE_USER_SECRET_FILE_PATH", text("CODER_DISABLE_USER_SECRET_FILE_PATH").as_deref())?
            }
        };
        let origins = self.proxy_trusted_origins.or_else(|| text("CODER_PROXY_TRUSTED_ORIGINS"));
        let headers = self.proxy_trusted_headers.or_else(|| text("CODER_PROXY_TRUSTED_HEADERS"));
        Ok(ServeConfig {
            listen: match (self.listen, text("CODER_HTTP_ADDRESS")) {
                (Some(given), _) => listen("--listen", given)?,
                (None, Some(given)) => listen("CODER_HTTP_ADDRESS", given)?,
                (None, None) => DEFAULT_LISTEN.into(),
            },
            access_url: access_url(self.access_url.or_else(|| text("CODER_ACCESS_URL")))?,
            tls: match (cert, key) {
                (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
                (None, None) => None,
                _ => return Err(ConfigError::HalfTls),
            },
            targets: targets(disabled, &self.deny_user_secret_env_name, &self.deny_user_secret_file_path)?,
            audit_retention: retention(self.audit_retention.as_deref().unwrap_or(DEFAULT_AUDIT_RETENTION))?,
            audit_max_size: size(self.audit_max_size.as_deref().unwrap_or(DEFAULT_AUDIT_MAX_SIZE))?,
            rate_limit: rate_limit(self.rate_limit, text("CODER_API_RATE_LIMIT"))?,
            git_keys: git_keys(self.ssh_keygen_algorithm, environment)?,
            refresh_coder_agents: self.refresh_coder_agents.unwrap_or(true),
            keep_versions: KeepVersions(self.keep_versions.unwrap_or(DEFAULT_VERSIONS)),
            max_connections: self.max_connections,
            proxies: proxies(origins.unwrap_or_default().trim(), headers.unwrap_or_default().trim())?,
            metrics_listen: self.metrics_listen.map(|given| listen("--metrics-listen", given)).transpose()?,
            drain: self.drain_time.as_deref().map(drain_time).transpose()?.unwrap_or_default(),
            accounts: self.accounts.resolve(environment)?,
            log_format: self.log_format,
        })
    }
}

/// The flag, else Coder's own variable, else the default.
pub fn git_keys(flag: Option<Algorithm>, environment: Environment<'_>) -> Result<Algorithm, ConfigError> {
    let name = "CODER_SSH_KEYGEN_ALGORITHM";
    let text = environment(name).filter(|value| !value.is_empty()).map(|value| value.to_string_lossy().into_owned());
    match (flag, text) {
        (Some(flag), _) => Ok(flag),
        (None, None) => Ok(Algorithm::default()),
        (None, Some(text)) => text.parse().map_err(|error| ConfigError::GitKeys(name, error)),
    }
}

fn boolean(name: &'static str, text: Option<&str>) -> Result<bool, ConfigError> {
    match text.map(str::to_ascii_lowercase).as_deref() {
        None | Some("false" | "0" | "no" | "off" | "f" | "n") => Ok(false),
        Some("true" | "1" | "yes" | "on" | "t" | "y") => Ok(true),
        Some(text) => Err(ConfigError::Malformed { name, text: text.to_owned(), wanted: "true or false" }),
    }
}

fn rate_limit(flag: Option<u32>, text: Option<String>) -> Result<u32, ConfigError> {
    let given = flag.map_or_else(|| number("CODER_API_RATE_LIMIT", text), |flag| Ok(Some(flag)))?;
    Ok(given.unwrap_or(DEFAULT_RATE))
}

fn number(name: &'static str, text: Option<String>) -> Result<Option<u32>, ConfigError> {
    let parse = |text: String| {
        u32::from_str(&text).map_err(|_| ConfigError::Malformed { name, text, wanted: "a number from 0 on" })
    };
    text.map(parse).transpose()
}

fn proxies(origins: &str, headers: &str) -> Result<TrustedProxies, ConfigError> {
    if origins.is_empty() != headers.is_empty() {
        return Err(ConfigError::HalfProxies);
    }
    TrustedProxies::parse(origins, headers).map_err(ConfigError::Proxies)
}

#[cfg(test)]
mod tests;
