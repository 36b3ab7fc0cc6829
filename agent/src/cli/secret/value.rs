//! Where the value of a secret comes from: `--value` or standard input, never both.

use std::io;
use std::sync::Arc;

use protocol::rules::{self, MAX_VALUE_BYTES};
use protocol::secret::Secret;

use crate::cli::ui;

/// Why there is no value to send.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ValueError {
    /// Two sources.
    #[error("secret value may be provided by only one source, got --value, stdin")]
    TwoSources,
    /// No source, and somebody at the terminal.
    #[error("secret value must be provided with --value or stdin via pipe or redirect")]
    NoneOnTerminal,
    /// No source, in a script.
    #[error("secret value must be provided by exactly one of --value or non-interactive stdin (pipe or redirect)")]
    None,
    /// A value that no server takes.
    #[error("{0}")]
    Illegal(String),
    /// JSON carries text alone.
    #[error("secret value must be valid UTF-8; encode binary data first, for example with base64")]
    NotText,
    /// Standard input failed.
    #[error("read standard input")]
    Read(#[source] io::Error),
}

/// The value that the user gives, if any. An empty standard input gives none; `--value ""` gives an empty one.
pub(crate) fn read(flag: Option<Arc<Secret>>) -> Result<Option<Secret>, ValueError> {
    let piped = if ui::stdin_is_terminal() {
        Secret::default()
    } else {
        ui::read_stdin(MAX_VALUE_BYTES + 1).map_err(ValueError::Read)?
    };
    let value = choose(flag, piped)?;
    if let Some(value) = &value {
        rules::value(value).map_err(ValueError::Illegal)?;
        value.expose_str().map_err(|_| ValueError::NotText)?;
    }
    Ok(value)
}

/// As [`read`], where there has to be one.
pub(crate) fn require(flag: Option<Arc<Secret>>) -> Result<Secret, ValueError> {
    let missing = if ui::stdin_is_terminal() { ValueError::NoneOnTerminal } else { ValueError::None };
    read(flag)?.ok_or(missing)
}

fn choose(flag: Option<Arc<Secret>>, piped: Secret) -> Result<Option<Secret>, ValueError> {
    match (flag, piped.is_empty()) {
        (Some(_), false) => Err(ValueError::TwoSources),
        (Some(flag), true) => Ok(Some(owned(flag))),
        (None, true) => Ok(None),
        (None, false) => {
            if ends_in_stray_newline(piped.expose()) {
                ui::warn("secret value from stdin ends with a trailing newline");
                ui::note("It is stored as it is. Use `echo -n` or `printf %s` to leave the newline out.");
            }
            Ok(Some(piped))
        }
    }
}

fn owned(secret: Arc<Secret>) -> Secret {
    Arc::try_unwrap(secret).unwrap_or_else(|shared| Secret::new(shared.expose().to_vec()))
}

/// Whether a value of one line ends with a line break, as `echo` leaves it. Values of several lines have one on purpose.
fn ends_in_stray_newline(value: &[u8]) -> bool {
    let line = value.strip_suffix(b"\r\n").or(value.strip_suffix(b"\n")).or(value.strip_suffix(b"\r"));
    line.is_some_and(|line| !line.iter().any(|byte| matches!(byte, b'\n' | b'\r')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    #[test]
    fn one_source_at_most() {
        assert!(matches!(choose(None, given("")), Ok(None)));
        assert_eq!(choose(Some(Arc::new(given(""))), given("")).unwrap(), Some(given("")));
        assert_eq!(choose(Some(Arc::new(given("a"))), given("")).unwrap(), Some(given("a")));
        assert_eq!(choose(None, given("b\n")).unwrap(), Some(given("b\n")));
        assert!(matches!(choose(Some(Arc::new(given(""))), given("b")), Err(ValueError::TwoSources)));
    }

    #[test]
    fn a_stray_newline_is_noticed() {
        for stray in ["a\n", "a\r\n", "a\r", "\n"] {
            assert!(ends_in_stray_newline(stray.as_bytes()), "{stray:?}");
        }
        for meant in ["", "a", "a\nb", "a\nb\n", "a\n\n", "a\r\nb\r\n"] {
            assert!(!ends_in_stray_newline(meant.as_bytes()), "{meant:?}");
        }
    }
}
