//! `coder secret import`

use std::fs::File;
use std::io;
use std::path::Path;

use clap::Args;
use protocol::import::{self, Entry, Format, FormatError, MAX_FILE_BYTES, ParseError, Shown};
use protocol::rest::{ImportUserSecretsRequest, UserSecret};
use protocol::rules;
use protocol::secret::Secret;
use reqwest::Method;

use super::ROUTE;
use crate::cli::error::CliError;
use crate::cli::server::ServerArgs;
use crate::cli::ui;

/// Store every secret of a file
///
/// Each key becomes a secret of that name, with the environment variable of that name where the key may be one. All are
/// stored or none; a secret that exists is never overwritten.
#[derive(Args)]
#[command(after_help = "\
Formats:
  env    KEY=VALUE lines, one a line; # starts a comment line; quote \"with \\n escapes\" or 'as it is'
  json   one object whose values are strings
  yaml   one mapping whose values are strings; | keeps several lines, as a key in PEM form has

Examples:
  coder secret import .env
  sops decrypt secrets.yaml | coder secret import - --input-format yaml")]
pub(crate) struct ImportArgs {
    /// The file, or - for standard input
    file: String,

    /// Format of the file: env, json or yaml [default: from the file's extension]
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    input_format: Option<Format>,
}

fn format(text: &str) -> Result<Format, String> {
    text.parse().map_err(|error: FormatError| format!("{error}; use one of: env, json, yaml"))
}

/// Why there is nothing to send.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// The extension says nothing.
    #[error("cannot infer the secrets file format from {0:?}, set --input-format to one of: env, json, yaml")]
    UnknownFormat(String),
    /// A secrets file typed by hand would be seen.
    #[error("secrets file must be provided via non-interactive stdin (pipe or redirect)")]
    Terminal,
    /// The file cannot be read.
    #[error("read {0:?}")]
    Read(String, #[source] io::Error),
    /// The file is not text.
    #[error("secrets file must contain valid UTF-8")]
    NotText,
    /// The file is not of its format.
    #[error("parse {0:?}")]
    Parse(String, #[source] ParseError),
    /// Entries break the rules.
    #[error("validate {0:?}: {1}")]
    Invalid(String, String),
}

impl ImportArgs {
    pub(crate) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let format = self.input_format.or_else(|| from_extension(&self.file));
        let format = format.ok_or_else(|| ImportError::UnknownFormat(self.file.clone()))?;
        let content = read(&self.file)?;
        check(&self.file, format, &content)?;
        let client = server.connect().await?;
        let [users, me, secrets] = ROUTE;
        let imported: Vec<UserSecret> = client
            .send(Method::POST, &[users, me, secrets, "batch"], &ImportUserSecretsRequest::new(format, content))
            .await
            .map_err(CliError::request("import secrets"))?;
        ui::print(&format!("Imported {}.", count(imported.len()))).map_err(CliError::output)?;
        warn_about_targets(&imported);
        Ok(())
    }
}

fn from_extension(file: &str) -> Option<Format> {
    let file = Path::new(file);
    // A file called just `.env` has no extension, and is the most usual one.
    let extension = if file.file_name()? == ".env" { "env".as_ref() } else { file.extension()? };
    match extension.to_str()?.to_ascii_lowercase().as_str() {
        "yml" => Some(Format::Yaml),
        other => other.parse().ok(),
    }
}

fn read(file: &str) -> Result<Secret, ImportError> {
    let read = match file {
        "-" if ui::stdin_is_terminal() => return Err(ImportError::Terminal),
        "-" => ui::read_stdin(MAX_FILE_BYTES + 1),
        path => File::open(path).and_then(|source| ui::read_secret(source, MAX_FILE_BYTES + 1)),
    };
    read.map_err(|error| ImportError::Read(file.to_owned(), error))
}

/// Everything that the server would refuse about the file itself, before a value leaves this machine.
fn check(file: &str, format: Format, content: &Secret) -> Result<(), ImportError> {
    let parse_error = |error| ImportError::Parse(file.to_owned(), error);
    // Cut in the middle of a letter, a file that is too long would be called no text.
    if content.len() > MAX_FILE_BYTES {
        return Err(parse_error(ParseError::TooLarge));
    }
    let text = content.expose_str().map_err(|_| ImportError::NotText)?;
    let entries: Vec<Entry> = import::parse(format, text).map_err(parse_error)?;
    let problems: Vec<String> = import::check(&entries).iter().map(ToString::to_string).collect();
    if problems.is_empty() { Ok(()) } else { Err(ImportError::Invalid(file.to_owned(), problems.join("; "))) }
}

fn warn_about_targets(imported: &[UserSecret]) {
    let without: Vec<&str> = imported.iter().filter(|s| s.env_name.is_empty()).map(|s| s.name.as_str()).collect();
    if without.is_empty() {
        return;
    }
    let names: Vec<String> = without.iter().map(|name| Shown(name).to_string()).collect();
    let what = format!("{} imported without an environment variable name: {}", count(without.len()), names.join(", "));
    ui::warn(&what);
    for (name, shown) in without.iter().zip(names) {
        if let Err(reason) = rules::env_name(name) {
            ui::note(&format!("  {shown}: {reason}"));
        }
    }
    ui::note("Workspaces get them once they have one: coder secret update <name> --env <ENV_NAME>");
}

fn count(secrets: usize) -> String {
    format!("{secrets} secret{}", if secrets == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_tells_the_format() {
        for (file, expected) in [
            (".env", Some(Format::Env)),
            ("a/.env", Some(Format::Env)),
            ("prod.env", Some(Format::Env)),
            ("a.JSON", Some(Format::Json)),
            ("a.yaml", Some(Format::Yaml)),
            ("a.yml", Some(Format::Yaml)),
            ("-", None),
            ("env", None),
            ("a.txt", None),
            (".env.local", None),
            ("..", None),
        ] {
            assert_eq!(from_extension(file), expected, "{file:?}");
        }
    }

    #[test]
    fn what_the_server_would_refuse_is_refused_here() {
        let message = |bytes: &[u8]| {
            crate::errors::chain(&check("a.env", Format::Env, &Secret::new(bytes.to_vec())).unwrap_err())
        };
        assert_eq!(message(b"hunter2"), "parse \"a.env\": line 1: expected KEY=VALUE but found no '='");
        assert_eq!(message(b"A=\xff"), "secrets file must contain valid UTF-8");
        assert_eq!(
            message(b"ALPHA=1\nBETA=\na/b=1"),
            "validate \"a.env\": secret 2 (\"BETA\") value: Value is required.; \
             secret 3 (\"a/b\") name: Name must not contain /, ?, or #."
        );
        let cut = format!("{}é", "x".repeat(MAX_FILE_BYTES)).into_bytes();
        assert_eq!(
            message(&cut[..=MAX_FILE_BYTES]),
            "parse \"a.env\": secrets file exceeds the maximum allowed size of 1048576 bytes"
        );
    }
}
