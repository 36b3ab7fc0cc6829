//! Where the value of a secret comes from: `--value`, standard input, or a person at the terminal; never two of them.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;

use protocol::rules::{self, MAX_VALUE_BYTES};
use protocol::secret::Secret;

use crate::cli::error::{CliError, Hint, InputError};
use crate::cli::ui;

/// Why there is no value to send.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ValueError {
    /// Two sources.
    #[error("secret value may be provided by only one source, got --value, stdin")]
    TwoSources,
    /// No source, in a script.
    #[error("secret value must be provided by exactly one of --value or non-interactive stdin (pipe or redirect)")]
    None,
    /// A pipe or a file without a byte.
    #[error("standard input was empty: is the variable set, does the file exist?")]
    EmptyInput,
    /// `--value ""` for a new secret.
    #[error("the value of --value is empty: is the variable set?")]
    EmptyFlag,
    /// A person who typed nothing.
    #[error("no value was typed")]
    NothingTyped,
    /// A value that no server takes.
    #[error("{0}")]
    Illegal(String),
    /// What Windows programs write as "Unicode".
    #[error("secret value must be valid UTF-8; this is UTF-16: save it as UTF-8 first")]
    Utf16,
    /// JSON carries text alone.
    #[error("secret value must be valid UTF-8; encode binary data first, for example with base64")]
    NotText,
    /// Standard input failed.
    #[error("read standard input")]
    Read(#[source] io::Error),
}

impl From<ValueError> for CliError {
    fn from(error: ValueError) -> Self {
        InputError::new(error, Hint::Examples).into()
    }
}

/// What the command line and standard input give, before anybody is asked.
pub(crate) enum Given {
    /// A value that may be sent.
    Value(Secret),
    /// Nothing, and somebody at the terminal who can be asked.
    Terminal,
    /// Nothing, from a pipe or a file.
    EmptyInput,
    /// Nothing, and nobody to ask.
    Nothing,
}

/// Reads the value from `--value` or standard input. `--value ""` gives an empty one.
pub(crate) fn read(flag: Option<Arc<Secret>>) -> Result<Given, ValueError> {
    let terminal = ui::stdin_is_terminal();
    let piped =
        if terminal { Secret::default() } else { ui::read_stdin(MAX_VALUE_BYTES + 1).map_err(ValueError::Read)? };
    match choose(flag, piped)? {
        Some(value) => checked(value).map(Given::Value),
        None if terminal => Ok(Given::Terminal),
        None if is_pipe_or_file() => Ok(Given::EmptyInput),
        None => Ok(Given::Nothing),
    }
}

/// Asks for the value of the secret `name` without showing it.
pub(crate) fn ask(name: &str) -> Result<Secret, CliError> {
    let name = ui::one_line(name);
    let question = format!("Value of {name} (not shown; for several lines use < FILE): ");
    let typed = ui::ask_hidden(&question, MAX_VALUE_BYTES + 1).map_err(CliError::input)?.ok_or(CliError::Canceled)?;
    if typed.is_empty() { Err(ValueError::NothingTyped.into()) } else { Ok(checked(typed)?) }
}

fn checked(value: Secret) -> Result<Secret, ValueError> {
    rules::value(&value).map_err(|fault| match value.expose() {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => ValueError::Utf16,
        _ => ValueError::Illegal(fault),
    })?;
    value.expose_str().map_err(|_| ValueError::NotText)?;
    Ok(value)
}

fn choose(flag: Option<Arc<Secret>>, piped: Secret) -> Result<Option<Secret>, ValueError> {
    match (flag, piped.is_empty()) {
        (Some(_), false) => Err(ValueError::TwoSources),
        (Some(flag), true) => Ok(Some(owned(flag))),
        (None, true) => Ok(None),
        (None, false) => {
            if ends_in_stray_newline(piped.expose()) {
                ui::warn("secret value from stdin ends with a trailing newline");
                ui::note("The newline is stored, too. Use `echo -n` or `printf %s` to leave it out.");
            }
            Ok(Some(piped))
        }
    }
}

/// Whether somebody meant to give a value: `/dev/null` and a closed standard input mean nothing.
fn is_pipe_or_file() -> bool {
    let input = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let kind = input.and_then(|input| input.metadata()).map(|found| found.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_file() || kind.is_socket())
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
    fn a_value_that_is_no_text_is_refused_with_what_it_is() {
        let fault = |bytes: &[u8]| checked(Secret::new(bytes.to_vec())).unwrap_err().to_string();
        assert!(fault(b"\xff\xfea\0b\0").contains("UTF-16"));
        assert!(fault(b"\xff").contains("base64"));
        assert_eq!(fault(b"a\0"), "secret value must not contain null bytes");
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
