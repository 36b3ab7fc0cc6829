//! What the client asked for, and the program that does it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Where sshd says what the client asked for, once there is a `ForceCommand`.
pub(super) const ORIGINAL_COMMAND: &str = "SSH_ORIGINAL_COMMAND";

/// sshd's own name for the server it has built in. Under a `ForceCommand` it is never run.
const INTERNAL_SFTP: &[u8] = b"internal-sftp";
/// Debian; Fedora and Arch's older and newer places; Alpine, BSD.
const SFTP_SERVERS: [&str; 4] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/sftp-server",
];

/// What a session is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The login shell.
    LoginShell,
    /// A line for the shell: a command, scp, an sftp-server that sshd's configuration names.
    Command(OsString),
    /// The built-in sftp server, with these arguments.
    Sftp(Vec<OsString>),
}

impl Target {
    pub(super) fn new(command: Option<OsString>) -> Self {
        let Some(command) = command else { return Self::LoginShell };
        let mut words = command.as_bytes().split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        if words.next() == Some(INTERNAL_SFTP) {
            return Self::Sftp(words.map(|word| OsStr::from_bytes(word).to_owned()).collect());
        }
        Self::Command(command)
    }

    pub(super) fn is_login_shell(&self) -> bool {
        *self == Self::LoginShell
    }

    /// Program, its name for itself, arguments; as sshd would start it.
    pub(super) fn into_command(self, shell: &Path) -> (OsString, OsString, Vec<OsString>) {
        let name = shell.file_name().unwrap_or(shell.as_os_str());
        match self {
            // The dash makes it a login shell.
            Self::LoginShell => (shell.into(), OsString::from_vec([b"-", name.as_bytes()].concat()), Vec::new()),
            Self::Command(line) => (shell.into(), name.into(), vec!["-c".into(), line]),
            Self::Sftp(arguments) => {
                let server = sftp_server();
                (server.clone().into(), server.into(), arguments)
            }
        }
    }
}

/// Where none is, the first is as good a name as any for the error.
fn sftp_server() -> PathBuf {
    let mut places = SFTP_SERVERS.iter().map(PathBuf::from);
    places.find(|path| path.exists()).unwrap_or_else(|| PathBuf::from("sftp-server"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_what_the_client_asked_for() {
        let shell = Path::new("/bin/bash");
        let of = |command: Option<&str>| Target::new(command.map(OsString::from)).into_command(shell);
        let bash = |name: &str, arguments: &[&str]| {
            (OsString::from(shell), OsString::from(name), arguments.iter().map(OsString::from).collect::<Vec<_>>())
        };
        assert_eq!(of(None), bash("-bash", &[]));
        for line in ["", "echo 'a  b'", "scp -t .", "/usr/lib/openssh/sftp-server", "internal-sftp-like", "bash -s"] {
            assert_eq!(of(Some(line)), bash("bash", &["-c", line]));
        }
        for line in ["internal-sftp -f AUTH -l INFO", " internal-sftp\t-f  AUTH -l INFO"] {
            let Target::Sftp(arguments) = Target::new(Some(line.into())) else { panic!("{line}") };
            assert_eq!(arguments, ["-f", "AUTH", "-l", "INFO"]);
        }
    }
}
