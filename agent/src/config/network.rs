//! The settings of the way to the server, of which some are credentials.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use protocol::secret::Secret;

use super::file::{DEFAULT_PATH, Settings as File};
use super::{AgentArgs, ConfigError, given, variable};
use crate::network::{Headers, ProxyChoice, Settings};

pub(super) const PROXY_VARIABLE: &str = "CODER_AGENT_PROXY";
pub(super) const HEADER_VARIABLE: &str = "CODER_AGENT_HEADER";
pub(super) const HEADER_COMMAND_VARIABLE: &str = "CODER_AGENT_HEADER_COMMAND";

pub(super) fn settings(
    args: &AgentArgs,
    file: &File,
    variables: &[(OsString, OsString)],
) -> Result<Settings, ConfigError> {
    Ok(Settings {
        proxy: proxy(args, file, variables)?,
        headers: headers(args, file, variables)?,
        ca_file: given(args.ca_file.clone()).or(given(file.ca_file.clone())),
    })
}

fn proxy(
    args: &AgentArgs,
    file: &File,
    variables: &[(OsString, OsString)],
) -> Result<Option<ProxyChoice>, ConfigError> {
    if let Some(flag) = args.proxy.as_deref().filter(|flag| !flag.is_empty()) {
        return Ok(Some(ProxyChoice::parse(&text(flag), "--proxy")?));
    }
    if let Some(value) = variable(variables, PROXY_VARIABLE) {
        return Ok(Some(ProxyChoice::parse(&value.to_string_lossy(), PROXY_VARIABLE)?));
    }
    let Some(value) = given(file.proxy.as_deref()) else { return Ok(None) };
    let path = given(args.config.as_deref()).unwrap_or(Path::new(DEFAULT_PATH));
    let choice = ProxyChoice::parse(value, "proxy of the configuration file")?;
    let is_public = std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0);
    if choice.has_credentials() && is_public {
        return Err(ConfigError::ProxyPasswordInFile { path: path.to_owned() });
    }
    Ok(Some(choice))
}

fn headers(args: &AgentArgs, file: &File, variables: &[(OsString, OsString)]) -> Result<Headers, ConfigError> {
    let owned = |value: &OsStr| value.to_str().map(str::to_owned);
    let command = given(args.agent_header_command.clone())
        .or_else(|| variable(variables, HEADER_COMMAND_VARIABLE).and_then(owned))
        .or(given(file.agent_header_command.clone()));
    // As with every other flag, what is on the command line is in place of the variable.
    if args.agent_header.is_empty() {
        let list = variable(variables, HEADER_VARIABLE).map(|value| value.to_string_lossy().into_owned());
        return Ok(Headers::new(list.as_deref(), command, "a header of CODER_AGENT_HEADER")?);
    }
    let lists: Vec<_> = args.agent_header.iter().map(|header| text(header)).collect();
    Ok(Headers::new(lists.iter().map(AsRef::as_ref), command, "an --agent-header")?)
}

fn text(secret: &Secret) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(secret.expose())
}
