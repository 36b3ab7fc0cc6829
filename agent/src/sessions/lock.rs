//! One agent for each socket: a lock that the kernel takes back however its holder ends.
//!
//! In a directory of the socket's own it is the directory that is locked. That lock cannot be removed by name with the
//! socket, and systemd-tmpfiles leaves a locked directory alone. Elsewhere it is a file beside the socket.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

use super::place::Place;
use crate::sys::fs;

/// Held for as long as it lives. A lock file stays: removing it could remove the lock of a successor.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

/// Why it is not ours.
pub(super) enum NotLocked {
    /// Another process has it.
    Held,
    Failed(PathBuf, io::Error),
}

impl Lock {
    /// Waits for up to `patience`, which blocks the thread.
    pub(super) fn take(place: &Place, patience: Duration) -> Result<Self, NotLocked> {
        let path = match place.path.parent() {
            Some(directory) if place.has_own_directory => directory.to_owned(),
            _ => lock_file(&place.path),
        };
        let opened = if place.has_own_directory { open_directory(&path) } else { open_file(&path) };
        match opened.and_then(|file| Ok((fs::lock(&file, patience)?, file))) {
            Ok((true, file)) => Ok(Self { file, path }),
            Ok((false, _)) => Err(NotLocked::Held),
            Err(source) => Err(NotLocked::Failed(path, source)),
        }
    }

    /// Whether another agent would still find it.
    pub(super) fn is_there(&self) -> bool {
        let id = |it: std::fs::Metadata| (it.dev(), it.ino());
        let (named, held) = (self.path.symlink_metadata().map(id), self.file.metadata().map(id));
        matches!((named, held), (Ok(named), Ok(held)) if named == held)
    }
}

fn lock_file(socket: &Path) -> PathBuf {
    let mut name = socket.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    socket.with_file_name(name)
}

fn open_directory(path: &Path) -> io::Result<File> {
    own(OpenOptions::new().read(true).custom_flags(flags(OFlags::DIRECTORY)).open(path)?)
}

fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = own(options.custom_flags(flags(OFlags::NONBLOCK | OFlags::NOCTTY)).open(path)?)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Somebody else's would let them hold the lock for ever.
fn own(file: File) -> io::Result<File> {
    if file.metadata()?.uid() == rustix::process::geteuid().as_raw() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"))
}

fn flags(flags: OFlags) -> i32 {
    i32::try_from((flags | OFlags::NOFOLLOW).bits()).unwrap_or_default()
}
