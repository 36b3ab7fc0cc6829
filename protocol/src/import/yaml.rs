//! One flat mapping of string keys to string scalars.
//!
//! It works on the parser's events and builds no tree: an alias is refused where it stands and never followed, so that
//! a small file cannot become a large one.

use std::borrow::Cow;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::{Entries, ParseError};
use crate::secret::Secret;

const NOT_A_MAPPING: &str = "secrets file must be one YAML mapping whose values are strings";
const ONE_DOCUMENT: &str = "secrets file must hold exactly one YAML document";
const NOT_A_STRING: &str = "must be a string; quote the value if it is numeric or boolean";
const ALIAS: &str = "must be a literal string; YAML aliases are not supported";

pub(super) fn parse(content: &str, entries: &mut Entries) -> Result<(), ParseError> {
    refuse_control_characters(content)?;
    let mut events = Events(Parser::new_from_str(content));
    // An empty text and one of comments alone have no document; an explicit empty one (`---`) holds a null.
    loop {
        match events.next()? {
            (Event::StreamStart | Event::DocumentStart(_), _) => {}
            (Event::MappingStart(_, tag), line) => {
                refuse_tag(tag.as_deref(), "map", line)?;
                mapping(&mut events, entries)?;
                return end(&mut events);
            }
            (Event::Scalar(text, ScalarStyle::Plain, _, None), _) if text.is_empty() => return end(&mut events),
            (Event::StreamEnd, _) => return Ok(()),
            _ => return Err(ParseError::Shape(NOT_A_MAPPING)),
        }
    }
}

/// YAML forbids them, and the parser takes a NUL for the end of the text: what follows would be left out in silence.
fn refuse_control_characters(content: &str) -> Result<(), ParseError> {
    let forbidden = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    match content.find(forbidden) {
        None => Ok(()),
        Some(at) => {
            let line = content[..at].matches('\n').count() + 1;
            Err(ParseError::line(line, "control characters are not allowed"))
        }
    }
}

fn mapping(events: &mut Events<'_>, entries: &mut Entries) -> Result<(), ParseError> {
    loop {
        let (key, line) = match events.next()? {
            (Event::MappingEnd, _) => return Ok(()),
            (Event::Scalar(text, style, _, tag), line) => (key(text, style, tag.as_deref(), line)?, line),
            (Event::Alias(_), line) => return Err(ParseError::line(line, format!("key {ALIAS}"))),
            (_, line) => return Err(ParseError::line(line, "key must be a string")),
        };
        entries.check_key(&key, Some(line))?;
        match value(events.next()?.0) {
            Ok(value) => entries.push(key, value, Some(line)),
            Err(fault) => return Err(ParseError::Value { key, line: Some(line), fault }),
        }
    }
}

fn key(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<String, ParseError> {
    if tag.is_none() && style == ScalarStyle::Plain && text == "<<" {
        return Err(ParseError::line(line, "merge keys are not supported"));
    }
    if is_string(&text, style, tag) {
        Ok(text.into_owned())
    } else {
        Err(ParseError::line(line, "key must be a string; quote the key if it is numeric or boolean"))
    }
}

fn value(event: Event<'_>) -> Result<Secret, &'static str> {
    match event {
        Event::Scalar(text, style, _, tag) => {
            let string = is_string(&text, style, tag.as_deref());
            let value = Secret::from(text.into_owned());
            if string { Ok(value) } else { Err(NOT_A_STRING) }
        }
        Event::Alias(_) => Err(ALIAS),
        _ => Err("must be a string, not a nested mapping or sequence"),
    }
}

fn end(events: &mut Events<'_>) -> Result<(), ParseError> {
    loop {
        match events.next()? {
            (Event::StreamEnd, _) => return Ok(()),
            (Event::DocumentEnd, _) => {}
            _ => return Err(ParseError::Shape(ONE_DOCUMENT)),
        }
    }
}

fn refuse_tag(tag: Option<&Tag>, expected: &str, line: usize) -> Result<(), ParseError> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => {
            Err(ParseError::line(line, "tags are not supported"))
        }
        _ => Ok(()),
    }
}

/// Whether a scalar is a string: tagged so, quoted, or plain and nothing that the core schema (or a date) would claim.
fn is_string(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> bool {
    match tag {
        Some(tag) => tag.is_yaml_core_schema() && tag.suffix == "str",
        None => style != ScalarStyle::Plain || !(is_word(text) || is_number(text) || is_timestamp(text)),
    }
}

/// Null, booleans, not-a-number and the merge key, in the spellings of the core schema.
fn is_word(text: &str) -> bool {
    const WORDS: [&str; 15] = [
        "", "~", "null", "Null", "NULL", "true", "True", "TRUE", "false", "False", "FALSE", ".nan", ".NaN", ".NAN",
        "<<",
    ];
    WORDS.contains(&text)
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    let digits = unsigned.replace('_', "");
    let radix = |prefixes: [&str; 2], legal: fn(&u8) -> bool| {
        prefixes.iter().any(|prefix| digits.strip_prefix(prefix).is_some_and(|rest| all(rest, legal)))
    };
    radix(["0x", "0X"], u8::is_ascii_hexdigit)
        || radix(["0o", "0O"], |b| matches!(b, b'0'..=b'7'))
        || radix(["0b", "0B"], |b| matches!(b, b'0' | b'1'))
        || is_decimal(&digits)
}

/// `1`, `1.`, `1.5`, `.5`, each with an exponent.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
    let exponent = exponent.map(|e| e.strip_prefix(['+', '-']).unwrap_or(e));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    exponent.is_none_or(|e| all(e, u8::is_ascii_digit))
        && whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
        && !(whole.is_empty() && fraction.is_empty())
}

fn all(text: &str, legal: fn(&u8) -> bool) -> bool {
    !text.is_empty() && text.as_bytes().iter().all(legal)
}

/// A date, or a date and a time, which other readers of the file would not take for a string either.
fn is_timestamp(text: &str) -> bool {
    let (date, time) = text.find(['T', 't', ' ']).map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
    let mut parts = date.split('-');
    let mut digits = |least: usize, most: usize| {
        parts.next().is_some_and(|part| all(part, u8::is_ascii_digit) && (least..=most).contains(&part.len()))
    };
    let is_date = digits(4, 4) && digits(1, 2) && digits(1, 2) && parts.next().is_none();
    is_date && time.is_none_or(|time| time.trim_start().starts_with(|c: char| c.is_ascii_digit()) && time.contains(':'))
}

/// The parser's events with the line of each, from 1.
struct Events<'a>(Parser<'a, StrInput<'a>>);

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), ParseError> {
        match self.0.next_event() {
            Some(Ok((event, Span { start, .. }))) => Ok((event, start.line())),
            Some(Err(error)) => Err(syntax(&error)),
            None => Ok((Event::StreamEnd, 0)),
        }
    }
}

fn syntax(error: &ScanError) -> ParseError {
    // The one text of the parser that repeats a character of the file, perhaps the first of a value.
    let info = error.info();
    let fault = if info.starts_with("unexpected character") { "unexpected character; quote the value" } else { info };
    ParseError::line(error.marker().line(), fault)
}
