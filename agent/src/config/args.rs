#![expect(clippy::doc_markdown, reason = "the comments of flags are their help, where backticks would show")]

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
    /// Read settings from this TOML file, whose keys are the names of these options; a token is not allowed in it
    /// [default: /etc/coder-agent/config.toml]
    #[arg(long, value_name = "FILE", env = "CODER_AGENT_CONFIG")]
    pub config: Option<PathBuf>,

    /// Connect to the server at this address
    #[arg(long, value_name = "URL", env = "CODER_AGENT_URL", hide_env_values = true)]
    pub agent_url: Option<String>,

    /// Use this token of the agent. Other users can see command lines, so prefer a file or the variable [env: CODER_AGENT_TOKEN]
    // No `env` of clap's: it would keep a copy of the token in memory that nobody wipes.
    #[arg(long, value_name = "TOKEN", value_parser = secret, conflicts_with = "agent_token_file")]
    pub agent_token: Option<Arc<Secret>>,

    /// Read the agent's token from this file, again before each connection [env: CODER_AGENT_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub agent_token_file: Option<PathBuf>,

    /// Connect through this HTTP proxy, or "direct" for none [default: HTTPS_PROXY or HTTP_PROXY, with the exceptions of
    /// NO_PROXY] [env: CODER_AGENT_PROXY]
    #[arg(long, value_name = "URL", value_parser = secret)]
    pub proxy: Option<Arc<Secret>>,

    /// Send this header with every request, for example to an access proxy; can be given several times. Prefer the variable
    /// for secrets [env: CODER_AGENT_HEADER, with commas between headers]
    #[arg(long, value_name = "NAME=VALUE", value_parser = secret)]
    pub agent_header: Vec<Arc<Secret>>,

    /// Send the headers that this command prints, one NAME=VALUE per line; it runs again for each connection
    /// [env: CODER_AGENT_HEADER_COMMAND]
    #[arg(long, value_name = "COMMAND")]
    pub agent_header_command: Option<String>,

    /// Trust the certificates in this PEM file in addition to those of the system
    #[arg(long, value_name = "FILE", env = "CODER_AGENT_CA_FILE")]
    pub ca_file: Option<PathBuf>,

    /// Write coder-secrets-agent.log and the logs of scripts to this directory [default: LogsDirectory= of the unit, else
    /// --state-dir]
    #[arg(long, value_name = "DIR", env = "CODER_AGENT_LOG_DIR")]
    pub log_dir: Option<PathBuf>,

    /// Let scripts keep data and programs in this directory [default: --state-dir]
    #[arg(long, value_name = "DIR", env = "CODER_AGENT_SCRIPT_DATA_DIR")]
    pub script_data_dir: Option<PathBuf>,

    /// Keep the record of written files in this directory [default: $XDG_STATE_HOME/coder-agent, else
    /// ~/.local/state/coder-agent]
    #[arg(long, value_name = "DIR", env = "CODER_AGENT_STATE_DIR")]
    pub state_dir: Option<PathBuf>,

    /// What to do with an unmodified file that no secret targets any more [default: keep]
    #[arg(long, value_name = "keep|remove", env = "CODER_AGENT_STALE_FILES", hide_possible_values = true,
          value_parser = PossibleValuesParser::new(StaleFiles::WORDS).try_map(|word| word.parse::<StaleFiles>()))]
    pub stale_files: Option<StaleFiles>,

    /// Deliver changes of secrets while the workspace runs; off: at the next start, reload or connection [default: on]
    #[arg(long, value_name = "on|off", env = "CODER_AGENT_LIVE", value_parser = BoolishValueParser::new())]
    pub live: Option<bool>,

    /// How often to ask a server for changes that cannot tell of them by itself, such as Coder's; 0 for never [default: 5m]
    #[arg(long, value_name = "INTERVAL", env = "CODER_AGENT_REFRESH", value_parser = interval)]
    pub refresh: Option<Duration>,

    /// Become this user (name or number) before anything else; needs root
    #[arg(long, value_name = "USER", env = "CODER_AGENT_USER")]
    pub user: Option<String>,

    /// Run everything as root if no --user is given
    #[arg(long, env = "CODER_AGENT_ALLOW_ROOT", num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub allow_root: Option<bool>,

    /// Run no script until every secret can be delivered, and report a start error meanwhile
    #[arg(long, env = "CODER_AGENT_STRICT", num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub strict: Option<bool>,

    /// Start COMMAND without secrets if they have not arrived after this time [default: wait]
    #[arg(long, value_name = "AFTER", env = "CODER_AGENT_START_WITHOUT_SECRETS", value_parser = duration)]
    pub start_without_secrets: Option<Duration>,

    /// Tell the service manager that the agent is ready after this time at the latest [default: 30s]
    #[arg(long, value_name = "AFTER", env = "CODER_AGENT_READY_AFTER", value_parser = duration)]
    pub ready_after: Option<Duration>,

    /// Pass CODER_AGENT_TOKEN to scripts, COMMAND and sessions; whoever has it can read every secret
    #[arg(long, env = "CODER_AGENT_PASS_AGENT_TOKEN", num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub pass_agent_token: Option<bool>,

    /// Print what would be delivered where, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Do not put a small process in front that reaps orphans and forwards signals, as process 1 of a container
    #[arg(long)]
    pub no_reap: bool,

    /// Run this as the main process, with the whole environment and every signal; its exit status becomes the agent's
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// A length of time as `30s`, `5m` or `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|_| "not a length of time such as 30s or 5m".to_owned())?;
    Duration::try_from(span).map_err(|_| "a length of time cannot be negative".to_owned())
}

/// Shortest pause between two questions for changes: each fetches everything.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// As [`duration`]; 0 for never.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    match duration(text)? {
        short if !short.is_zero() && short < SHORTEST_INTERVAL => Err("less than a second; 0 turns it off".to_owned()),
        interval => Ok(interval),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the signature is clap's")]
fn secret(text: &str) -> Result<Arc<Secret>, std::convert::Infallible> {
    Ok(Arc::new(Secret::new(text.trim().as_bytes().to_vec())))
}
