//! Reading `authorized_keys` as sshd does, for the one option that `ForceCommand` makes it forget.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A line that is neither blank nor a comment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It lets a key in.
    Key {
        /// The key, in its binary form.
        key: Vec<u8>,
        /// The only command it may run.
        command: Command,
        /// It lets in what this key has signed, and not the key itself.
        is_authority: bool,
    },
    /// We find no key in it. sshd may: a newer one knows more types.
    Unreadable {
        /// Number and file, for messages.
        place: String,
        /// The line without white space, which sshd skips within a key.
        text: Vec<u8>,
    },
}

/// The `command=` of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// There is none.
    Any,
    /// This one.
    Only(Vec<u8>),
    /// There are several, or one that does not end.
    Unclear,
}

impl Line {
    /// Whether a key that logged in may be restricted by this line.
    pub(super) fn may_restrict(&self) -> bool {
        !matches!(self, Self::Key { command: Command::Any, .. })
    }

    /// The same of a certificate.
    pub(super) fn may_restrict_certificates(&self) -> bool {
        self.may_restrict() && !matches!(self, Self::Key { is_authority: false, .. })
    }

    /// The command of a line that lets `key` in.
    pub(super) fn command_for(&self, key: &[u8]) -> Option<&Command> {
        match self {
            Self::Key { key: own, command, is_authority: false } if own == key => Some(command),
            _ => None,
        }
    }

    /// Where the line is, if it cannot be read.
    pub(super) fn unreadable_place(&self) -> Option<&str> {
        match self {
            Self::Unreadable { place, .. } => Some(place),
            Self::Key { .. } => None,
        }
    }

    /// Where the line is, if it cannot be read and has `key` in it.
    pub(super) fn hides(&self, key: &[u8]) -> Option<&str> {
        let Self::Unreadable { place, text } = self else { return None };
        let encoded = STANDARD.encode(key);
        let encoded = encoded.trim_end_matches('=').as_bytes();
        text.windows(encoded.len()).any(|window| window == encoded).then_some(place)
    }
}

/// The lines of the file at `path` that are neither blank nor comments.
pub(super) fn parse<'f>(path: &'f Path, file: &'f [u8]) -> impl Iterator<Item = Line> + 'f {
    file.split(|byte| *byte == b'\n').enumerate().filter_map(move |(index, text)| {
        let text = text.trim_ascii();
        if text.is_empty() || text.starts_with(b"#") {
            return None;
        }
        Some(line(text).unwrap_or_else(|| Line::Unreadable {
            place: format!("line {} of {}", index + 1, path.display()),
            text: text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect(),
        }))
    })
}

fn line(text: &[u8]) -> Option<Line> {
    if let Some(key) = key(text) {
        return Some(Line::Key { key, command: Command::Any, is_authority: false });
    }
    let (options, rest) = text.split_at(end_of_options(text));
    let key = key(rest.trim_ascii_start())?;
    let options = split(options);
    let is_authority = options.iter().any(|option| option.eq_ignore_ascii_case(b"cert-authority"));
    Some(Line::Key { key, command: command(&options), is_authority })
}

/// A key at the start of `text`: a word for its type, then its binary form in base64, which starts with the type itself.
pub(super) fn key(text: &[u8]) -> Option<Vec<u8>> {
    let mut words = text.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let (word, encoded) = (words.next()?, words.next()?);
    // As in sshd, for which a form feed, for one, ends no word.
    let encoded: Vec<u8> = encoded.iter().copied().filter(|byte| !matches!(byte, b'\r' | 0x0b | 0x0c)).collect();
    let key = STANDARD.decode(encoded).ok()?;
    is_name_of(word, kind_of(&key)?).then_some(key)
}

/// Whether sshd takes `word` for the type `kind`: it also takes the signature algorithms of RSA.
fn is_name_of(word: &[u8], kind: &[u8]) -> bool {
    word == kind || (kind == b"ssh-rsa" && matches!(word, b"rsa-sha2-256" | b"rsa-sha2-512"))
}

/// The type that the binary form of a key starts with.
pub(super) fn kind_of(key: &[u8]) -> Option<&[u8]> {
    let (length, rest) = key.split_first_chunk()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// Options end at a space outside of quotes.
fn end_of_options(text: &[u8]) -> usize {
    outside_quotes(text, |byte| matches!(byte, b' ' | b'\t')).next().unwrap_or(text.len())
}

fn split(options: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut start = 0;
    for comma in outside_quotes(options, |byte| byte == b',') {
        parts.push(&options[start..comma]);
        start = comma + 1;
    }
    parts.push(&options[start..]);
    parts
}

/// The positions of bytes that are `wanted`, outside of quotes. A backslash escapes a quote and nothing else.
fn outside_quotes(text: &[u8], wanted: impl Fn(u8) -> bool) -> impl Iterator<Item = usize> {
    let mut is_quoted = false;
    let mut after_backslash = false;
    text.iter().enumerate().filter_map(move |(position, &byte)| {
        let is_escaped = after_backslash && byte == b'"';
        after_backslash = byte == b'\\' && !is_escaped;
        if byte == b'"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        (!is_quoted && wanted(byte)).then_some(position)
    })
}

fn command(options: &[&[u8]]) -> Command {
    const NAME: &[u8] = b"command=";
    let is_command = |option: &&&[u8]| option.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
    let mut commands = options.iter().filter(is_command).map(|option| unquote(&option[NAME.len()..]));
    match (commands.next(), commands.next()) {
        (None, _) => Command::Any,
        (Some(Some(command)), None) => Command::Only(command),
        _ => Command::Unclear,
    }
}

fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    let inner = text.strip_prefix(b"\"")?;
    let mut command = Vec::new();
    let mut bytes = inner.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return bytes.next().is_none().then_some(command),
            b'\\' if bytes.next_if_eq(&b'"').is_some() => command.push(b'"'),
            other => command.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The binary form of a key, and its line.
    fn made(kind: &str, content: &[u8]) -> (Vec<u8>, String) {
        let length = u32::try_from(kind.len()).unwrap().to_be_bytes();
        let key = [&length[..], kind.as_bytes(), content].concat();
        let line = format!("{kind} {}", STANDARD.encode(&key));
        (key, line)
    }

    fn parsed(text: &str) -> Vec<Line> {
        parse(Path::new("keys"), text.as_bytes()).collect()
    }

    #[test]
    fn options_are_read_as_by_sshd() {
        let (key, text) = made("ssh-ed25519", b"x");
        let only = |command: &str| Command::Only(command.into());
        for (options, expected) in [
            ("", Command::Any),
            ("restrict,pty ", Command::Any),
            ("command=\"borg serve\" ", only("borg serve")),
            ("COMMAND=\"a,b\",no-pty\t", only("a,b")),
            ("environment=\"A=command=\",command=\"x\" ", only("x")),
            ("environment=\"A=\\\",command=\\\"no\\\"\" ", Command::Any),
            (r#"command="say \"hi\" \n \\x" "#, only(r#"say "hi" \n \\x"#)),
            ("command=\"\" ", only("")),
            ("command=\"a\",command=\"a\" ", Command::Unclear),
            ("command=bare ", Command::Unclear),
            ("command=\"a\"b ", Command::Unclear),
        ] {
            let line = format!("  {options}{text} alice@laptop command=\"comment\"\r");
            let expected = Line::Key { key: key.clone(), command: expected, is_authority: false };
            assert_eq!(parsed(&line), [expected], "{line}");
        }
    }

    #[test]
    fn blank_lines_and_comments_are_no_lines() {
        let (_, text) = made("ssh-ed25519", b"x");
        assert_eq!(parsed(&format!("\n \t\r\n# {text}\n#\n")), []);
    }

    #[test]
    fn a_line_without_a_key_is_kept_with_its_place() {
        let (key, text) = made("ssh-ed25519", b"x");
        let wrong = text.replace("ssh-ed25519", "ssh-rsa");
        let unended = format!("command=\"x {text}");
        for (line, has_key) in [
            ("command=\"x\"", false),
            ("ssh-ed25519", false),
            ("ssh-ed25519 %%", false),
            (wrong.as_str(), true),
            (&format!("\u{feff}{text}"), true),
            (&unended, true),
        ] {
            let lines = parsed(&format!("\n{line}\n"));
            assert_eq!(lines.len(), 1, "{line}");
            assert_eq!(lines[0].unreadable_place(), Some("line 2 of keys"), "{line}");
            assert_eq!(lines[0].hides(&key).is_some(), has_key, "{line}");
            assert!(lines[0].may_restrict() && lines[0].may_restrict_certificates());
        }
    }

    #[test]
    fn the_type_may_be_any_word_that_sshd_knows_for_it() {
        for (kind, words) in
            [("ssh-rsa", &["ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"][..]), ("ssh-ed25519", &["ssh-ed25519"])]
        {
            let (key, text) = made(kind, b"x");
            let encoded = text.split(' ').nth(1).unwrap();
            for word in words {
                let line = format!("command=\"a\" {word}  {}\u{c}{}", &encoded[..8], &encoded[8..]);
                let expected =
                    Line::Key { key: key.clone(), command: Command::Only(b"a".to_vec()), is_authority: false };
                assert_eq!(parsed(&line), [expected], "{line:?}");
            }
        }
    }

    #[test]
    fn an_authority_is_told_from_a_key() {
        let (key, text) = made("ssh-ed25519", b"x");
        let lines = parsed(&format!("cert-authority,command=\"x\" {text}"));
        assert!(lines[0].may_restrict_certificates() && lines[0].command_for(&key).is_none());
    }
}
