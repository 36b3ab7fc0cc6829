use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::{BoolishValueParser, PossibleValuesParser, TypedValueParser};
use protocol::secret::Secret;

use super::StaleFiles;

/// Flags of `coder agent`, with the variables that stand for them.
#[derive(Args, Clone, Debug, Default)]
pub struct AgentArgs {
    /// Configuration file (TOML) with the names of these flags as keys; it never holds a token
    /// [default: /etc/coder-agent/config.toml]
    #[arg(long, value_name = "FILE", env = "CODER_AGENT_CONFIG")]
    pub config: Option<PathBuf>,

    /// Address of the control plane
    #[arg(long, value_name = "URL", env = "CODER_AGENT_URL", hide_env_values = true)]
    pub agent_url: Option<String>,

    /// The agent's token; other users see a command line, so prefer a file [env: `CODER_AGENT_TOKEN`]
    // No `env` of clap's: it would keep a copy of the token in memory that nobody wipes.
    #[arg(long, value_name = "TOKEN", value_parser = secret, conflicts_with = "agent_token_file")]
    pub agent_token: Option<Arc<Secret>>,

    /// File that holds the agent's token; read again before every dial [env: `CODER_AGENT_TOKEN_FILE`]
    #[arg(long, value_name = "FILE")]
    pub agent_token_file: Option<PathBuf>,

    /// HTTP proxy between this agent and the server, or `direct` for none [default: `HTTPS_PROXY` or `HTTP_PROXY`, with
    /// the exceptions of `NO_PROXY`] [env: `CODER_AGENT_PROXY`]
    #[arg(long, value_name = "URL", value_parser = secret)]
    pub proxy: Option<Arc<Secret>>,

    /// Send this header with every request, such as one that an access proxy asks for; may be repeated, prefer the
    /// variable for secrets [env: `CODER_AGENT_HEADER`, with commas between headers]
    #[arg(long, value_name = "NAME=VALUE", value_parser = secret)]
    pub agent_header: Vec<Arc<Secret>>,

    /// Send the headers that this command prints, one NAME=VALUE a line; runs again for each connection
    /// [env: `CODER_AGENT_HEADER_COMMAND`]
    #[arg(long, value_name = "COMMAND")]
    pub agent_header_command: Option<String>,

    /// Trust the certificates in this PEM file, besides those of the system
    #[arg(long, value_name = "FILE", env = "CODER_AGENT_CA_FILE")]
    pub ca_file: Option<PathBuf>,

    /// Directory of `coder-secrets-agent.log` and of script logs [default: `LogsDirectory=` of the unit, else --state-dir]
    #[arg(long, value_name = "DIR", env = "CODER_AGENT_LOG_DIR")]
    pub log_dir: Option<PathBuf>,

    /// Directory in which scripts keep data and programs [default: --state-dir]
    #[arg(long, value_name = "DIR", env = "CODER_AGENT_SCRIPT_DATA_DIR")]
    pub script_data_dir: Option<PathBuf>,

    /// Directory of the ledger of written files [default: $XDG_STATE_HOME/coder-agent, else ~/.local/state/coder-agent]
    #[arg(long, value_name = "DIR", env = "CODER_AGENT_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// What becomes of a file that no secret goes to any more, if it still is what was written [default: keep]
    #[arg(long, value_name = "keep|remove", env = "CODER_AGENT_STALE_FILES", hide_possible_values = true,
          value_parser = PossibleValuesParser::new(StaleFiles::WORDS).try_map(|word| word.parse::<StaleFiles>()))]
    pub stale_files: Option<StaleFiles>,

    /// Become this user (name or number) before anything else; needs root
    #[arg(long, value_name = "USER", env = "CODER_AGENT_USER")]
    pub user: Option<String>,

    /// Run everything as root where no --user is given
    #[arg(long, env = "CODER_AGENT_ALLOW_ROOT", num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub allow_root: Option<bool>,

    /// A secret that cannot be delivered is a start error, and no script runs
    #[arg(long, env = "CODER_AGENT_STRICT", num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub strict: Option<bool>,

    /// Start COMMAND without secrets when they have not arrived after this time [default: wait]
    #[arg(long, value_name = "AFTER", env = "CODER_AGENT_START_WITHOUT_SECRETS", value_parser = duration)]
    pub start_without_secrets: Option<Duration>,

    /// Tell the service manager that the agent is ready after this time at the latest [default: 30s]
    #[arg(long, value_name = "AFTER", env = "CODER_AGENT_READY_AFTER", value_parser = duration)]
    pub ready_after: Option<Duration>,

    /// Give `CODER_AGENT_TOKEN` to scripts, COMMAND and sessions; whoever has it can read every secret
    #[arg(long, env = "CODER_AGENT_PASS_AGENT_TOKEN", num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub pass_agent_token: Option<bool>,

    /// Fetch the manifest, print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// As process 1 of a container: do not put a small process in front that reaps orphans and passes signals on
    #[arg(long)]
    pub no_reap: bool,

    /// Run this as the main process: it gets the whole environment and every signal, and its exit code is returned
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// A length of time as `30s`, `5m` or `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|_| "not a length of time such as 30s or 5m".to_owned())?;
    Duration::try_from(span).map_err(|_| "a length of time cannot be negative".to_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "the signature is clap's")]
fn secret(text: &str) -> Result<Arc<Secret>, std::convert::Infallible> {
    Ok(Arc::new(Secret::new(text.trim().as_bytes().to_vec())))
}
