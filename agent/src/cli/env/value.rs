//! Values between the quotes of a format.

use crate::environment::Variable;

/// A value that a format cannot hold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("variable {name} {what}, which {format} cannot hold; choose the others by name, or the format nul")]
pub(crate) struct FormatError {
    name: String,
    what: &'static str,
    format: &'static str,
}

impl FormatError {
    pub(super) fn new(variable: &Variable, what: &'static str, format: &'static str) -> Self {
        Self { name: variable.name.to_string_lossy().into_owned(), what, format }
    }
}

/// The value of a variable, for a format that holds text alone.
pub(super) fn utf8<'v>(variable: &'v Variable, format: &'static str) -> Result<&'v [u8], FormatError> {
    match variable.value.expose_str() {
        Ok(text) => Ok(text.as_bytes()),
        Err(_) => Err(FormatError::new(variable, "is not valid UTF-8", format)),
    }
}

/// Each byte, with the one after it, becomes something else or stays.
pub(super) fn replace(value: &[u8], other: impl Fn(u8, Option<u8>) -> Option<&'static [u8]>) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len() * 2);
    for (index, byte) in value.iter().enumerate() {
        match other(*byte, value.get(index + 1).copied()) {
            Some(replacement) => text.extend(replacement),
            None => text.push(*byte),
        }
    }
    text
}
