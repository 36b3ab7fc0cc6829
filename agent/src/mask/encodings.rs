//! The forms in which a value turns up in output.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use protocol::secret::Secret;
use zeroize::Zeroizing;

use super::{SHORTEST, quoting};

/// Adds the forms of `value` to `patterns`. `false` where the value or one of its lines is too short to be masked.
pub(super) fn of(value: &[u8], patterns: &mut Vec<Secret>) -> bool {
    let mut complete = true;
    let mut add = |form: &[u8]| {
        if form.trim_ascii().len() >= SHORTEST {
            patterns.push(Secret::new(form.to_vec()));
        } else if !form.trim_ascii().is_empty() {
            complete = false;
        }
    };
    for line in value.split(|byte| *byte == b'\n') {
        add(line.trim_ascii());
    }
    // A shell drops the newlines at the end of what it substitutes, and what is encoded comes from a shell more often than
    // not. Of the value with its newlines the encodings differ only after these forms.
    let trimmed = value.trim_ascii_end();
    if trimmed.len() < SHORTEST {
        return complete;
    }
    // Without the newlines, which would else be swallowed, and the next line joined to this one.
    add(trimmed);
    for offset in 0..3 {
        base64(&STANDARD_NO_PAD, trimmed, offset, &mut add);
        base64(&URL_SAFE_NO_PAD, trimmed, offset, &mut add);
    }
    for (lower, plain) in [(false, ""), (true, ""), (false, "/"), (false, "!'()*"), (false, " ")] {
        add(&percent(trimmed, plain, lower));
    }
    for quoted in &quoting::all(trimmed) {
        add(quoted);
    }
    if let Ok(text) = std::str::from_utf8(trimmed) {
        add(&json(text, |_| false));
        add(&json(text, |c| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')));
        add(&json(text, |c| !c.is_ascii()));
    }
    complete
}

/// Of a value that begins `offset` bytes into a group of three, only the characters that nothing but the value decides;
/// and once more with the last one, for a value at the end of what was encoded.
fn base64(engine: &impl Engine, value: &[u8], offset: usize, add: &mut impl FnMut(&[u8])) {
    // What `base64` and Python, and what openssl put on one line.
    const LINES: [usize; 2] = [76, 64];
    let mut bytes = Zeroizing::new(Vec::with_capacity(offset + value.len()));
    bytes.resize(offset, 0);
    bytes.extend_from_slice(value);
    let encoded = Zeroizing::new(engine.encode(&*bytes));
    let first = (offset * 8).div_ceil(6);
    let whole = bytes.len() * 8 / 6;
    add(encoded.as_bytes().get(first..whole).unwrap_or_default());
    add(encoded.as_bytes().get(first..).unwrap_or_default());
    for len in LINES.into_iter().filter(|len| offset == 0 && encoded.len() > *len) {
        // The rest of a last line may be any length; alone it says little.
        encoded.as_bytes().chunks_exact(len).for_each(&mut *add);
    }
}

/// Percent-encoding. Which characters stay as they are differs: beside the unreserved ones those of `plain`; a space in
/// `plain` stands for the form encoding, where it becomes a plus sign.
fn percent(value: &[u8], plain: &str, lower: bool) -> Zeroizing<Vec<u8>> {
    let digits = if lower { b"0123456789abcdef" } else { b"0123456789ABCDEF" };
    let digit = |nibble: u8| digits.get(usize::from(nibble)).copied().unwrap_or_default();
    let mut encoded = Zeroizing::new(Vec::with_capacity(value.len() * 3));
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) {
            encoded.push(*byte);
        } else if plain.as_bytes().contains(byte) {
            encoded.push(if *byte == b' ' { b'+' } else { *byte });
        } else {
            encoded.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

/// The inside of a JSON string. Which characters beyond the necessary are escaped differs between writers.
fn json(text: &str, also: impl Fn(char) -> bool) -> Zeroizing<Vec<u8>> {
    // No character grows to more than six times its bytes.
    let mut encoded = Zeroizing::new(Vec::with_capacity(text.len() * 6));
    for c in text.chars() {
        match c {
            '"' | '\\' => encoded.extend([b'\\', u8::try_from(c).unwrap_or_default()]),
            '\n' => encoded.extend(b"\\n"),
            '\r' => encoded.extend(b"\\r"),
            '\t' => encoded.extend(b"\\t"),
            '\u{8}' => encoded.extend(b"\\b"),
            '\u{c}' => encoded.extend(b"\\f"),
            c if c < ' ' || also(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    encoded.extend(format!("\\u{unit:04x}").into_bytes());
                }
            }
            c => encoded.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    encoded
}
