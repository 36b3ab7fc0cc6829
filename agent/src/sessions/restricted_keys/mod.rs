//! The command that the SSH key of a login is restricted to.
//!
//! `ForceCommand` makes sshd ignore the `command=` of a key in `authorized_keys`. A key for backups would become a full
//! login with all secrets. So the key that logged in is looked up here, and `coder session` runs its command.
//!
//! - `authorized_keys`: reads the lines of a file as sshd reads them
//! - `policy`: decides from the lines and from how the client authenticated

mod authorized_keys;
mod policy;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

use super::login::Login;
use authorized_keys::Line;
use policy::Shown;

/// sshd's default for `AuthorizedKeysFile`.
pub const DEFAULT_FILES: [&str; 2] = [".ssh/authorized_keys", ".ssh/authorized_keys2"];
/// Names the file in which sshd says how the client authenticated, with `ExposeAuthInfo yes`.
pub const AUTH_INFO: &str = "SSH_USER_AUTH";
/// Longest file that is read: tens of thousands of keys.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Where the keys of a user are, and what to do with others.
#[derive(Debug)]
pub struct KeyFiles<'a> {
    /// As sshd's `AuthorizedKeysFile`: relative to the home, with `%h`, `%u` and `%U`.
    pub patterns: &'a [String],
    /// Whether a key that is in none of these files is unrestricted, instead of refused.
    pub allows_unlisted: bool,
}

/// Why a session must not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Refusal {
    #[error("cannot tell whether this login is restricted to a command: {0}")]
    Unclear(String),
    #[error("cannot tell whether this login is restricted to a command: cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
}

/// The command that the key of this login is restricted to, if any. `auth_info` is the value of [`AUTH_INFO`].
pub fn forced_command(
    login: &Login,
    files: &KeyFiles<'_>,
    auth_info: Option<&OsStr>,
) -> Result<Option<OsString>, Refusal> {
    let mut lines: Vec<Line> = Vec::new();
    for pattern in files.patterns {
        let path = path_of(login, pattern);
        let file = read(&path).map_err(|source| Refusal::Read { path: path.clone(), source })?;
        lines.extend(authorized_keys::parse(&path, &file));
    }
    let shown = auth_info.and_then(|path| read(Path::new(path)).ok());
    let command = policy::decide(Shown::parse(&shown.unwrap_or_default()), &lines, files)?;
    Ok(command.map(OsString::from_vec))
}

/// `pattern` as sshd understands an `AuthorizedKeysFile`.
fn path_of(login: &Login, pattern: &str) -> PathBuf {
    let mut path = String::new();
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        match (character, if character == '%' { rest.next() } else { None }) {
            ('%', Some('h')) => path.push_str(&login.home.to_string_lossy()),
            ('%', Some('u')) => path.push_str(&login.name),
            ('%', Some('U')) => path.push_str(&geteuid().as_raw().to_string()),
            ('%', Some(other)) => path.push(other),
            (character, _) => path.push(character),
        }
    }
    login.home.join(path)
}

/// sshd reads these files as the user as well. A file that it cannot read lets nobody in, so it counts as empty.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for a writer.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_sshd() {
        let login = Login { name: "alice".into(), home: "/home/alice".into(), shell: "/bin/sh".into() };
        for (pattern, expected) in [
            (".ssh/authorized_keys", "/home/alice/.ssh/authorized_keys"),
            ("%h/keys", "/home/alice/keys"),
            ("/etc/ssh/keys/%u", "/etc/ssh/keys/alice"),
            ("/keys/100%%", "/keys/100%"),
        ] {
            assert_eq!(path_of(&login, pattern), Path::new(expected));
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
