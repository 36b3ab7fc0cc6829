//! Variables as other programs read them. Whatever is in a value, the reader gets exactly that, or there is an error.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use zeroize::Zeroizing;

use super::Format;
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
    fn new(variable: &Variable, what: &'static str, format: &'static str) -> Self {
        Self { name: variable.name.to_string_lossy().into_owned(), what, format }
    }
}

type Text = Zeroizing<Vec<u8>>;

impl Format {
    /// The text, and the names that it cannot hold.
    pub(super) fn write(self, variables: &[Variable]) -> Result<(Text, Vec<String>), FormatError> {
        let (nameable, others): (Vec<_>, Vec<_>) = variables.iter().partition(|it| self.can_name(&it.name));
        let mut text = Text::default();
        if self == Self::Json {
            text.extend(json(&nameable)?);
        } else {
            for variable in nameable {
                self.write_one(&mut text, variable)?;
            }
        }
        Ok((text, others.into_iter().map(|it| it.name.to_string_lossy().into_owned()).collect()))
    }

    fn write_one(self, text: &mut Text, variable: &Variable) -> Result<(), FormatError> {
        let (name, value) = (variable.name.as_bytes(), variable.value.expose());
        let mut put = |before: &str, middle: &str, value: &[u8], end: &[u8]| {
            for part in [before.as_bytes(), name, middle.as_bytes(), value, end] {
                text.extend(part);
            }
        };
        match self {
            // Nothing is special between single quotes, so only the quote itself leaves them.
            Self::Sh => {
                let escaped = replace(value, |byte, _| (byte == b'\'').then_some(br"'\''"));
                put("export ", "='", &Text::from(escaped), b"'\n");
            }
            Self::Fish => {
                let escaped = replace(value, |byte, _| match byte {
                    b'\'' => Some(br"\'"),
                    b'\\' => Some(b"\\\\"),
                    _ => None,
                });
                put("set -gx ", " '", &Text::from(escaped), b"'\n");
            }
            Self::Dotenv => put("", "=", &Text::from(dotenv(variable)?), b"\n"),
            Self::Systemd => {
                let escaped = replace(utf8(variable, "systemd")?, |byte, _| match byte {
                    b'"' => Some(b"\\\""),
                    b'\\' => Some(b"\\\\"),
                    b'$' => Some(b"\\$"),
                    b'`' => Some(b"\\`"),
                    _ => None,
                });
                put("", "=\"", &Text::from(escaped), b"\"\n");
            }
            Self::Nul => put("", "=", value, b"\0"),
            Self::Json => {}
        }
        Ok(())
    }

    /// Shells and files take identifiers only; exported functions of bash have other names.
    fn can_name(self, name: &OsStr) -> bool {
        match self {
            Self::Nul => true,
            Self::Json => name.to_str().is_some(),
            _ => {
                let mut bytes = name.as_bytes().iter();
                bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_')
                    && bytes.all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            }
        }
    }
}

fn json(variables: &[&Variable]) -> Result<Vec<u8>, FormatError> {
    let mut object = BTreeMap::new();
    for variable in variables {
        let value = std::str::from_utf8(utf8(variable, "json")?).unwrap_or_default();
        object.insert(variable.name.to_str().unwrap_or_default(), value);
    }
    let mut text = serde_json::to_vec_pretty(&object).unwrap_or_default();
    text.push(b'\n');
    Ok(text)
}

/// The dialect of python-dotenv: between single quotes `\'` is a quote and `\\` a backslash. A backslash is doubled only
/// where it would be taken for one of these, since other libraries know no escapes there at all.
///
/// A backslash before the closing quote makes that library read on to some later quote, so a value that ends with one
/// stands without quotes, where it can.
fn dotenv(variable: &Variable) -> Result<Vec<u8>, FormatError> {
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

fn utf8<'v>(variable: &'v Variable, format: &'static str) -> Result<&'v [u8], FormatError> {
    match variable.value.expose_str() {
        Ok(text) => Ok(text.as_bytes()),
        Err(_) => Err(FormatError::new(variable, "is not valid UTF-8", format)),
    }
}

/// Each byte, with the one after it, becomes something else or stays.
fn replace(value: &[u8], other: impl Fn(u8, Option<u8>) -> Option<&'static [u8]>) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len() * 2);
    for (index, byte) in value.iter().enumerate() {
        match other(*byte, value.get(index + 1).copied()) {
            Some(replacement) => text.extend(replacement),
            None => text.push(*byte),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::secret::Secret;

    use crate::environment::Origin;

    use super::*;

    fn variable(name: &str, value: &[u8]) -> Variable {
        Variable { name: name.into(), value: Secret::new(value.to_vec()), origin: Origin::Secret }
    }

    fn written(format: Format, value: &[u8]) -> String {
        let (text, unnameable) = format.write(&[variable("A", value)]).unwrap();
        assert!(unnameable.is_empty());
        String::from_utf8(text.to_vec()).unwrap()
    }

    #[test]
    fn each_format_quotes_what_it_must() {
        let value = b"a'b\"c\\d$e`f#g\nh";
        for (format, expected) in [
            (Format::Sh, "export A='a'\\''b\"c\\d$e`f#g\nh'\n"),
            (Format::Fish, "set -gx A 'a\\'b\"c\\\\d$e`f#g\nh'\n"),
            (Format::Dotenv, "A='a\\'b\"c\\d$e`f#g\nh'\n"),
            (Format::Json, "{\n  \"A\": \"a'b\\\"c\\\\d$e`f#g\\nh\"\n}\n"),
            (Format::Systemd, "A=\"a'b\\\"c\\\\d\\$e\\`f#g\nh\"\n"),
            (Format::Nul, "A=a'b\"c\\d$e`f#g\nh\0"),
        ] {
            assert_eq!(written(format, value), expected, "{format:?}");
        }
        assert_eq!(written(Format::Dotenv, br"a\\b\'c"), r"A='a\\\b\\\'c'".to_owned() + "\n");
        assert_eq!(written(Format::Dotenv, br"C:\a b\"), "A=C:\\a b\\\n");
        for value in [b"a\nb\\".as_slice(), b" a\\", b"it's\\", b"a #b\\"] {
            assert!(Format::Dotenv.write(&[variable("A", value)]).is_err(), "{value:?}");
        }
    }

    #[test]
    fn what_a_format_cannot_hold_is_an_error_with_the_name() {
        for (format, name) in [(Format::Dotenv, "dotenv"), (Format::Json, "json"), (Format::Systemd, "systemd")] {
            let error = format.write(&[variable("RAW", b"\xff")]).unwrap_err();
            assert_eq!(error, FormatError { name: "RAW".into(), what: "is not valid UTF-8", format: name });
        }
        for format in [Format::Sh, Format::Fish, Format::Nul] {
            let (text, _) = format.write(&[variable("RAW", b"\xff")]).unwrap();
            assert!(text.contains(&0xff), "{format:?}");
        }
    }

    #[test]
    fn names_that_are_no_identifiers_are_left_out_and_named() {
        let variables = [variable("BASH_FUNC_f%%", b"() { :; }"), variable("1A", b""), variable("_a1", b"x")];
        let (text, unnameable) = Format::Sh.write(&variables).unwrap();
        assert_eq!((text.as_slice(), unnameable.len()), (b"export _a1='x'\n".as_slice(), 2));
        assert!(Format::Nul.write(&variables).unwrap().1.is_empty());
    }

    /// What python-dotenv does between quotes: an unescaped one ends it, and each kind has its own escapes.
    fn read_dotenv(line: &[u8]) -> Vec<u8> {
        assert!(!line.contains(&b'\r'));
        let quote = line[2];
        let quoted = line[3..].strip_suffix(&[quote, b'\n']).unwrap();
        let mut value = Vec::new();
        let mut bytes = quoted.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            assert_ne!(byte, quote, "a quote that ends it");
            let special: &[u8] = if quote == b'"' { b"\"'\\abfnrtv" } else { b"'\\" };
            let escaped = bytes.next_if(|next| byte == b'\\' && special.contains(next));
            value.push(escaped.map_or(byte, |escaped| if escaped == b'r' { b'\r' } else { escaped }));
        }
        value
    }

    proptest! {
        #[test]
        fn any_text_survives(value in "[^\0]{0,40}|[\\\\'\"$`\n\r#ra]{0,20}") {
            let json: BTreeMap<String, String> = serde_json::from_str(&written(Format::Json, value.as_bytes())).unwrap();
            prop_assert_eq!(&json["A"], &value);
            prop_assume!(!value.ends_with('\\'));
            prop_assert_eq!(read_dotenv(written(Format::Dotenv, value.as_bytes()).as_bytes()), value.as_bytes());
        }
    }
}
