//! `$NAME`, `${NAME}` and `~` in what templates and users write. No other module reads this syntax.
//!
//! The rules are Coder's, which are those of Go's `os.Expand`: an unset variable expands to nothing, `${}` and a brace
//! without its end are dropped, and a dollar sign that starts no name stays.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use protocol::secret::Secret;
use zeroize::Zeroizing;

/// A stretch of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t [u8]),
    /// The name of a variable; empty where the reference is malformed.
    Reference(&'t [u8]),
}

/// What follows `~/` where `path` starts with that, without further slashes: a path relative to the home. `~name` is
/// nobody's home here.
#[must_use]
pub fn below_home(path: &str) -> Option<&str> {
    path.strip_prefix("~/").map(|rest| rest.trim_start_matches('/'))
}

/// The path that a template means: `~` at its start stands for `home`, and a reference for what `lookup` says. Relative
/// paths stay relative. Without a home, `~` stays.
#[must_use]
pub fn path<'t, 'v: 't>(text: &'t str, home: Option<&Path>, lookup: impl Fn(&[u8]) -> Option<&'v [u8]>) -> PathBuf {
    let (home, rest) = match (home, below_home(text)) {
        (Some(home), Some(rest)) => (Some(home), rest),
        (Some(home), None) if text == "~" => (Some(home), ""),
        _ => (None, text),
    };
    let expanded: Vec<u8> = pieces(rest.as_bytes()).flat_map(|piece| value(piece, &lookup)).copied().collect();
    let expanded = PathBuf::from(OsString::from_vec(expanded));
    match home {
        Some(home) if expanded.as_os_str().is_empty() => home.to_owned(),
        // Pushed without its slashes, so that `~/$UNSET/x` stays below the home.
        Some(home) => home.join(expanded.strip_prefix("/").unwrap_or(&expanded)),
        None => expanded,
    }
}

/// The value of a variable of a template.
///
/// An element between colons that consists of one reference to nothing is left out together with its colon. The server
/// joins to an inherited variable with `/opt/tools/bin:$PATH`, and an empty element of `PATH` means the current directory.
#[must_use]
pub fn variable<'t, 'v: 't>(text: &'t [u8], lookup: impl Fn(&[u8]) -> Option<&'v [u8]>) -> Secret {
    let is_kept = |element: &Vec<Piece<'t>>| match element.as_slice() {
        [reference @ Piece::Reference(_)] => !value(*reference, &lookup).is_empty(),
        _ => true,
    };
    let mut elements = elements(text);
    elements.retain(is_kept);
    let values = || {
        elements.iter().enumerate().flat_map(|(number, element)| {
            let colon: &[u8] = if number > 0 { b":" } else { b"" };
            std::iter::once(colon).chain(element.iter().map(|piece| value(*piece, &lookup)))
        })
    };
    // Two passes, so that the buffer never grows and leaves no copy behind.
    let mut expanded = Zeroizing::new(Vec::with_capacity(values().map(<[u8]>::len).sum()));
    values().for_each(|value| expanded.extend_from_slice(value));
    Secret::new(std::mem::take(&mut *expanded))
}

/// Whether `text` refers to any variable.
#[must_use]
pub fn has_references(text: &[u8]) -> bool {
    pieces(text).any(|piece| matches!(piece, Piece::Reference(_)))
}

fn value<'t, 'v: 't>(piece: Piece<'t>, lookup: &impl Fn(&[u8]) -> Option<&'v [u8]>) -> &'t [u8] {
    match piece {
        Piece::Text(text) => text,
        Piece::Reference(name) => lookup(name).unwrap_or_default(),
    }
}

/// Cuts `text` at its colons. A colon within the braces of a reference belongs to the name.
fn elements(text: &[u8]) -> Vec<Vec<Piece<'_>>> {
    let mut done = Vec::new();
    let mut open = Vec::new();
    for piece in pieces(text) {
        let Piece::Text(text) = piece else {
            open.push(piece);
            continue;
        };
        for (number, part) in text.split(|byte| *byte == b':').enumerate() {
            if number > 0 {
                done.push(std::mem::take(&mut open));
            }
            if !part.is_empty() {
                open.push(Piece::Text(part));
            }
        }
    }
    done.push(open);
    done
}

/// Cuts `text` at its references.
fn pieces(text: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, len) = match rest.iter().position(|byte| *byte == b'$') {
            Some(0) => reference(rest),
            Some(dollar) => (Piece::Text(rest.get(..dollar)?), dollar),
            None => (Piece::Text(rest), rest.len()),
        };
        rest = rest.get(len..).filter(|_| len > 0)?;
        Some(piece)
    })
}

/// What the dollar sign at the start of `text` begins, and how many bytes belong to it.
fn reference(text: &[u8]) -> (Piece<'_>, usize) {
    let after_dollar = text.get(1..).unwrap_or_default();
    if let Some(braced) = after_dollar.strip_prefix(b"{") {
        return match braced.iter().position(|byte| *byte == b'}') {
            Some(end) => (Piece::Reference(braced.get(..end).unwrap_or_default()), end + 3),
            None => (Piece::Reference(b""), 2),
        };
    }
    // A shell's positional and special parameters are one character; as variables they are never set.
    let is_special = |byte: &u8| b"*#$@!?-0123456789".contains(byte);
    let len = match after_dollar.first() {
        Some(first) if is_special(first) => 1,
        _ => after_dollar.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count(),
    };
    match len {
        0 => (Piece::Text(b"$"), 1),
        len => (Piece::Reference(after_dollar.get(..len).unwrap_or_default()), len + 1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &[u8]) -> Option<&'static [u8]> {
        match name {
            b"X" => Some(b"ex"),
            b"X_1" => Some(b"one"),
            b"EMPTY" => Some(b""),
            b"RAW" => Some(b"$X:"),
            b"DIR" => Some(b"/d"),
            _ => None,
        }
    }

    fn expanded(text: &str) -> String {
        String::from_utf8(variable(text.as_bytes(), lookup).expose().to_vec()).unwrap()
    }

    #[test]
    fn references_are_replaced_once() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$X", "ex"),
            ("${X}", "ex"),
            ("a${X}b$X/c", "aexbex/c"),
            ("$X_1", "one"),
            ("$X-1", "ex-1"),
            ("$RAW", "$X:"),
            ("$NONE", ""),
            ("a$NONE.b", "a.b"),
            ("https://$X/api", "https://ex/api"),
        ] {
            assert_eq!(expanded(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_is_treated_as_coder_does() {
        for (text, expected) in [
            ("$", "$"),
            ("a$", "a$"),
            ("$ X", "$ X"),
            ("$/", "$/"),
            ("a${}b", "ab"),
            ("a${X", "aX"),
            ("$$X", "X"),
            ("$1x", "x"),
            ("${a:b}c", "c"),
        ] {
            assert_eq!(expanded(text), expected, "{text}");
        }
    }

    #[test]
    fn an_element_that_becomes_nothing_takes_one_colon_along() {
        for (text, expected) in [
            ("/a:$NONE", "/a"),
            ("$NONE:/a", "/a"),
            ("/a:$EMPTY:/b", "/a:/b"),
            ("/a:${NONE}:$EMPTY", "/a"),
            ("$NONE:$EMPTY", ""),
            ("$NONE:$X", "ex"),
            ("/a:$NONE:$X", "/a:ex"),
            ("/a:$X:/b", "/a:ex:/b"),
            ("/a:$X", "/a:ex"),
            ("$X:", "ex:"),
            ("/a::/b", "/a::/b"),
            ("/a:b$NONE", "/a:b"),
            ("/a:$NONE/b", "/a:/b"),
            ("/a:$NONE:", "/a:"),
        ] {
            assert_eq!(expanded(text), expected, "{text}");
        }
    }

    #[test]
    fn a_path_begins_at_home_and_its_references_are_replaced() {
        let home = Path::new("/home/alice");
        for (text, expected) in [
            ("~", "/home/alice"),
            ("~/", "/home/alice"),
            ("~/x", "/home/alice/x"),
            ("~//x", "/home/alice/x"),
            ("~/$X/y", "/home/alice/ex/y"),
            ("~/$NONE/y", "/home/alice/y"),
            ("~/$DIR", "/home/alice/d"),
            ("~bob/a", "~bob/a"),
            ("/x/~/a", "/x/~/a"),
            ("a:$NONE", "a:"),
            ("/x/$X/${X}b-$X.log", "/x/ex/exb-ex.log"),
            ("/x/$/a$", "/x/$/a$"),
        ] {
            assert_eq!(path(text, Some(home), lookup), Path::new(expected), "{text}");
        }
        assert_eq!(path("~/x", None, lookup), Path::new("~/x"));
    }

    #[test]
    fn references_are_told_from_dollar_signs() {
        for (text, expected) in [("$X", true), ("a${X}", true), ("${}", true), ("pa$$word", true), ("5 $", false)] {
            assert_eq!(has_references(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_without_dollar_signs_comes_out_as_it_went_in(text in "[^$]{0,60}") {
            prop_assert_eq!(expanded(&text), text);
        }

        #[test]
        fn any_text_comes_to_an_end(text in "[$:{}X_a1 ]{0,40}") {
            let _ = (expanded(&text), path(&text, None, lookup));
        }
    }
}
