//! Which server a command talks to, and with which session token.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use clap::builder::FalseyValueParser;
use protocol::rest::SESSION_TOKEN_HEADER;
use protocol::secret::Secret;
use reqwest::Url;
use reqwest::header::HeaderValue;

use super::client::{Client, SetUpError};
use super::config_dir::{ConfigDir, ConfigDirError};
use super::mistakes;
use crate::network::{HeaderError, Headers, Network, NetworkError, ProxyError, Settings};

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
    #[arg(long, global = true, env = "CODER_HEADER", value_name = "NAME=VALUE",
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
    /// A header that cannot be sent, or the command for them.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A proxy that cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// No TLS.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No HTTP.
    #[error(transparent)]
    Client(#[from] SetUpError),
}

#[expect(clippy::unnecessary_wraps, reason = "the signature is clap's")]
pub(crate) fn secret(text: &str) -> Result<Arc<Secret>, String> {
    Ok(Arc::new(Secret::from(text.to_owned())))
}

/// What the last sign-in left for one server.
#[derive(Default)]
pub(crate) struct Saved {
    session: Option<Secret>,
    /// Certificates to trust.
    pub(crate) ca_file: Option<PathBuf>,
    /// The server of the sign-in, if it is another one.
    elsewhere: Option<Url>,
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
        let Ok(url) = self.url() else { return false };
        self.given_token().is_some() || self.saved(&url).is_ok_and(|saved| saved.session.is_some())
    }

    /// A client of the server that the user is signed in to. Without a token it asks all the same: the server says no.
    pub(crate) async fn connect(&self) -> Result<Client, ServerError> {
        let url = self.url()?;
        let saved = match self.given_token() {
            // What is needed is there, in whatever state the directory is.
            Some(_) => self.saved(&url).unwrap_or_default(),
            None => self.saved(&url)?,
        };
        let token = self.given_token().or(saved.session.as_ref());
        let client = self.connect_to(url, token, saved.ca_file).await?;
        Ok(match saved.elsewhere {
            Some(elsewhere) if self.given_token().is_none() => client.signed_in_to(&elsewhere),
            _ => client,
        })
    }

    /// A client of the server of the sign-in with the token of the sign-in, whatever flags and variables say; none where there is none.
    pub(crate) async fn connect_saved(&self) -> Result<Option<Client>, ServerError> {
        let dir = self.config_dir()?;
        let (Some(url), Some(session)) = (dir.url()?, dir.session()?) else { return Ok(None) };
        self.connect_to(parse_url(&url)?, Some(&session), dir.ca_file()).await.map(Some)
    }

    /// What was kept at the sign-in for the server at `url`. Whoever sets `CODER_URL`, as a template can, must not get
    /// the token of another server.
    pub(crate) fn saved(&self, url: &Url) -> Result<Saved, ServerError> {
        let Ok(dir) = self.config_dir() else { return Ok(Saved::default()) };
        let signed_in_to = dir.url()?.and_then(|saved| parse_url(&saved).ok());
        match signed_in_to {
            Some(own) if own.origin() == url.origin() => {
                Ok(Saved { session: dir.session()?, ca_file: dir.ca_file(), elsewhere: None })
            }
            Some(other) if dir.session()?.is_some() => Ok(Saved { elsewhere: Some(other), ..Saved::default() }),
            _ => Ok(Saved::default()),
        }
    }

    /// A client of this server with this token, which trusts the certificates in `ca_file` besides those of the system.
    pub(crate) async fn connect_to(
        &self,
        url: Url,
        token: Option<&Secret>,
        ca_file: Option<PathBuf>,
    ) -> Result<Client, ServerError> {
        let lists = self.header.iter().map(String::as_str);
        let headers = Headers::new(lists, self.header_command.clone(), "a --header")?;
        let settings = Settings { headers, ca_file, ..Settings::default() };
        let variables: Vec<_> = std::env::vars_os().collect();
        let network = Network::new(url, settings, &variables)?;
        let mut headers = network.headers().await?;
        if let Some(token) = token {
            headers.insert(SESSION_TOKEN_HEADER, session_header(token)?);
        }
        Ok(Client::new(network, headers)?)
    }
}

fn session_header(token: &Secret) -> Result<HeaderValue, ServerError> {
    if let Some(mistake) = mistakes::no_session_token(token) {
        return Err(ServerError::NoSessionToken(mistake));
    }
    let mut header = HeaderValue::from_bytes(token.expose()).map_err(|_| ServerError::Token)?;
    header.set_sensitive(true);
    Ok(header)
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
}
