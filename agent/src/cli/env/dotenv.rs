//! The format of `.env` files.

use super::value::{FormatError, replace, utf8};
use crate::environment::Variable;

/// The dialect of python-dotenv: between single quotes `\'` is a quote and `\\` a backslash. A backslash is doubled only
/// where it would be taken for one of these, since other libraries know no escapes there at all.
///
/// A backslash before the closing quote makes that library read on to some later quote, so a value that ends with one
/// stands without quotes, where it can.
pub(super) fn quoted(variable: &Variable) -> Result<Vec<u8>, FormatError> {
    let value = utf8(variable, "dotenv")?;
    if value.ends_with(b"\\") {
        let plain = |byte: &u8| !byte.is_ascii_control() && !b"#'\"".contains(byte);
        let starts_plain = value.first().is_some_and(|first| !first.is_ascii_whitespace());
        return if starts_plain && value.iter().all(plain) {
            Ok(value.to_vec())
        } else {
            Err(FormatError::new(variable, "ends with a backslash", "dotenv"))
        };
    }
    // Python makes a newline of a carriage return that it reads; between double quotes there is another way to write it.
    if value.contains(&b'\r') {
        let escaped = replace(value, |byte, _| match byte {
            b'\r' => Some(br"\r"),
            b'"' => Some(b"\\\""),
            b'\\' => Some(b"\\\\"),
            _ => None,
        });
        return Ok([b"\"", escaped.as_slice(), b"\""].concat());
    }
    let escaped = replace(value, |byte, next| match (byte, next) {
        (b'\'', _) => Some(br"\'"),
        (b'\\', Some(b'\'' | b'\\')) => Some(b"\\\\"),
        _ => None,
    });
    Ok([b"'", escaped.as_slice(), b"'"].concat())
}
