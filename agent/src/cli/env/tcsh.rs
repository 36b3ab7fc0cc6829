//! Variables as tcsh reads them, by ``eval "`coder env --format tcsh`"``.
//!
//! The text is ASCII, whatever the values are. tcsh 6.24 reads a command's output 4096 bytes at a time. If one of the last
//! sixteen is no part of a character, it reads on to see whether it becomes one, and then drops as many bytes as it has read
//! too many, from whatever comes there. So the other bytes come by references to lists, each made by a command whose output
//! is shorter than that. The command is tcsh's own `echo`: an argument of a program could be seen by other users.

use std::collections::HashMap;

use zeroize::Zeroizing;

use crate::environment::Variable;

type Text = Zeroizing<Vec<u8>>;

/// Most bytes that one command prints.
const MOST_PRINTED: usize = 3000;
/// Most bytes of one element. Each reference takes tcsh longer than the one before it.
const MOST_OF_ELEMENT: usize = 256;

/// Bytes that are no ASCII, by where the text finds them.
#[derive(Default)]
struct Lists<'v> {
    made: Vec<Vec<&'v [u8]>>,
    /// Bytes that the last list prints.
    printed: usize,
    places: HashMap<&'v [u8], (usize, usize)>,
}

impl<'v> Lists<'v> {
    /// The list and the element of `bytes`, both counted from 1.
    fn place(&mut self, bytes: &'v [u8]) -> (usize, usize) {
        if let Some(place) = self.places.get(bytes) {
            return *place;
        }
        let needed = bytes.len() + " ".len();
        if self.made.is_empty() || self.printed + needed > MOST_PRINTED {
            self.made.push(Vec::new());
            self.printed = 0;
        }
        self.printed += needed;
        let list = self.made.len();
        let elements = self.made.last_mut().map_or(0, |last| {
            last.push(bytes);
            last.len()
        });
        self.places.insert(bytes, (list, elements));
        (list, elements)
    }

    fn definitions(&self) -> Text {
        let mut text = Text::default();
        for (index, list) in self.made.iter().enumerate() {
            // In the shell of the backquotes alone. In any other locale `echo` would print characters of these numbers.
            let start = format!("set coder_bytes{} = (`setenv LC_ALL C; set echo_style = sysv; echo '", index + 1);
            text.extend(start.as_bytes());
            for (number, bytes) in list.iter().enumerate() {
                text.extend(if number == 0 { "" } else { " " }.as_bytes());
                for byte in *bytes {
                    text.extend([b'\\', octal(*byte, 6), octal(*byte, 3), octal(*byte, 0)]);
                }
            }
            text.extend(b"'`);\n");
        }
        text
    }
}

fn octal(byte: u8, shift: u8) -> u8 {
    b'0' + (byte >> shift & 0o7)
}

/// The text that sets these.
pub(super) fn write(variables: &[&Variable]) -> Text {
    let mut lists = Lists::default();
    let mut settings = Text::default();
    for variable in variables {
        settings.extend(b"setenv ");
        settings.extend(variable.name.as_encoded_bytes());
        settings.extend(b" '");
        write_value(&mut settings, &mut lists, variable.value.expose());
        settings.extend(b"';\n");
    }
    let mut text = lists.definitions();
    text.extend(settings.iter());
    for list in 1..=lists.made.len() {
        text.extend(format!("unset coder_bytes{list};\n").as_bytes());
    }
    text
}

fn write_value<'v>(text: &mut Text, lists: &mut Lists<'v>, value: &'v [u8]) {
    // Bytes that are no UTF-8 might be taken together for characters that there are not.
    let most = if std::str::from_utf8(value).is_ok() { MOST_OF_ELEMENT } else { 1 };
    let runs = value.chunk_by(|one, other| one.is_ascii() == other.is_ascii());
    for run in runs {
        if run.is_ascii() {
            for byte in run {
                write_ascii(text, *byte);
            }
        } else {
            for bytes in run.chunks(most) {
                let (list, element) = lists.place(bytes);
                text.extend(format!("'$coder_bytes{list}[{element}]:q'").as_bytes());
            }
        }
    }
}

/// tcsh replaces history between all quotes, and `eval` ends a word at each newline, so both leave the quotes. A backslash
/// does too: before such a newline it would be lost.
fn write_ascii(text: &mut Text, byte: u8) {
    match byte {
        b'\'' => text.extend(br"'\''"),
        b'!' => text.extend(br"'\!'"),
        b'\n' => text.extend(b"'$coder_newline:q'"),
        b'\\' => text.extend(b"'$coder_backslash:q'"),
        byte => text.push(byte),
    }
}
