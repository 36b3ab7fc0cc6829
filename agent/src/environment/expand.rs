//! `$NAME` and `${NAME}` in the values of a template, as the reference expands them.

use protocol::secret::Secret;
use zeroize::Zeroizing;

/// Replaces every reference by what `lookup` answers; what is not set becomes nothing.
///
/// A reference that stands alone between colons and becomes nothing takes one colon along: the server joins to an
/// inherited variable by `/opt/tools/bin:$PATH`, and an empty element of `PATH` means the current directory.
pub(super) fn expand<'a>(text: &[u8], lookup: impl Fn(&[u8]) -> Option<&'a [u8]>) -> Secret {
    // Two passes, so that the buffer is never grown and leaves nothing behind.
    let mut len = 0;
    walk(text, &lookup, |piece| len += piece.len());
    let mut expanded = Zeroizing::new(Vec::with_capacity(len));
    walk(text, &lookup, |piece| expanded.extend_from_slice(piece));
    Secret::new(std::mem::take(&mut *expanded))
}

fn walk<'a>(text: &[u8], lookup: &impl Fn(&[u8]) -> Option<&'a [u8]>, mut emit: impl FnMut(&[u8])) {
    let mut rest = text;
    // A colon is held back until what follows it is known.
    let mut held: &[u8] = b"";
    let mut at_element_start = true;
    while let Some(dollar) = rest.iter().position(|byte| *byte == b'$') {
        let (before, reference) = rest.split_at(dollar);
        let after_dollar = reference.get(1..).unwrap_or_default();
        if let Some((last, start)) = before.split_last() {
            emit(held);
            at_element_start = *last == b':';
            held = if at_element_start { b":" } else { b"" };
            emit(if at_element_start { start } else { before });
        }
        let (value, len) = value(after_dollar, lookup);
        rest = after_dollar.get(len..).unwrap_or_default();
        let alone = at_element_start && matches!(rest.first(), None | Some(b':'));
        if value.is_empty() && alone {
            if held.is_empty() {
                rest = rest.get(1..).unwrap_or_default();
            } else if let Some(next) = rest.get(1..) {
                // The held colon now stands before what follows.
                rest = next;
            } else {
                held = b"";
            }
        } else {
            emit(held);
            held = b"";
            emit(value);
            at_element_start = false;
        }
    }
    emit(held);
    emit(rest);
}

/// What a reference stands for, and how many bytes after its dollar sign belong to it.
fn value<'a>(after_dollar: &[u8], lookup: &impl Fn(&[u8]) -> Option<&'a [u8]>) -> (&'a [u8], usize) {
    let (name, len) = name(after_dollar);
    let value = match name {
        Name::Variable(name) => lookup(name).unwrap_or_default(),
        Name::Malformed => b"",
        Name::None => b"$",
    };
    (value, len)
}

enum Name<'a> {
    Variable(&'a [u8]),
    /// `${}` or an unclosed brace: swallowed.
    Malformed,
    /// A dollar sign that starts nothing: kept.
    None,
}

/// What follows a dollar sign, and how many bytes of it belong to the reference.
fn name(text: &[u8]) -> (Name<'_>, usize) {
    if let Some(braced) = text.strip_prefix(b"{") {
        return match braced.iter().position(|byte| *byte == b'}') {
            Some(0) => (Name::Malformed, 2),
            Some(end) => (Name::Variable(braced.get(..end).unwrap_or_default()), end + 2),
            None => (Name::Malformed, 1),
        };
    }
    // A shell's positional and special parameters are one character; as variables they are never set.
    let is_special = |byte: &u8| b"*#$@!?-0123456789".contains(byte);
    let len = match text.first() {
        Some(first) if is_special(first) => 1,
        _ => text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count(),
    };
    if len == 0 { (Name::None, 0) } else { (Name::Variable(text.get(..len).unwrap_or_default()), len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> String {
        let lookup = |name: &[u8]| -> Option<&'static [u8]> {
            match name {
                b"X" => Some(b"ex"),
                b"X_1" => Some(b"one"),
                b"EMPTY" => Some(b""),
                b"RAW" => Some(b"$X:"),
                _ => None,
            }
        };
        String::from_utf8(expand(text.as_bytes(), lookup).expose().to_vec()).unwrap()
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
    fn what_is_no_reference_is_treated_as_the_reference_does() {
        for (text, expected) in [
            ("$", "$"),
            ("a$", "a$"),
            ("$ X", "$ X"),
            ("$/", "$/"),
            ("a${}b", "ab"),
            ("a${X", "aX"),
            ("$$X", "X"),
            ("$1x", "x"),
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
}
