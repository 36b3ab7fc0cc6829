//! Files and directories by descriptor, so that what was looked at is what is acted on.
#![forbid(unsafe_code)]

mod data;
mod dir;
mod identity;
mod trust;
mod walk;

pub use data::{lock, read_bounded, reserve, start_writeback, try_lock};
pub use dir::Dir;
pub use identity::Identity;
pub use trust::Trust;
pub use walk::may_be_led_astray;

pub use super::groups::has_others as group_has_others;

use std::fmt;

use rustix::fs::{FileType, Stat};

/// What makes a file itself, whatever its names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FileId {
    /// Number of the file system.
    pub device: u64,
    /// Number within it.
    pub inode: u64,
}

/// What a directory entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    File,
    Directory,
    Symlink,
    Fifo,
    Socket,
    Device,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symbolic link",
            Self::Fifo => "FIFO",
            Self::Socket => "socket",
            Self::Device => "device",
        })
    }
}

/// A directory entry, or an open file, as it was when it was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Entry {
    pub id: FileId,
    pub kind: Kind,
    pub size: u64,
    pub links: u64,
    pub uid: u32,
    pub gid: u32,
    /// Permission bits, set-id and sticky included.
    pub mode: u32,
}

impl Entry {
    /// An open file or directory.
    pub fn of(fd: impl rustix::fd::AsFd) -> std::io::Result<Self> {
        Ok(Self::from(rustix::fs::fstat(fd)?))
    }
}

#[expect(clippy::useless_conversion, reason = "the count of links has 32 bits on some architectures")]
impl From<Stat> for Entry {
    fn from(stat: Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            _ => Kind::Device,
        };
        Self {
            id: FileId { device: stat.st_dev, inode: stat.st_ino },
            kind,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            links: u64::from(stat.st_nlink),
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
        }
    }
}
