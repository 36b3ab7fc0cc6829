//! The message of the day.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::cli::ui;

/// What is longer is no message.
const MAX_BYTES: u64 = 64 * 1024;

/// Shows the file that the template names, unless the user has a `.hushlogin`. Nothing where it is missing.
pub(super) fn show(named: &Path, home: &Path) {
    if !named.as_os_str().is_empty() && !is_hushed(home) {
        print(&place(named, home));
    }
}

/// Whether the user wants no messages.
pub(super) fn is_hushed(home: &Path) -> bool {
    home.join(".hushlogin").exists()
}

/// Prints a message; nothing where there is none.
pub(super) fn print(path: &Path) {
    if let Ok(message) = read(path) {
        let _ = ui::print_bytes(&message);
    }
}

fn place(named: &Path, home: &Path) -> PathBuf {
    // The agent has expanded it; an absolute path stays what it is.
    home.join(named)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe in its place would wait for a writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut message = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut message)?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_lies_where_the_template_says() {
        for (named, expected) in [("/etc/motd", "/etc/motd"), ("motd", "/home/a/motd")] {
            assert_eq!(place(Path::new(named), Path::new("/home/a")), Path::new(expected));
        }
    }

    #[test]
    fn only_a_file_is_a_message() {
        let scratch = tempfile::tempdir().unwrap();
        let pipe = scratch.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        assert!(read(&pipe).is_err() && read(scratch.path()).is_err());
        std::fs::write(scratch.path().join("motd"), "welcome\n").unwrap();
        assert_eq!(read(&scratch.path().join("motd")).unwrap(), b"welcome\n");
    }
}
