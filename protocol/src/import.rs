//! Secrets files: env, JSON and YAML text to entries.
//!
//! The command line parses a file before it sends it, and the server parses it again: both by this module, so they agree
//! on every line. No message holds a value or a piece of one.

mod doubts;
mod env;
mod json;
mod yaml;

use std::fmt;
use std::str::FromStr;

use crate::rest::CreateUserSecretRequest;
use crate::rules;
use crate::secret::Secret;
pub use doubts::{Doubt, doubts};

/// Longest secrets file, in bytes.
pub const MAX_FILE_BYTES: usize = 1_048_576;

/// Longest part of a key that a message repeats, in characters: a key has no limit of its own but the file's.
const MAX_SHOWN_KEY_CHARS: usize = 64;

/// The formats of a secrets file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `KEY=VALUE` lines.
    Env,
    /// One flat object of strings.
    Json,
    /// One flat mapping of strings.
    Yaml,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Env => "env",
            Self::Json => "json",
            Self::Yaml => "yaml",
        })
    }
}

/// A text that names no [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// No format is given.
    #[error("a secrets file format is required")]
    Missing,
    /// The format is none of ours.
    #[error("unknown secrets file format")]
    Unknown,
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        match text.to_ascii_lowercase().as_str() {
            "" => Err(FormatError::Missing),
            "env" => Ok(Self::Env),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            _ => Err(FormatError::Unknown),
        }
    }
}

/// One secret of a file, in the file's order.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The secret's name, and its environment variable where it is a legal one.
    pub key: String,
    /// The secret's value.
    pub value: Secret,
    /// The line of the key, from 1; none for JSON.
    pub line: Option<usize>,
}

impl Entry {
    /// The environment variable target: the key if it may be one, else empty.
    #[must_use]
    pub fn env_name(&self) -> &str {
        if rules::env_name(&self.key).is_ok() { &self.key } else { "" }
    }

    /// The secret to create.
    #[must_use]
    pub fn into_request(self) -> CreateUserSecretRequest {
        let env_name = self.env_name().to_owned();
        CreateUserSecretRequest { name: self.key, value: self.value, env_name, ..CreateUserSecretRequest::default() }
    }
}

/// Why a text is not a secrets file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The text is longer than [`MAX_FILE_BYTES`].
    #[error("secrets file exceeds the maximum allowed size of {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// More entries than one user can have secrets; the rest of the file is not read.
    #[error("secrets file holds more than {} secrets", rules::MAX_SECRETS)]
    TooMany,
    /// No entry at all.
    #[error("no secrets found in file")]
    Empty,
    /// A key is given twice.
    #[error("duplicate key {}{}", Shown(key), OnLine(*line))]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where it is given again.
        line: Option<usize>,
    },
    /// The value of a key is not a string.
    #[error("value of {}{} {fault}", Shown(key), OnLine(*line))]
    Value {
        /// The key.
        key: String,
        /// Where it is.
        line: Option<usize>,
        /// What is wrong with the value.
        fault: &'static str,
    },
    /// Anything else, at a line.
    #[error("line {line}: {fault}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        fault: String,
    },
    /// The whole text is not what its format wants.
    #[error("{0}")]
    Shape(&'static str),
}

impl ParseError {
    fn line(line: usize, fault: impl Into<String>) -> Self {
        Self::Line { line, fault: fault.into() }
    }
}

/// Reads the text of a secrets file. A byte order mark is skipped.
pub fn parse(format: Format, content: &str) -> Result<Vec<Entry>, ParseError> {
    if content.len() > MAX_FILE_BYTES {
        return Err(ParseError::TooLarge);
    }
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    let mut entries = Entries::default();
    match format {
        Format::Env => env::parse(content, &mut entries)?,
        Format::Json => json::parse(content, &mut entries)?,
        Format::Yaml => yaml::parse(content, &mut entries)?,
    }
    if entries.0.is_empty() { Err(ParseError::Empty) } else { Ok(entries.0) }
}

/// What has been read so far. Its bound also bounds the search for duplicates.
#[derive(Default)]
struct Entries(Vec<Entry>);

impl Entries {
    /// To be asked before each [`Entries::push`].
    fn check_key(&self, key: &str, line: Option<usize>) -> Result<(), ParseError> {
        if self.0.iter().any(|entry| entry.key == key) {
            return Err(ParseError::DuplicateKey { key: key.to_owned(), line });
        }
        if self.0.len() == rules::MAX_SECRETS { Err(ParseError::TooMany) } else { Ok(()) }
    }

    fn push(&mut self, key: String, value: Secret, line: Option<usize>) {
        self.0.push(Entry { key, value, line });
    }
}

/// A rule that an entry breaks. `Display` is the command line's form, which counts from 1:
/// `secret 2 ("BETA") value: Value is required.`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryProblem {
    /// Place of the entry in the file, from 0.
    pub index: usize,
    /// Its key.
    pub key: String,
    /// Its line; none for JSON.
    pub line: Option<usize>,
    /// The field, as in a request.
    pub field: &'static str,
    /// What is wrong, in the words of [`rules`].
    pub detail: String,
}

impl EntryProblem {
    /// The field as a server names it: `secrets[1].value`.
    #[must_use]
    pub fn request_field(&self) -> String {
        format!("secrets[{}].{}", self.index, self.field)
    }

    /// The detail with the place in the file: `Secret "BETA" on line 2: Value is required.`
    #[must_use]
    pub fn located_detail(&self) -> String {
        format!("Secret {}{}: {}", Shown(&self.key), OnLine(self.line), self.detail)
    }
}

impl fmt::Display for EntryProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret {} ({}) {}: {}", self.index + 1, Shown(&self.key), self.field, self.detail)
    }
}

/// Every fault of every entry, in the file's order. Empty when all may be created.
#[must_use]
pub fn check(entries: &[Entry]) -> Vec<EntryProblem> {
    let problem = |index, entry: &Entry, field, detail| EntryProblem {
        index,
        key: entry.key.clone(),
        line: entry.line,
        field,
        detail,
    };
    entries
        .iter()
        .enumerate()
        .flat_map(|(index, entry)| {
            [("name", rules::name(&entry.key)), ("value", rules::required_value(&entry.value))]
                .into_iter()
                .filter_map(move |(field, check)| check.err().map(|detail| problem(index, entry, field, detail)))
        })
        .collect()
}

/// A key as a message shows it: quoted, escaped and cut.
pub struct Shown<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MAX_SHOWN_KEY_CHARS) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}", format!("{}...", &self.0[..end])),
        }
    }
}

struct OnLine(Option<usize>);

impl fmt::Display for OnLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, " on line {line}"))
    }
}

#[cfg(test)]
mod tests;
