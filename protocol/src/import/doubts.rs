//! Lines of an env file that other programs read in another way than Coder does. They are legal, and perhaps not meant.

use std::fmt;

use super::env::without_export;
use super::{Format, Shown};

/// A line whose value may not be what its author thinks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The line, from 1.
    pub line: usize,
    /// The key on it.
    pub key: String,
    /// What is stored. Never the value itself.
    what: &'static str,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} ({}): {}", self.line, Shown(&self.key), self.what)
    }
}

const COMMENT: &str = "the text from # on is stored as part of the value; move a comment to a line of its own";
const EXPANSION: &str = "$ is stored as it is, and nothing is put in its place";
const ESCAPE: &str = "\\n is stored as two characters; put the value between double quotes to store a line break";
const SMART_QUOTES: &str = "typographic quotes are stored as part of the value; use straight ones";

/// The doubtful lines of a file that [`super::parse`] accepts; none in JSON and YAML, which every program reads alike.
#[must_use]
pub fn doubts(format: Format, content: &str) -> Vec<Doubt> {
    if format != Format::Env {
        return Vec::new();
    }
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    let lines = content.split('\n').map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.starts_with('#'))
        .filter_map(|(index, line)| {
            let (key, value) = without_export(line).split_once('=')?;
            let what = doubt(value.trim())?;
            Some(Doubt { line: index + 1, key: key.trim().to_owned(), what })
        })
        .collect()
}

fn doubt(value: &str) -> Option<&'static str> {
    let expands = value.contains("${") || value.contains("$(");
    if value.starts_with('\'') {
        return None;
    }
    if value.starts_with('"') {
        return expands.then_some(EXPANSION);
    }
    let before_hash = value.split_once('#').map(|(before, _)| before);
    if before_hash.is_some_and(|before| before.is_empty() || before.ends_with([' ', '\t'])) {
        Some(COMMENT)
    } else if value.starts_with(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) {
        Some(SMART_QUOTES)
    } else if expands {
        Some(EXPANSION)
    } else {
        value.contains("\\n").then_some(ESCAPE)
    }
}
