use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::{ConfigError, StaleFiles};

/// Where the file is when no flag and no variable names another.
pub(super) const DEFAULT_PATH: &str = "/etc/coder-agent/config.toml";
/// A file of a dozen keys has no reason to be longer; whatever is, was named by mistake.
const MAX_BYTES: u64 = 64 * 1024;

/// The layer of the configuration file: the flags of `coder agent` that make sense for every start.
// No Debug: the proxy may hold a password.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Settings {
    pub(super) agent_url: Option<String>,
    pub(super) agent_token_file: Option<PathBuf>,
    pub(super) proxy: Option<String>,
    pub(super) agent_header_command: Option<String>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) log_dir: Option<PathBuf>,
    pub(super) script_data_dir: Option<PathBuf>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) stale_files: Option<StaleFiles>,
    pub(super) live: Option<bool>,
    #[serde(default, deserialize_with = "interval")]
    pub(super) refresh: Option<Duration>,
    pub(super) user: Option<String>,
    pub(super) allow_root: Option<bool>,
    pub(super) strict: Option<bool>,
    #[serde(default, deserialize_with = "duration")]
    pub(super) start_without_secrets: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    pub(super) ready_after: Option<Duration>,
    pub(super) pass_agent_token: Option<bool>,
}

/// Reads the file at `path`, or at the default place, where it may be absent.
pub(super) fn load(path: Option<&Path>) -> Result<Settings, ConfigError> {
    match path {
        Some(path) => parse(path, &read(path).map_err(|source| ConfigError::read_file(path, source))?),
        None => match read(Path::new(DEFAULT_PATH)) {
            Ok(text) => parse(Path::new(DEFAULT_PATH), &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Settings::default()),
            Err(source) => Err(ConfigError::read_file(Path::new(DEFAULT_PATH), source)),
        },
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<Settings, ConfigError> {
    // toml's own Display quotes the line, and that line may be the token somebody put here: message and number only.
    let syntax = |error: toml::de::Error| ConfigError::FileSyntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1),
        reason: error.message().to_owned(),
    };
    let table: toml::Table = text.parse().map_err(syntax)?;
    if let Some(key) = table.keys().find(|key| matches!(key.as_str(), "agent-token" | "agent_token" | "token")) {
        return Err(ConfigError::TokenInFile { path: path.to_owned(), key: key.clone() });
    }
    toml::from_str(text).map_err(syntax)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    super::args::duration(&text).map(Some).map_err(de::Error::custom)
}

fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    super::args::interval(&text).map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        parse(Path::new("/c.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_the_names_of_the_flags() {
        let read = settings("agent-url = 'http://c'\nready-after = '5m'\nstrict = true\n").unwrap();
        assert_eq!(read.agent_url.as_deref(), Some("http://c"));
        assert_eq!(read.ready_after, Some(Duration::from_mins(5)));
        assert_eq!(read.strict, Some(true));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_without_what_the_line_holds() {
        for (text, expected) in [
            ("\nagent_url = 'http://c'", "/c.toml line 2: unknown field `agent_url`"),
            ("strict = hunter2", "/c.toml line 1:"),
            ("ready-after = '-1s'", "/c.toml line 1: a length of time cannot be negative"),
            ("agent-token = 'hunter2'", "/c.toml: agent-token must not be in this file"),
        ] {
            let error = settings(text).err().unwrap();
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn only_the_file_at_the_default_place_may_be_absent() {
        let error = load(Some(Path::new("/nonexistent/agent.toml"))).err().unwrap();
        assert_eq!(error.to_string(), "cannot read configuration file /nonexistent/agent.toml");
    }
}
