//! Where the socket is: alone in a directory that only this user can enter.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixListener;

/// Directories are called this and 16 random digits.
const PREFIX: &str = "coder-gitssh-";
const SOCKET: &str = "agent.sock";
/// What a process that was killed left behind is removed after this time, which no start takes.
const STALE_AFTER: Duration = Duration::from_mins(1);
/// Entries of a directory for temporary files that are looked at for such remains.
const MAX_ENTRIES: usize = 4096;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum SocketError {
    #[error("cannot get random bytes for the name of a directory")]
    Random(#[source] io::Error),
    #[error("cannot make directory {path}")]
    Directory { path: PathBuf, source: io::Error },
    #[error("cannot listen at {path}")]
    Listen { path: PathBuf, source: io::Error },
}

/// A socket and its directory, both removed when this is dropped.
pub(super) struct Socket {
    directory: PathBuf,
    /// Accepts connections.
    pub(super) listener: UnixListener,
}

impl Socket {
    /// Makes the directory and listens in it. Needs a tokio runtime.
    pub(super) fn make() -> Result<Self, SocketError> {
        let base = base();
        remove_stale(&base);
        let mut bytes = [0; 8];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| SocketError::Random(error.into()))?;
        let directory = base.join(format!("{PREFIX}{:016x}", u64::from_ne_bytes(bytes)));
        // Fails where the name exists: nobody else has made it before us.
        DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|source| SocketError::Directory { path: directory.clone(), source })?;
        let path = directory.join(SOCKET);
        match UnixListener::bind(&path) {
            Ok(listener) => Ok(Self { directory, listener }),
            Err(source) => {
                drop(fs::remove_dir(&directory));
                Err(SocketError::Listen { path, source })
            }
        }
    }

    /// The socket's path.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        remove(&self.directory);
    }
}

/// In memory and private, where the system has such a place; a path for sockets has to be short, `TMPDIR` may not be.
fn base() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    runtime.filter(|path| path.as_os_str().len() < 64 && is_own(path)).unwrap_or_else(|| "/tmp".into())
}

fn is_own(path: &Path) -> bool {
    let uid = rustix::process::geteuid().as_raw();
    path.is_absolute() && fs::symlink_metadata(path).is_ok_and(|it| it.is_dir() && it.uid() == uid)
}

fn remove(directory: &Path) {
    // Best effort: what stays is an empty directory and a socket that nobody answers.
    drop(fs::remove_file(directory.join(SOCKET)));
    drop(fs::remove_dir(directory));
}

/// Removes what killed processes of this user left.
fn remove_stale(base: &Path) {
    let entries = fs::read_dir(base).into_iter().flatten().take(MAX_ENTRIES).flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let path = entry.path();
        let age = entry.metadata().ok().and_then(|it| it.modified().ok()?.elapsed().ok());
        if is_own(&path) && age.is_some_and(|age| age > STALE_AFTER) && !is_answered(&path.join(SOCKET)) {
            remove(&path);
        }
    }
}

fn is_answered(path: &Path) -> bool {
    !matches!(
        UnixStream::connect(path).map_err(|error| error.kind()),
        Err(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_else_may_enter_and_nothing_stays() {
        let socket = Socket::make().unwrap();
        let directory = socket.directory.clone();
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
        UnixStream::connect(socket.path()).unwrap();
        drop(socket);
        assert!(!directory.exists());
    }

    #[tokio::test]
    async fn remains_of_the_dead_are_removed_and_the_living_are_not() {
        let base = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = base.path().join(name);
            fs::create_dir(&path).unwrap();
            let listener = std::os::unix::net::UnixListener::bind(path.join(SOCKET)).unwrap();
            (path, listener)
        };
        let (dead, listener) = make("coder-gitssh-dead");
        drop(listener);
        let (fresh, listener) = make("coder-gitssh-fresh");
        drop(listener);
        let (living, _listener) = make("coder-gitssh-living");
        let (other, listener) = make("other");
        drop(listener);
        let old = std::time::SystemTime::now() - 2 * STALE_AFTER;
        for path in [&dead, &living, &other] {
            fs::File::open(path).unwrap().set_modified(old).unwrap();
        }
        remove_stale(base.path());
        assert_eq!([dead, fresh, living, other].map(|path| path.exists()), [false, true, true, true]);
    }
}
