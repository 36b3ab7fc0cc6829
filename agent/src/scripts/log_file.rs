use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use uuid::Uuid;

use crate::expand;
use crate::sys::fs::may_be_led_astray;

/// Where paths of log files are relative to.
#[derive(Clone, Debug)]
pub struct Places {
    /// Directory of log files whose script names none, or a relative one.
    pub log_dir: PathBuf,
    /// What `~` stands for.
    pub home: Option<PathBuf>,
    /// What `$NAME` stands for: the agent's own variables. Not the script's: those hold secrets, and a path is no place
    /// for one.
    pub variables: Vec<(OsString, OsString)>,
}

/// A log file could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open script log {path}")]
pub(super) struct LogFileError {
    path: PathBuf,
    source: io::Error,
}

impl Places {
    /// Opens the log file of a script for appending, making its directory.
    pub(super) fn open(&self, log_path: &str, source: Uuid) -> Result<File, LogFileError> {
        let path = self.path(log_path, source);
        open(&path, log_path.is_empty()).map_err(|source| LogFileError { path, source })
    }

    fn path(&self, log_path: &str, source: Uuid) -> PathBuf {
        if log_path.is_empty() {
            return self.log_dir.join(format!("coder-script-{source}.log"));
        }
        self.log_dir.join(self.expand(log_path))
    }

    /// The path that a template means; it may be relative.
    #[must_use]
    pub fn expand(&self, text: &str) -> PathBuf {
        let lookup = |name: &[u8]| {
            let variable = self.variables.iter().find(|(key, _)| key.as_bytes() == name);
            variable.map(|(_, value)| value.as_bytes())
        };
        expand::path(text, self.home.as_deref(), lookup)
    }
}

fn open(path: &Path, predictable: bool) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    // A FIFO without a reader must not stop the boot, and a terminal must not become ours.
    let mut flags = OFlags::NOCTTY | OFlags::NONBLOCK;
    if predictable {
        flags |= OFlags::NOFOLLOW;
    }
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
    // In a directory that all may write to, another user may have been there first, to read along.
    if predictable && file.metadata()?.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file belongs to another user"));
    }
    if may_be_led_astray(&file, path)? {
        let reason = "the file has several names, and others can write to its directory";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn places(log_dir: &Path) -> Places {
        let variables = vec![("NAME".into(), "value".into()), ("EMPTY".into(), "".into())];
        Places { log_dir: log_dir.to_owned(), home: Some("/home/alice".into()), variables }
    }

    #[test]
    fn paths_are_expanded_with_home_and_the_agents_variables() {
        let places = places(Path::new("/var/log/coder"));
        for (path, expected) in [
            ("", "/var/log/coder/coder-script-00000000-0000-0000-0000-000000000001.log"),
            ("a.log", "/var/log/coder/a.log"),
            ("~/a.log", "/home/alice/a.log"),
            ("/x/~/a", "/x/~/a"),
            ("~bob/a", "/var/log/coder/~bob/a"),
            ("/x/$NAME/${NAME}b-$NAME.log", "/x/value/valueb-value.log"),
            ("/x/$MISSING$EMPTY/a", "/x//a"),
            ("/x/$/a$", "/x/$/a$"),
        ] {
            assert_eq!(places.path(path, Uuid::from_u128(1)), Path::new(expected), "{path}");
        }
    }

    #[test]
    fn a_log_file_is_private_and_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir.path().join("new/logs"));
        for line in ["one\n", "two\n"] {
            places.open("s.log", Uuid::nil()).unwrap().write_all(line.as_bytes()).unwrap();
        }
        let path = dir.path().join("new/logs/s.log");
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn a_link_laid_at_the_default_place_is_not_followed_and_a_fifo_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        let trap = places.path("", Uuid::nil());
        std::os::unix::fs::symlink(dir.path().join("victim"), &trap).unwrap();
        let error = places.open("", Uuid::nil()).unwrap_err();
        assert!(error.to_string().starts_with("cannot open script log /"), "{error}");
        assert!(!dir.path().join("victim").exists());

        // Nor is a second name of a file of ours, which others may give where the kernel does not protect it.
        let shared = dir.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o777)).unwrap();
        std::fs::write(dir.path().join("victim"), "mine").unwrap();
        std::fs::hard_link(dir.path().join("victim"), shared.join("s.log")).unwrap();
        let error = places.open(shared.join("s.log").to_str().unwrap(), Uuid::nil()).unwrap_err();
        assert_eq!(error.source.to_string(), "the file has several names, and others can write to its directory");

        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(places.open(fifo.to_str().unwrap(), Uuid::nil()).is_err());
    }
}
