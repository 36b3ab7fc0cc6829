//! Defaults < file < environment < flags → one immutable [`Config`].

mod args;
mod file;
mod network;
mod stale_files;
mod token;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::secret::Secret;
use reqwest::Url;

pub use args::AgentArgs;
pub(crate) use args::duration;
pub use stale_files::StaleFiles;
pub use token::TokenSource;

use crate::network::{HeaderError, ProxyError, Settings};

/// Variable with the agent's token.
pub const TOKEN_VARIABLE: &str = "CODER_AGENT_TOKEN";

/// Variables that are the agent's alone: what it starts does not get them, because they may hold credentials.
pub const PRIVATE_VARIABLES: [&str; 4] =
    [TOKEN_VARIABLE, network::PROXY_VARIABLE, network::HEADER_VARIABLE, network::HEADER_COMMAND_VARIABLE];

/// Variable with the path of the local socket, for agents and for those who ask.
pub const SOCKET_VARIABLE: &str = "CODER_AGENT_SOCKET";

/// How often a server is asked for changes that cannot tell of them.
const REFRESH: Duration = Duration::from_mins(5);

/// The directory of the machine's configuration.
pub const DIRECTORY: &str = "/etc/coder-agent";

/// What one run of the agent goes by; nothing changes it after the start.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "one for each switch on the command line")]
pub struct Config {
    /// Address of the control plane, without a trailing slash in its path.
    pub url: Url,
    /// How the agent gets there.
    pub network: Settings,
    /// The configuration file, which may be absent at the default place.
    pub config_file: PathBuf,
    /// Where the agent's token comes from.
    pub token: TokenSource,
    /// Directory of the agent's log and of script logs, where the user's own is not wanted.
    pub log_dir: Option<PathBuf>,
    /// Where scripts keep data and programs, where the user's own is not wanted.
    pub script_data_dir: Option<PathBuf>,
    /// Directory of the ledger, where the user's own is not wanted.
    pub state_dir: Option<PathBuf>,
    /// What becomes of files that no secret goes to any more.
    pub stale_files: StaleFiles,
    /// Whether changes are delivered while the workspace runs.
    pub live: bool,
    /// How often a server is asked that cannot tell of changes; never, if absent.
    pub refresh: Option<Duration>,
    /// Levels of the agent's log, as `info` or `agent=debug,info`.
    pub log_levels: Option<String>,
    /// The user to become, by name or number.
    pub user: Option<String>,
    /// The local socket, where the fixed place is not wanted.
    pub socket: Option<OsString>,
    /// Whether root may be the workspace user.
    pub allow_root: bool,
    /// Whether an undelivered secret is a start error.
    pub strict: bool,
    /// When COMMAND starts although no secrets have arrived; never, if absent.
    pub start_without_secrets: Option<Duration>,
    /// When the service manager hears READY at the latest.
    pub ready_after: Duration,
    /// Whether children see the agent's token.
    pub pass_agent_token: bool,
    /// Whether the plan is printed instead of carried out.
    pub dry_run: bool,
    /// The main process, or empty.
    pub command: Vec<OsString>,
}

/// Why there is no configuration; every one of these ends the program before its first request.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each of them is")]
pub enum ConfigError {
    // The words of the reference; people search for them.
    #[error("CODER_AGENT_URL must be set")]
    NoUrl,
    #[error("Either CODER_AGENT_TOKEN or CODER_AGENT_TOKEN_FILE must be set")]
    NoToken,
    #[error("the agent URL {url:?} is not usable: {reason}")]
    BadUrl { url: String, reason: String },
    #[error("cannot read configuration file {path}")]
    ReadFile { path: PathBuf, source: io::Error },
    #[error("{path} line {line}: {reason}")]
    FileSyntax { path: PathBuf, line: usize, reason: String },
    #[error("{path}: {key} must not be in this file, which others may read; name a file with agent-token-file")]
    TokenInFile { path: PathBuf, key: String },
    #[error("cannot read agent token file {path}")]
    ReadToken { path: PathBuf, source: io::Error },
    #[error("the agent token in {origin} is unusable: {reason}")]
    BadToken { origin: String, reason: &'static str },
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(
        "{path}: proxy must not hold a password in a file that others may read; chmod o-r {path}, or set CODER_AGENT_PROXY"
    )]
    ProxyPasswordInFile { path: PathBuf },
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("no memory for the agent token")]
    Memory(#[source] io::Error),
}

impl ConfigError {
    fn read_file(path: &Path, source: io::Error) -> Self {
        Self::ReadFile { path: path.to_owned(), source }
    }
}

impl Config {
    /// Puts the layers together. `variables` is the environment the agent was started with.
    pub fn load(args: AgentArgs, variables: &[(OsString, OsString)]) -> Result<Self, ConfigError> {
        let named = args.config.as_deref().filter(|path| !path.as_os_str().is_empty());
        let config_file = named.unwrap_or(Path::new(file::DEFAULT_PATH));
        let config_file = std::path::absolute(config_file).unwrap_or_else(|_| config_file.to_owned());
        let file = file::load(named)?;
        let network = network::settings(&args, &file, variables)?;
        let url = given(args.agent_url).or(given(file.agent_url)).ok_or(ConfigError::NoUrl)?;
        Ok(Self {
            url: parse_url(&url)?,
            network,
            config_file,
            token: find_token(args.agent_token, args.agent_token_file, file.agent_token_file, variables)?,
            log_dir: given(args.log_dir).or(given(file.log_dir)),
            script_data_dir: given(args.script_data_dir).or(given(file.script_data_dir)),
            state_dir: given(args.state_dir).or(given(file.state_dir)),
            stale_files: args.stale_files.or(file.stale_files).unwrap_or_default(),
            live: args.live.or(file.live).unwrap_or(true),
            refresh: Some(args.refresh.or(file.refresh).unwrap_or(REFRESH)).filter(|interval| !interval.is_zero()),
            log_levels: ["CODER_AGENT_LOG", "RUST_LOG"]
                .iter()
                .find_map(|name| variable(variables, name)?.to_str().map(str::to_owned)),
            user: given(args.user).or(given(file.user)),
            socket: variable(variables, SOCKET_VARIABLE).map(OsStr::to_owned),
            allow_root: args.allow_root.or(file.allow_root).unwrap_or(false),
            strict: args.strict.or(file.strict).unwrap_or(false),
            start_without_secrets: args.start_without_secrets.or(file.start_without_secrets),
            ready_after: args.ready_after.or(file.ready_after).unwrap_or(Duration::from_secs(30)),
            pass_agent_token: args.pass_agent_token.or(file.pass_agent_token).unwrap_or(false),
            dry_run: args.dry_run,
            command: args.command,
        })
    }
}

/// An empty variable means the same as none: compose files and units pass empty ones on.
fn given<T: AsRef<OsStr>>(value: Option<T>) -> Option<T> {
    value.filter(|value| !value.as_ref().is_empty())
}

fn variable<'v>(variables: &'v [(OsString, OsString)], name: &str) -> Option<&'v OsStr> {
    let (_, value) = variables.iter().find(|(key, value)| key == name && !value.is_empty())?;
    Some(value)
}

fn parse_url(text: &str) -> Result<Url, ConfigError> {
    let unusable = |reason: &str| ConfigError::BadUrl { url: text.to_owned(), reason: reason.to_owned() };
    let mut url: Url = text.trim().parse().map_err(|error| unusable(&format!("{error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(unusable("it must start with http:// or https:// and name a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // The message would print the password.
        return Err(ConfigError::BadUrl {
            url: "…".to_owned(), reason: "it must not hold a user or password".into()
        });
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

fn find_token(
    flag: Option<std::sync::Arc<Secret>>,
    flag_file: Option<PathBuf>,
    setting: Option<PathBuf>,
    variables: &[(OsString, OsString)],
) -> Result<TokenSource, ConfigError> {
    if let Some(token) = flag {
        return TokenSource::fixed(Secret::new(token.expose().to_vec()), "--agent-token");
    }
    let named = flag_file.or_else(|| variable(variables, "CODER_AGENT_TOKEN_FILE").map(PathBuf::from));
    if let Some(path) = named.or(given(setting)) {
        return TokenSource::file(&path);
    }
    if let Some(directory) = variable(variables, "CREDENTIALS_DIRECTORY") {
        let credential = Path::new(directory).join("agent-token");
        if credential.exists() {
            return TokenSource::file(&credential);
        }
    }
    let text = variable(variables, TOKEN_VARIABLE).ok_or(ConfigError::NoToken)?;
    TokenSource::fixed(Secret::new(text.as_encoded_bytes().trim_ascii().to_vec()), TOKEN_VARIABLE)
}

#[cfg(test)]
mod tests;
