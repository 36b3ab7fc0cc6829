//! The only place that reads and writes the standard streams.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use protocol::secret::Secret;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// Longest answer to a question; more is not an answer.
const MAX_ANSWER_BYTES: u64 = 1024;

/// Writes data and a newline to standard output. A reader that has gone away (`| head`) has what it wanted: no error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// As [`print()`], for what is no line of text.
pub(crate) fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    // Past the standard library's buffer, which nobody wipes.
    match File::from(io::stdout().as_fd().try_clone_to_owned()?).write_all(bytes) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes a line for the person at the terminal to standard error. There is nobody to tell where that fails.
pub(crate) fn note(text: &str) {
    write_note(&format!("{text}\n"));
}

/// As [`note`], for what may not be what the user wanted.
pub(crate) fn warn(text: &str) {
    note(&format!("Warning: {text}"));
}

/// Tells the person who waits what for. `text` may hold what a server said.
pub(crate) fn waiting(text: &str) {
    note(&printable(text));
}

fn write_note(text: &str) {
    let mut err = io::stderr().lock();
    drop(err.write_all(text.as_bytes()).and_then(|()| err.flush()));
}

/// `text` from elsewhere, such that it cannot drive the terminal. Line breaks and tabs stay.
pub(crate) fn printable(text: &str) -> String {
    escape(text, |c| c.is_control() && !matches!(c, '\n' | '\t'))
}

/// As [`printable`], and on one line: for the cell of a table.
pub(crate) fn one_line(text: &str) -> String {
    escape(text, char::is_control)
}

fn escape(text: &str, unfit: impl Fn(char) -> bool) -> String {
    text.chars().map(|c| if unfit(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Whether a person types what standard input gives.
pub(crate) fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// How many characters a line of standard output holds; none where it is no terminal.
pub(crate) fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Reads standard input to its end or to `limit` bytes. It goes past the standard library's buffer, which nobody wipes.
pub(crate) fn read_stdin(limit: usize) -> io::Result<Secret> {
    read_secret(&File::from(io::stdin().as_fd().try_clone_to_owned()?), limit)
}

/// Reads `source` to its end or to `limit` bytes, into a buffer that never moves.
pub(crate) fn read_secret(source: impl Read, limit: usize) -> io::Result<Secret> {
    let mut bytes = Vec::with_capacity(limit + 1);
    let read = source.take(limit as u64).read_to_end(&mut bytes);
    let secret = Secret::new(bytes);
    read.map(|_| secret)
}

/// Asks for a yes; everything else, an end of input too, is a no.
pub(crate) fn confirm(question: &str) -> io::Result<bool> {
    write_note(&format!("{question} (yes/no) [no] "));
    let mut answer = String::new();
    io::BufRead::read_line(&mut io::stdin().lock().take(MAX_ANSWER_BYTES), &mut answer)?;
    if !answer.ends_with('\n') {
        note("");
    }
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Asks for a line of at most `limit` bytes on the terminal without showing it; none when the user gives up.
pub(crate) fn ask_hidden(question: &str, limit: usize) -> io::Result<Option<Secret>> {
    write_note(question);
    let terminal = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let answer = Hidden::start(&terminal).and_then(|_hidden| read_line(&terminal, limit));
    note("");
    answer
}

/// The terminal shows nothing while this lives. Its signals are off as well, since a Ctrl-C that ended the process here
/// would leave the user with a terminal that stays silent.
struct Hidden<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn start(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        // Not `Flush`: what was typed or sent ahead of the question is an answer too.
        tcsetattr(terminal, OptionalActions::Now, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Reads keys up to Enter, with Backspace and Ctrl-U as everywhere; Ctrl-C gives up, and so does Ctrl-D on an empty line.
fn read_line(mut keys: impl Read, limit: usize) -> io::Result<Option<Secret>> {
    let mut line = zeroize::Zeroizing::new(Vec::with_capacity(limit));
    let mut key = [0];
    loop {
        let ended = keys.read(&mut key)? == 0;
        match key[0] {
            _ if ended => return Ok(None),
            b'\r' | b'\n' => return Ok(Some(Secret::new(std::mem::take(&mut *line)))),
            0x03 => return Ok(None),
            0x04 if line.is_empty() => return Ok(None),
            0x08 | 0x7f => drop(line.pop()),
            0x15 => line.clear(),
            byte if !byte.is_ascii_control() && line.len() < limit => line.push(byte),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Option<String> {
        let line = read_line(keys, 8).unwrap();
        line.map(|line| line.expose_str().unwrap().to_owned())
    }

    #[test]
    fn a_line_is_typed_as_on_any_terminal() {
        assert_eq!(typed(b"abc\r"), Some("abc".into()));
        assert_eq!(typed(b"abc\nrest"), Some("abc".into()));
        assert_eq!(typed(b"ax\x7fb\x08c\r"), Some("ac".into()));
        assert_eq!(typed(b"wrong\x15ok\r"), Some("ok".into()));
        assert_eq!(typed(b"\x7f\r"), Some(String::new()));
        assert_eq!(typed(b"0123456789\r"), Some("01234567".into()));
        assert_eq!(typed(b"a\x1b\x04b\r"), Some("ab".into()));
    }

    #[test]
    fn giving_up_gives_nothing() {
        assert_eq!(typed(b"abc\x03\r"), None);
        assert_eq!(typed(b"\x04"), None);
        assert_eq!(typed(b"abc"), None);
    }

    #[test]
    fn text_from_elsewhere_cannot_drive_the_terminal() {
        assert_eq!(printable("a\n\tb\u{1b}[2J\r"), "a\n\tb\\u{1b}[2J\\r");
        assert_eq!(one_line("é\n\u{9b}"), "é\\n\\u{9b}");
    }

    #[test]
    fn a_source_is_read_to_the_limit() {
        assert_eq!(read_secret(&b"abc"[..], 8).unwrap().expose(), b"abc");
        assert_eq!(read_secret(&b"abcdef"[..], 4).unwrap().expose(), b"abcd");
    }
}
