//! Warnings about what a person may not have meant: values that programs refuse, targets that shells keep or run.

use std::path::Path;

use protocol::rules::{self, Shell};
use protocol::secret::Secret;

use crate::cli::ui;
use crate::sys::users;

/// Warns about a target that does not do what it looks like. `name` of `env` and `file` may be empty.
pub(super) fn about_targets(env: &str, file: &str) {
    for text in variable(env).into_iter().chain(path(file)) {
        ui::warn(&ui::printable(&text));
    }
    hint_expanded_home(file);
}

/// Warns about a value that a program will not read from a file.
pub(super) fn about_file_content(value: &Secret) {
    for text in content(value.expose()) {
        ui::warn(text);
    }
}

/// What is wrong with the variable `name` as a target.
pub(super) fn variable(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let shells: Vec<String> = Shell::keeping(name).map(|shell| shell.to_string()).collect();
    match shells.as_slice() {
        [] => {}
        [one] => found.push(format!("{one} keeps {name} for itself, so its sessions may not have this value")),
        several => {
            let shells = several.join(", ");
            found.push(format!(
                "these shells keep {name} for themselves, so their sessions may not have this value: {shells}"
            ));
        }
    }
    if let Some(reader) = rules::code::of_variable(name) {
        found.push(runs_code(name, reader));
    }
    found
}

fn path(file: &str) -> Option<String> {
    rules::code::of_file(file).map(|reader| runs_code(file, reader))
}

fn runs_code(target: &str, reader: &str) -> String {
    format!(
        "{target} can run commands: it is read by {reader}. \
         Whoever can change this secret can run commands in your workspaces"
    )
}

fn content(value: &[u8]) -> Vec<&'static str> {
    let mut found = Vec::new();
    if value.starts_with(b"\xef\xbb\xbf") {
        found.push("the value starts with a byte order mark (BOM), which most programs take for a part of it");
    }
    if value.windows(2).any(|pair| pair == b"\r\n") {
        found.push("the value has Windows line ends (CRLF), which ssh and many others refuse in a file");
    }
    let is_pem = value.windows(5).any(|mark| mark == b"-----") && contains(value, b"-----END ");
    if is_pem && !value.ends_with(b"\n") {
        found.push("the value is a PEM block without a line break at its end, which ssh refuses in a file");
    }
    found
}

fn contains(text: &[u8], mark: &[u8]) -> bool {
    text.windows(mark.len()).any(|part| part == mark)
}

/// Tells users whose shell has expanded `~` that the path now names a home on this machine.
fn hint_expanded_home(path: &str) {
    if let Some(home) = users::own_home()
        && let Some(below) = below_home(path, &home)
    {
        ui::warn(&format!("--file {path} lies in the home directory of this machine, not of the workspace"));
        ui::note(&format!("If the shell expanded ~, quote it: --file '~/{below}'"));
    }
}

fn below_home<'a>(path: &'a str, home: &Path) -> Option<&'a str> {
    let below = Path::new(path).strip_prefix(home).ok()?.to_str()?;
    (home != Path::new("/") && !below.is_empty()).then_some(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_below_this_home_is_noticed() {
        let home = Path::new("/home/alice");
        assert_eq!(below_home("/home/alice/.ssh/key", home), Some(".ssh/key"));
        for other in ["~/.ssh/key", "/home/alice", "/home/alice/", "/home/alicette/x", "/etc/x", ""] {
            assert_eq!(below_home(other, home), None, "{other:?}");
        }
        assert_eq!(below_home("/etc/x", Path::new("/")), None);
    }

    #[test]
    fn what_a_program_refuses_in_a_file_is_noticed() {
        const KEY: &[u8] = b"-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----";
        let number = |value: &[u8]| content(value).len();
        assert_eq!((number(KEY), number(&[KEY, b"\n"].concat())), (1, 0));
        assert_eq!(number(b"\xef\xbb\xbfa\r\nb"), 2);
        for plain in [&b""[..], b"a", b"a\nb", b"----- not a key -----", b"\r"] {
            assert_eq!(number(plain), 0, "{plain:?}");
        }
    }

    #[test]
    fn names_of_shells_are_warned_about() {
        assert!(variable("").is_empty() && variable("API_KEY").is_empty());
        assert_eq!(variable("OPTERR"), ["bash keeps OPTERR for itself, so its sessions may not have this value"]);
        assert!(variable("UID")[0].ends_with(": bash, zsh"));
        assert!(variable("PROMPT_COMMAND")[0].contains("read by bash before each prompt"));
        assert!(path("~/.bashrc").is_some() && path("~/.tool").is_none());
    }
}
