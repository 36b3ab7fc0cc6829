//! `KEY=VALUE` lines. Nothing is expanded, and a value is never more than one line.

use super::{Entries, ParseError};
use crate::secret::Secret;

pub(super) fn parse(content: &str, entries: &mut Entries) -> Result<(), ParseError> {
    for (index, line) in content.split('\n').enumerate() {
        let number = index + 1;
        let line = line.strip_suffix('\r').unwrap_or(line).trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = pair(line).map_err(|fault| ParseError::line(number, fault))?;
        entries.check_key(key, Some(number))?;
        entries.push(key.to_owned(), value, Some(number));
    }
    Ok(())
}

fn pair(line: &str) -> Result<(&str, Secret), &'static str> {
    let (key, value) = without_export(line).split_once('=').ok_or("expected KEY=VALUE but found no '='")?;
    let key = key.trim();
    if key.is_empty() {
        return Err("missing key before '='");
    }
    let value = value.trim();
    let value = match value.as_bytes().first() {
        Some(b'\'') => single_quoted(&value[1..])?,
        Some(b'"') => double_quoted(&value[1..])?,
        _ => Secret::new(value.as_bytes().to_vec()),
    };
    Ok((key, value))
}

/// Drops a leading `export`, unless it is itself the key.
pub(super) fn without_export(line: &str) -> &str {
    match line.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) && !rest.trim_start().starts_with('=') => rest,
        _ => line,
    }
}

fn single_quoted(rest: &str) -> Result<Secret, &'static str> {
    let (value, after) = rest.split_once('\'').ok_or("missing closing single quote")?;
    if after.is_empty() {
        Ok(Secret::new(value.as_bytes().to_vec()))
    } else {
        Err("unexpected text after the closing single quote")
    }
}

fn double_quoted(rest: &str) -> Result<Secret, &'static str> {
    // Room for all of it from the start: a buffer that grows leaves copies behind.
    let mut value = Vec::with_capacity(rest.len());
    let mut bytes = rest.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if bytes.len() == 0 => return Ok(Secret::new(value)),
            b'"' => return Err("unexpected text after the closing double quote"),
            b'\\' => match bytes.next() {
                Some(b'n') => value.push(b'\n'),
                Some(b't') => value.push(b'\t'),
                Some(b'r') => value.push(b'\r'),
                Some(escaped @ (b'\\' | b'"')) => value.push(escaped),
                Some(unknown) => value.extend([b'\\', unknown]),
                None => break,
            },
            byte => value.push(byte),
        }
    }
    Err("missing closing double quote")
}
