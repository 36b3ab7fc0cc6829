//! Which server a command talks to, and with which session token.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;
use protocol::secret::Secret;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::AsyncReadExt;

use super::client::Client;
use super::config_dir::{ConfigDir, ConfigDirError};
use crate::tls::TlsError;

/// How long a header command may take; it runs before every command.
const HEADER_COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// Most output of a header command; servers take less than this in headers.
const HEADER_COMMAND_BYTES: u64 = 64 * 1024;

const HEADING: &str = "Server options";

/// Flags of every command that asks the server.
#[derive(Args)]
pub(crate) struct ServerArgs {
    /// Address of the server [default: that of the last `coder login`]
    #[arg(long, global = true, env = "CODER_URL", value_name = "URL", hide_env_values = true, help_heading = HEADING, hide_short_help = true)]
    url: Option<String>,

    /// Session token. Other users of this machine can see command lines, so prefer the variable or `coder login`
    #[arg(long, global = true, env = "CODER_SESSION_TOKEN", value_name = "TOKEN", hide_env_values = true,
          value_parser = secret, help_heading = HEADING, hide_short_help = true)]
    token: Option<Arc<Secret>>,

    /// Directory of the sign-in [default: ~/.config/coderv2]
    #[arg(long, global = true, env = "CODER_CONFIG_DIR", value_name = "DIR", hide_env_values = true, help_heading = HEADING, hide_short_help = true)]
    global_config: Option<PathBuf>,

    /// Send this header with every request; can be given several times
    #[arg(long, global = true, env = "CODER_HEADER", value_name = "NAME=VALUE", value_delimiter = ',',
          hide_env_values = true, help_heading = HEADING, hide_short_help = true)]
    header: Vec<String>,

    /// Send the headers that this command prints, one NAME=VALUE per line
    #[arg(long, global = true, env = "CODER_HEADER_COMMAND", value_name = "COMMAND", hide_env_values = true,
          help_heading = HEADING, hide_short_help = true)]
    header_command: Option<String>,

    /// Has no effect: there is no warning about versions. Scripts written for Coder's command line give this option
    #[arg(long, global = true, env = "CODER_NO_VERSION_WARNING", value_parser = FalseyValueParser::new(), hide = true)]
    _no_version_warning: bool,
}

/// What is wrong before the first request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    /// No address anywhere.
    #[error("You are not logged in. Try logging in using 'coder login <url>'.")]
    NotLoggedIn,
    /// There is no home to keep a sign-in in.
    #[error("no configuration directory: set HOME, or name one with --global-config")]
    NoConfigDir,
    /// The sign-in cannot be read.
    #[error(transparent)]
    ConfigDir(#[from] ConfigDirError),
    // The text is not repeated: it may hold a password.
    /// The address cannot be used.
    #[error("the server address is not valid ({0}); it should look like https://coder.example.com")]
    Url(String),
    /// What was given is something else.
    #[error("{0}")]
    NoSessionToken(&'static str),
    /// No header may carry the token.
    #[error("the session token has characters that no token has; log in again with 'coder login <url>'")]
    Token,
    // Not repeated either: it may be a credential.
    /// A header that cannot be sent.
    #[error("{0} is not NAME=VALUE, or has characters that no header may have")]
    Header(&'static str),
    /// The header command did not start.
    #[error("run the header command")]
    HeaderCommand(#[source] std::io::Error),
    /// The header command failed.
    #[error("the header command {0}")]
    HeaderCommandFailed(String),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP client refuses its set-up.
    #[error("set up HTTP")]
    Http(#[source] reqwest::Error),
}

#[expect(clippy::unnecessary_wraps, reason = "the signature is clap's")]
pub(crate) fn secret(text: &str) -> Result<Arc<Secret>, String> {
    Ok(Arc::new(Secret::from(text.to_owned())))
}

impl ServerArgs {
    /// The directory of the sign-in.
    pub(crate) fn config_dir(&self) -> Result<ConfigDir, ServerError> {
        let given = self.global_config.clone().filter(|path| !path.as_os_str().is_empty());
        ConfigDir::locate(given).ok_or(ServerError::NoConfigDir)
    }

    /// The address to talk to: flag, variable, sign-in.
    pub(crate) fn url(&self) -> Result<Url, ServerError> {
        let given = self.url.clone().filter(|url| !url.trim().is_empty());
        let url = given.map_or_else(|| self.config_dir()?.url().map_err(ServerError::from), |url| Ok(Some(url)))?;
        parse_url(&url.ok_or(ServerError::NotLoggedIn)?)
    }

    /// The token of the flag or the variable.
    pub(crate) fn given_token(&self) -> Option<&Secret> {
        self.token.as_deref().filter(|token| !token.is_empty())
    }

    /// Whether there are a server and a token to ask it with.
    pub(crate) fn is_signed_in(&self) -> bool {
        let stored = || self.config_dir().ok().and_then(|dir| dir.session().ok().flatten()).is_some();
        self.url().is_ok() && (self.given_token().is_some() || stored())
    }

    /// A client of the server that the user is signed in to. Without a token it asks all the same: the server says no.
    pub(crate) async fn connect(&self) -> Result<Client, ServerError> {
        let url = self.url()?;
        if let Some(token) = self.given_token() {
            return self.connect_to(url, Some(token)).await;
        }
        let stored = match self.config_dir() {
            Ok(dir) => dir.session()?,
            Err(_) => None,
        };
        self.connect_to(url, stored.as_ref()).await
    }

    /// A client of this server with this token.
    pub(crate) async fn connect_to(&self, url: Url, token: Option<&Secret>) -> Result<Client, ServerError> {
        let mut headers = HeaderMap::new();
        for header in &self.header {
            let (name, value) = parse_header(header).ok_or(ServerError::Header("a --header"))?;
            headers.append(name, value);
        }
        if let Some(command) = self.header_command.as_deref().filter(|command| !command.is_empty()) {
            let output = run_header_command(command, &url).await?;
            for line in output.lines().filter(|line| !line.trim().is_empty()) {
                let shown = "a line of the header command";
                let (name, value) = parse_header(line).ok_or(ServerError::Header(shown))?;
                headers.append(name, value);
            }
        }
        Client::new(url, token, headers)
    }
}

fn parse_header(header: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = header.split_once('=')?;
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, value))
}

async fn run_header_command(command: &str, url: &Url) -> Result<String, ServerError> {
    let mut child = tokio::process::Command::new("/bin/sh")
        .args(["-c", command])
        .env("CODER_URL", url.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(ServerError::HeaderCommand)?;
    let mut output = String::new();
    let run = async {
        if let Some(stdout) = child.stdout.take() {
            stdout.take(HEADER_COMMAND_BYTES).read_to_string(&mut output).await?;
        }
        child.wait().await
    };
    match tokio::time::timeout(HEADER_COMMAND_LIMIT, run).await {
        Ok(Ok(status)) if status.success() => Ok(output),
        Ok(Ok(status)) => Err(ServerError::HeaderCommandFailed(format!("failed: {status}"))),
        Ok(Err(error)) => Err(ServerError::HeaderCommand(error)),
        Err(_) => Err(ServerError::HeaderCommandFailed(format!("took more than {} s", HEADER_COMMAND_LIMIT.as_secs()))),
    }
}

/// An address as people type it: without a scheme it is https, and http for this machine.
pub(crate) fn parse_url(text: &str) -> Result<Url, ServerError> {
    let text = text.trim();
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        let host = text.split(['/', '?', '#']).next().unwrap_or_default();
        let local = ["localhost", "127.0.0.1", "[::1]"]
            .iter()
            .any(|name| host.strip_prefix(name).is_some_and(|port| port.is_empty() || port.starts_with(':')));
        format!("{}://{text}", if local { "http" } else { "https" })
    };
    let mut url = Url::parse(&full).map_err(|error| ServerError::Url(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ServerError::Url("its scheme is neither http nor https".into()));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_type_them() {
        for (typed, expected) in [
            ("https://coder.example.com", "https://coder.example.com/"),
            (" http://10.0.0.1:7080/ \n", "http://10.0.0.1:7080/"),
            ("coder.example.com", "https://coder.example.com/"),
            ("localhost:7080", "http://localhost:7080/"),
            ("127.0.0.1:7080/", "http://127.0.0.1:7080/"),
            ("[::1]:7080", "http://[::1]:7080/"),
            ("localhost.example.com", "https://localhost.example.com/"),
            ("https://example.com/coder?x#y", "https://example.com/coder"),
        ] {
            assert_eq!(parse_url(typed).unwrap().as_str(), expected, "{typed:?}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_used_is_refused_without_its_password() {
        for typed in ["", "ftp://me:hunter2@example.com", "https://me:hunter2@exa mple.com", "https://", "hunter2:x:y"]
        {
            let error = parse_url(typed).unwrap_err().to_string();
            assert!(error.contains("https://coder.example.com") && !error.contains("hunter2"), "{typed:?}: {error}");
        }
    }

    #[test]
    fn headers() {
        let (name, value) = parse_header("X-Proxy = a=b ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap(), value.is_sensitive()), ("x-proxy", "a=b", true));
        for bad in ["", "X-Proxy", "=a", "X Y=a", "X=a\nb"] {
            assert!(parse_header(bad).is_none(), "{bad:?}");
        }
    }
}
