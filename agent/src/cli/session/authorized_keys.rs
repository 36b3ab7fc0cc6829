//! Reading `authorized_keys` as sshd does, for the one option that `ForceCommand` makes it forget.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A line that lets a key in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The key, in its binary form.
    pub(super) key: Vec<u8>,
    /// The only command it may run.
    pub(super) command: Command,
    /// It lets in what this key has signed, and not the key itself.
    pub(super) is_authority: bool,
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

/// The lines of a file that hold a key; sshd passes over all others too.
pub(super) fn parse(file: &[u8]) -> impl Iterator<Item = Line> {
    file.split(|byte| *byte == b'\n').filter_map(line)
}

fn line(text: &[u8]) -> Option<Line> {
    let text = text.trim_ascii();
    if text.starts_with(b"#") {
        return None;
    }
    if let Some(key) = key(text) {
        return Some(Line { key, command: Command::Any, is_authority: false });
    }
    let (options, rest) = text.split_at(end_of_options(text));
    let key = key(rest.trim_ascii_start())?;
    let options = split(options);
    let is_authority = options.iter().any(|option| option.eq_ignore_ascii_case(b"cert-authority"));
    Some(Line { key, command: command(&options), is_authority })
}

/// A key at the start of `text`: its type, then its binary form in base64, which starts with the type once more.
pub(super) fn key(text: &[u8]) -> Option<Vec<u8>> {
    let mut words = text.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let (kind, encoded) = (words.next()?, words.next()?);
    let key = STANDARD.decode(encoded).ok()?;
    (kind_of(&key)? == kind).then_some(key)
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

/// The positions of what `wanted` says, outside of quotes. A quote after a backslash is none, and no other character is
/// escaped.
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
    pub(crate) fn made(kind: &str, content: &[u8]) -> (Vec<u8>, String) {
        let length = u32::try_from(kind.len()).unwrap().to_be_bytes();
        let key = [&length[..], kind.as_bytes(), content].concat();
        let line = format!("{kind} {}", STANDARD.encode(&key));
        (key, line)
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
            let found: Vec<_> = parse(line.as_bytes()).collect();
            assert_eq!(found, [Line { key: key.clone(), command: expected, is_authority: false }], "{line}");
        }
    }

    #[test]
    fn a_line_without_a_key_lets_nobody_in() {
        let (_, text) = made("ssh-ed25519", b"x");
        let wrong = text.replace("ssh-ed25519", "ssh-rsa");
        for line in ["", "#", "command=\"x\"", "ssh-ed25519", "ssh-ed25519 %%", &wrong, &format!("# {text}")] {
            assert_eq!(parse(line.as_bytes()).count(), 0, "{line}");
        }
        let unended = format!("command=\"x {text}");
        assert_eq!(parse(unended.as_bytes()).count(), 0);
    }

    #[test]
    fn an_authority_is_told_from_a_key() {
        let (_, text) = made("ssh-ed25519", b"x");
        let line = format!("cert-authority,command=\"x\" {text}");
        assert!(parse(line.as_bytes()).all(|line| line.is_authority));
    }
}
