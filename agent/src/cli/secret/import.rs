//! `coder secret import`

mod plan;
mod send;

use std::fs::File;
use std::io;
use std::path::Path;

use clap::Args;
use protocol::import::{self, Entry, Format, FormatError, MAX_FILE_BYTES, ParseError, Shown};
use protocol::secret::Secret;

use super::advice;
use crate::cli::error::{CliError, Hint, InputError};
use crate::cli::server::ServerArgs;
use crate::cli::ui;
use plan::Plan;

/// What failures say was tried.
const OPERATION: &str = "import secrets";

/// Store every secret of a file
///
/// Each key becomes a secret of that name. If the key may be an environment variable, workspaces get the secret as the
/// variable of that name. Either all secrets are stored or none. An existing secret is changed only with --update.
#[derive(Args)]
#[command(after_help = "\
Formats:
  env    KEY=VALUE lines. A line that starts with # is a comment; a # later
         in a line is not. \"Double quotes\" allow \\n, 'single quotes' nothing.
  json   one object whose values are strings
  yaml   one mapping whose values are strings; | starts a value of several
         lines, such as a private key

Examples:
  # Look first, then store.
  coder secret import .env --dry-run
  coder secret import .env

  # Store new secrets, and give existing ones the values of the file.
  coder secret import .env --update --skip-empty

  # Read another program's output.
  sops decrypt secrets.yaml | coder secret import - --input-format yaml")]
pub(crate) struct ImportArgs {
    /// File to read, or - for standard input
    file: String,

    /// Format of the file: env, json or yaml [default: from the file's name]
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    input_format: Option<Format>,

    /// Change the values of secrets that exist already
    #[arg(long)]
    update: bool,

    /// Leave out keys that have no value
    #[arg(long)]
    skip_empty: bool,

    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

fn format(text: &str) -> Result<Format, String> {
    text.parse().map_err(|error: FormatError| format!("{error}; use one of: env, json, yaml"))
}

/// Why there is nothing to send.
#[derive(Debug, thiserror::Error)]
enum ImportError {
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

impl From<ImportError> for CliError {
    fn from(error: ImportError) -> Self {
        let hint = Hint::Text(error.hint());
        InputError::new(error, hint).into()
    }
}

impl ImportError {
    /// What the user can do about it.
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Parse(_, ParseError::Line { .. }) => {
                Some("A value of several lines needs the format json or yaml, or \\n between double quotes.")
            }
            Self::Invalid(_, faults) if faults.contains("Value is required.") => {
                Some("To leave out keys that have no value: --skip-empty")
            }
            _ => None,
        }
    }
}

impl ImportArgs {
    pub(crate) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let format = self.input_format.or_else(|| from_name(&self.file));
        let format = format.ok_or_else(|| ImportError::UnknownFormat(self.file.clone()))?;
        let content = read(&self.file)?;
        let mut entries = parse(&self.file, format, &content)?;
        let skipped = if self.skip_empty { take_empty(&mut entries) } else { Vec::new() };
        check(&self.file, &entries)?;
        warn_about_lines(format, &content);
        warn_about_names(&entries);
        let client = server.connect().await?;
        if !self.update && !self.dry_run {
            if !skipped.is_empty() {
                send::note_skipped(&skipped);
            }
            let request = if skipped.is_empty() { send::as_it_is(format, content) } else { send::as_json(&entries)? };
            return send::import(&client, &request).await;
        }
        let plan = Plan::new(entries, skipped, &super::list::fetch_all(&client, OPERATION).await?, self.update);
        if self.dry_run {
            ui::print(plan.to_string().trim_end()).map_err(CliError::output)?;
            return plan.refuse_existing();
        }
        send::import_and_update(&client, &plan).await
    }
}

/// The format by the name of the file. `.env.local` and the like are env files.
fn from_name(file: &str) -> Option<Format> {
    let file = Path::new(file);
    let name = file.file_name()?.to_str()?;
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase();
    match extension.as_str() {
        "yml" => Some(Format::Yaml),
        other => other.parse().ok().or_else(|| name.starts_with(".env").then_some(Format::Env)),
    }
}

fn take_empty(entries: &mut Vec<Entry>) -> Vec<String> {
    let (empty, rest): (Vec<_>, Vec<_>) = entries.drain(..).partition(|entry| entry.value.is_empty());
    *entries = rest;
    empty.into_iter().map(|entry| entry.key).collect()
}

fn read(file: &str) -> Result<Secret, ImportError> {
    let read = match file {
        "-" if ui::stdin_is_terminal() => return Err(ImportError::Terminal),
        "-" => ui::read_stdin(MAX_FILE_BYTES + 1),
        path => File::open(path).and_then(|source| ui::read_secret(source, MAX_FILE_BYTES + 1)),
    };
    read.map_err(|error| ImportError::Read(file.to_owned(), error))
}

/// What the file holds, or why the server would refuse it, before a value leaves this machine.
fn parse(file: &str, format: Format, content: &Secret) -> Result<Vec<Entry>, ImportError> {
    let parse_error = |error| ImportError::Parse(file.to_owned(), error);
    // Cut in the middle of a letter, a file that is too long would be called no text.
    if content.len() > MAX_FILE_BYTES {
        return Err(parse_error(ParseError::TooLarge));
    }
    let text = content.expose_str().map_err(|_| ImportError::NotText)?;
    import::parse(format, text).map_err(parse_error)
}

fn check(file: &str, entries: &[Entry]) -> Result<(), ImportError> {
    if entries.is_empty() {
        return Err(ImportError::Parse(file.to_owned(), ParseError::Empty));
    }
    let problems: Vec<String> = import::check(entries).iter().map(ToString::to_string).collect();
    if problems.is_empty() { Ok(()) } else { Err(ImportError::Invalid(file.to_owned(), problems.join("; "))) }
}

fn warn_about_lines(format: Format, content: &Secret) {
    if let Ok(text) = content.expose_str() {
        for doubt in import::doubts(format, text) {
            ui::warn(&ui::printable(&doubt.to_string()));
        }
    }
}

fn warn_about_names(entries: &[Entry]) {
    for text in entries.iter().flat_map(|entry| advice::variable(entry.env_name())) {
        ui::warn(&text);
    }
}

fn count(secrets: usize) -> String {
    format!("{secrets} secret{}", if secrets == 1 { "" } else { "s" })
}

fn names<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| Shown(name).to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_format() {
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
            (".env.local", Some(Format::Env)),
            ("a/.env.production", Some(Format::Env)),
            (".envrc", Some(Format::Env)),
            (".env.json", Some(Format::Json)),
            ("..", None),
        ] {
            assert_eq!(from_name(file), expected, "{file:?}");
        }
    }

    #[test]
    fn what_the_server_would_refuse_is_refused_here() {
        let message = |bytes: &[u8]| {
            let entries = parse("a.env", Format::Env, &Secret::new(bytes.to_vec()));
            crate::errors::chain(&entries.and_then(|entries| check("a.env", &entries)).unwrap_err())
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
