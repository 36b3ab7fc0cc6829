//! Extra headers for what stands in front of the server, such as an access proxy. Their values are secrets.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use protocol::secret::Secret;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::sys::spawn::{Launch, SpawnError};

/// How long a header command may take; requests wait for it.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// Most output of a header command; servers take less than this in headers.
const COMMAND_BYTES: u64 = 64 * 1024;

/// The headers that the user named, and the command that prints more of them.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    named: HeaderMap,
    command: Option<String>,
}

/// Why there are no headers. The text is never repeated, because it may hold a credential.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum HeaderError {
    #[error("{0} is not NAME=VALUE, or has characters that no header may have")]
    Bad(&'static str),
    #[error("run the header command")]
    Start(#[source] SpawnError),
    #[error("read what the header command prints")]
    Read(#[source] io::Error),
    #[error("the header command {0}")]
    Failed(String),
}

impl Headers {
    /// The headers of `lists`, each one NAME=VALUE or several with commas between them, and of `command`. `origin` is what
    /// the user knows the lists by.
    pub fn new<'t>(
        lists: impl IntoIterator<Item = &'t str>,
        command: Option<String>,
        origin: &'static str,
    ) -> Result<Self, HeaderError> {
        let mut named = HeaderMap::new();
        for header in lists.into_iter().flat_map(split) {
            let (name, value) = parse(&header).ok_or(HeaderError::Bad(origin))?;
            named.append(name, value);
        }
        Ok(Self { named, command: command.filter(|command| !command.trim().is_empty()) })
    }

    pub(super) fn has_command(&self) -> bool {
        self.command.is_some()
    }

    /// All of them, for requests to `server`.
    pub(super) async fn collect(
        &self,
        server: &Url,
        variables: &[(OsString, OsString)],
    ) -> Result<HeaderMap, HeaderError> {
        let mut headers = self.named.clone();
        let Some(command) = &self.command else { return Ok(headers) };
        let output = run(command, server, variables).await?;
        for line in output.lines().filter(|line| !line.trim().is_empty()) {
            let (name, value) = parse(line).ok_or(HeaderError::Bad("a line of the header command"))?;
            headers.append(name, value);
        }
        Ok(headers)
    }
}

/// A record of CSV, as Coder reads lists: a part in double quotes may hold commas.
fn split(list: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for character in list.chars() {
        match (character, parts.last_mut()) {
            ('"', _) => quoted = !quoted,
            (',', _) if !quoted => parts.push(String::new()),
            (_, Some(part)) => part.push(character),
            (_, None) => {}
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn parse(header: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = header.split_once('=')?;
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, value))
}

/// What `command` prints. Like Coder's it gets the address of the server in `CODER_URL`.
///
/// By [`Launch`], because an agent that adopts orphans reaps every child that it does not know from there.
async fn run(command: &str, server: &Url, variables: &[(OsString, OsString)]) -> Result<String, HeaderError> {
    let mut launch = Launch::new("/bin/sh");
    launch.arguments = vec!["-c".into(), command.into()];
    let inherited = variables.iter().filter(|(name, _)| name != "CODER_URL");
    launch.environment =
        inherited.map(|(name, value)| (name.clone(), Secret::new(value.as_bytes().to_vec()))).collect();
    launch.environment.push(("CODER_URL".into(), Secret::from(server.to_string())));
    launch.stdout = Stdio::piped();
    launch.stderr = Stdio::inherit();
    let too_long = || HeaderError::Failed(format!("took more than {} s", COMMAND_LIMIT.as_secs()));
    let mut child =
        timeout(COMMAND_LIMIT, launch.spawn()).await.map_err(|_| too_long())?.map_err(HeaderError::Start)?;
    let mut output = String::new();
    let run = async {
        if let Some(stdout) = child.process.stdout.take() {
            stdout.take(COMMAND_BYTES).read_to_string(&mut output).await?;
        }
        child.process.wait().await
    };
    match timeout(COMMAND_LIMIT, run).await {
        Ok(Ok(status)) if status.success() => Ok(output),
        Ok(Ok(status)) => Err(HeaderError::Failed(format!("failed: {status}"))),
        Ok(Err(error)) => Err(HeaderError::Read(error)),
        Err(_) => {
            // One that is gone by now needs no signal.
            let _ = child.signal(Signal::SIGKILL);
            Err(too_long())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_header() {
        let (name, value) = parse("X-Proxy = a=b ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap(), value.is_sensitive()), ("x-proxy", "a=b", true));
        for bad in ["", "X-Proxy", "=a", "X Y=a", "X=a\nb"] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn lists_are_split_at_commas_outside_of_quotes() {
        assert_eq!(split("a=1,b=2"), ["a=1", "b=2"]);
        assert_eq!(split("\"a=1,2\",b=3,"), ["a=1,2", "b=3"]);
        assert_eq!(split(""), Vec::<String>::new());
    }

    #[test]
    fn neither_debug_nor_an_error_shows_a_value() {
        let headers = Headers::new(["X-Key=hunter2"], None, "--header").unwrap();
        assert!(!format!("{headers:?}").contains("hunter2"));
        let error = Headers::new(["hunter2"], None, "--header").unwrap_err().to_string();
        assert_eq!(error, "--header is not NAME=VALUE, or has characters that no header may have");
    }
}
