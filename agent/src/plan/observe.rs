//! How a plan sees the disk.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::Standing;
use crate::ledger::{Key, Record};
use crate::sys::fs::{Entry, FileId, Kind, Trust};
use crate::sys::memory::Guarded;

/// See the module.
pub trait Observe {
    /// What a cleaned absolute path leads to, and whether that already holds `value`.
    fn observe(&self, path: &Path, value: &Guarded) -> Observed;

    /// Whether a cleaned absolute path leads into one of `directories`, by its text or through links.
    fn is_within(&self, path: &Path, directories: &[PathBuf]) -> bool;

    /// What a cleaned absolute path leads to, and how that differs from the nearest of `records`.
    fn stand(&self, path: &Path, records: &[Record], key: &Key) -> Standing;
}

/// What a path leads to.
#[derive(Debug)]
pub struct Observed {
    /// The place behind the path; `None` where it cannot be told, as under a missing parent.
    pub place: Option<Place>,
    /// What is there.
    pub found: Found,
}

/// Two paths with the same place are one target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// An existing file: hard links are one place.
    File(FileId),
    /// A name in a directory where nothing is yet.
    Free(FileId, OsString),
}

/// What is at a place.
#[derive(Debug)]
pub enum Found {
    /// Nothing, or nothing at the end of a link.
    Missing,
    /// A regular file.
    File {
        /// Whether its content is the wanted one.
        same: bool,
        /// The file itself.
        entry: Entry,
        /// Who else has to do with it.
        access: Access,
    },
    /// What a value is never written to.
    Other(Kind),
    /// Belongs to another user in a directory where others may create files.
    Planted,
    /// A directory on the way belongs to this user, who is neither we nor root.
    Foreign(u32),
    /// It could not be looked at.
    Failed(io::Error),
}

/// Who else has to do with a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Who can change what is in its directory.
    pub trust: Trust,
    /// Whose it is.
    pub owner: Owner,
    /// Whether users other than its owner can read it.
    pub is_readable: bool,
}

/// Whose a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Owner {
    Us,
    Root,
    Other,
}
