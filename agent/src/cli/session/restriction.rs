//! `ForceCommand` makes sshd ignore the `command=` of a key, which would turn a key for backups into a full login. So the
//! key that logged in is looked up here, and what it is restricted to is run.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

use super::authorized_keys::{self, Command, Line};
use crate::sys::users::Account;

/// sshd's default for `AuthorizedKeysFile`.
pub(super) const DEFAULT_FILES: [&str; 2] = [".ssh/authorized_keys", ".ssh/authorized_keys2"];
/// The file in which sshd says how the client showed who it is, with `ExposeAuthInfo yes`.
const AUTH_INFO: &str = "SSH_USER_AUTH";
/// Longest file that is read: tens of thousands of keys.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Ends the type of a certificate.
const CERTIFICATE: &[u8] = b"-cert-v01@openssh.com";

/// Who logged in.
pub(super) struct Login {
    /// Login name; empty where nobody knows it.
    pub(super) name: String,
    /// Home directory.
    pub(super) home: PathBuf,
    /// Login shell.
    pub(super) shell: PathBuf,
}

impl Login {
    /// From the user database, else from what sshd has set.
    pub(super) fn of_this_process(account: Option<&Account>) -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        match account {
            Some(account) => {
                Self { name: account.name.clone(), home: account.home.clone(), shell: account.shell.clone() }
            }
            None => Self {
                name: variable("USER").and_then(|name| name.into_string().ok()).unwrap_or_default(),
                home: variable("HOME").map_or_else(|| "/".into(), PathBuf::from),
                shell: variable("SHELL").map_or_else(|| "/bin/sh".into(), PathBuf::from),
            },
        }
    }

    /// `pattern` as sshd understands an `AuthorizedKeysFile`.
    fn path(&self, pattern: &str) -> PathBuf {
        let mut path = String::new();
        let mut rest = pattern.chars();
        while let Some(character) = rest.next() {
            match (character, if character == '%' { rest.next() } else { None }) {
                ('%', Some('h')) => path.push_str(&self.home.to_string_lossy()),
                ('%', Some('u')) => path.push_str(&self.name),
                ('%', Some('U')) => path.push_str(&geteuid().as_raw().to_string()),
                ('%', Some(other)) => path.push(other),
                (character, _) => path.push(character),
            }
        }
        self.home.join(path)
    }
}

/// Why a session must not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("cannot tell whether this login is restricted to a command: {0}")]
    Unclear(&'static str),
    #[error("cannot tell whether this login is restricted to a command: cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
}

/// The only command of the key that logged in, if it has one.
pub(super) fn find(login: &Login, patterns: &[String]) -> Result<Option<OsString>, Refusal> {
    let mut lines = Vec::new();
    for pattern in patterns {
        let path = login.path(pattern);
        let file = read(&path).map_err(|source| Refusal::Read { path, source })?;
        lines.extend(authorized_keys::parse(&file));
    }
    let shown = std::env::var_os(AUTH_INFO).and_then(|path| read(Path::new(&path)).ok());
    let command = decide(Shown::parse(&shown.unwrap_or_default()), &lines)?;
    Ok(command.map(OsString::from_vec))
}

/// What sshd cannot read lets nobody in, and is as good as absent.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe in its place would wait for a writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) if file.metadata()?.is_file() => file,
        Ok(_) => return Ok(Vec::new()),
        Err(error) => {
            let is_absent = matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
            );
            return if is_absent { Ok(Vec::new()) } else { Err(error) };
        }
    };
    let mut content = Vec::new();
    if file.take(MAX_BYTES + 1).read_to_end(&mut content)? as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 16 MiB"));
    }
    Ok(content)
}

/// How the client showed who it is.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    /// With these keys; none for a password and the like.
    Keys(Vec<Vec<u8>>),
    /// sshd does not say.
    Unknown,
}

impl Shown {
    /// A line a method; a key stands behind its method.
    fn parse(info: &[u8]) -> Self {
        let mut keys = Vec::new();
        let mut lines = info.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).peekable();
        if lines.peek().is_none() {
            return Self::Unknown;
        }
        for line in lines {
            let Some(rest) = line.strip_prefix(b"publickey") else { continue };
            match authorized_keys::key(rest.trim_ascii_start()) {
                Some(key) => keys.push(key),
                None => return Self::Unknown,
            }
        }
        Self::Keys(keys)
    }
}

fn decide(shown: Shown, lines: &[Line]) -> Result<Option<Vec<u8>>, Refusal> {
    let has_any = lines.iter().any(|line| line.command != Command::Any);
    let unless_any = |reason| if has_any { Err(Refusal::Unclear(reason)) } else { Ok(()) };
    let Shown::Keys(keys) = shown else {
        return unless_any("sshd needs \"ExposeAuthInfo yes\" to say which key it was").map(|()| None);
    };
    let mut commands: Vec<&Command> = Vec::new();
    for key in &keys {
        if authorized_keys::kind_of(key).is_some_and(|kind| kind.ends_with(CERTIFICATE)) {
            certificate(key, lines)?;
            continue;
        }
        let before = commands.len();
        commands.extend(lines.iter().filter(|line| line.key == *key && !line.is_authority).map(|line| &line.command));
        if commands.len() == before {
            unless_any("its key is in no file that was looked into")?;
        }
    }
    commands.dedup();
    match commands[..] {
        [] | [Command::Any] => Ok(None),
        [Command::Only(command)] => Ok(Some(command.clone())),
        [Command::Unclear] => Err(Refusal::Unclear("its line in authorized_keys is malformed")),
        // Which one sshd took may depend on addresses and times that only sshd has looked at.
        _ => Err(Refusal::Unclear("several lines let it in, with different commands")),
    }
}

/// Who signed a certificate, and what for, is sshd's to judge; where either could mean a command, nothing is run.
fn certificate(key: &[u8], lines: &[Line]) -> Result<(), Refusal> {
    const FORCED: &[u8] = b"force-command";
    let is_forced = key.windows(FORCED.len()).any(|window| window == FORCED);
    if is_forced || lines.iter().any(|line| line.is_authority && line.command != Command::Any) {
        return Err(Refusal::Unclear("certificates with a command are not supported"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn key(kind: &str, content: &str) -> Vec<u8> {
        [&u32::try_from(kind.len()).unwrap().to_be_bytes()[..], kind.as_bytes(), content.as_bytes()].concat()
    }

    fn text(kind: &str, content: &str) -> String {
        format!("{kind} {}", STANDARD.encode(key(kind, content)))
    }

    /// What a login with `info` may run, with `lines` in the file. `!` where it is refused, empty where it is free.
    fn verdict(info: &str, lines: &[String]) -> String {
        let lines: Vec<Line> = authorized_keys::parse(lines.join("\n").as_bytes()).collect();
        match decide(Shown::parse(info.as_bytes()), &lines) {
            Ok(command) => String::from_utf8(command.unwrap_or_default()).unwrap(),
            Err(_) => "!".to_owned(),
        }
    }

    #[test]
    fn a_restricted_key_runs_its_command_and_nothing_else() {
        let (mine, other) = (text("ssh-ed25519", "mine"), text("ssh-ed25519", "other"));
        let info = format!("publickey {mine}\n");
        let with = |command: &str, key: &str| format!("command=\"{command}\" {key}");
        for (info, lines, expected) in [
            (info.as_str(), vec![mine.clone()], ""),
            (&info, vec![with("a", &mine)], "a"),
            (&info, vec![with("a", &other), mine.clone()], ""),
            (&info, vec![with("a", &mine), with("a", &mine)], "a"),
            // Which of two lines counts depends on what only sshd knows.
            (&info, vec![with("a", &mine), mine.clone()], "!"),
            (&info, vec![mine.clone(), with("a", &mine)], "!"),
            (&info, vec![with("a", &mine), with("b", &mine)], "!"),
            (&info, vec![format!("command=a {mine}")], "!"),
            // A key from elsewhere, or sshd that says nothing.
            (&info, vec![other.clone()], ""),
            (&info, vec![with("a", &other)], "!"),
            ("", vec![mine.clone()], ""),
            ("", vec![with("a", &mine)], "!"),
            ("publickey nonsense\n", vec![with("a", &mine)], "!"),
            // Other methods have no key.
            ("password\n", vec![with("a", &mine)], ""),
            ("keyboard-interactive/pam\n", vec![with("a", &mine)], ""),
            (&format!("{info}password\n"), vec![with("a", &mine)], "a"),
            (&format!("{info}publickey {other}\n"), vec![with("a", &mine), other.clone()], "!"),
        ] {
            assert_eq!(verdict(info, &lines), expected, "{info} {lines:?}");
        }
    }

    #[test]
    fn a_certificate_that_may_be_restricted_is_refused() {
        let authority = text("ssh-ed25519", "authority");
        let free = format!("publickey {}\n", text("ssh-ed25519-cert-v01@openssh.com", "permit-pty"));
        let forced = format!("publickey {}\n", text("ssh-ed25519-cert-v01@openssh.com", "\0\0\0\rforce-command"));
        let lines = [format!("cert-authority {authority}")];
        assert_eq!((verdict(&free, &lines), verdict(&forced, &lines)), (String::new(), "!".to_owned()));
        assert_eq!(verdict(&free, &[format!("cert-authority,command=\"a\" {authority}")]), "!");
        // The authority's own key is not let in by such a line.
        let own = format!("publickey {authority}\n");
        assert_eq!(verdict(&own, &[format!("cert-authority,command=\"a\" {authority}")]), "!");
    }

    #[test]
    fn patterns_are_those_of_sshd() {
        let login = Login { name: "alice".into(), home: "/home/alice".into(), shell: "/bin/sh".into() };
        for (pattern, expected) in [
            (".ssh/authorized_keys", "/home/alice/.ssh/authorized_keys"),
            ("%h/keys", "/home/alice/keys"),
            ("/etc/ssh/keys/%u", "/etc/ssh/keys/alice"),
            ("/keys/100%%", "/keys/100%"),
        ] {
            assert_eq!(login.path(pattern), Path::new(expected));
        }
    }

    #[test]
    fn a_file_that_is_none_is_as_good_as_absent() {
        let scratch = tempfile::tempdir().unwrap();
        assert_eq!(read(&scratch.path().join("none")).unwrap(), b"");
        assert_eq!(read(scratch.path()).unwrap(), b"");
        assert_eq!(read(Path::new("/dev/zero")).unwrap(), b"");
        let long = File::create(scratch.path().join("long")).unwrap();
        long.set_len(MAX_BYTES + 1).unwrap();
        assert!(read(&scratch.path().join("long")).is_err());
    }
}
