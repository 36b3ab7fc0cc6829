//! The directory and the name that a path leads to, behind any links.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::rc::Rc;

use rustix::io::Errno;

use super::split;
use crate::sys::fs::{Dir, Entry, Kind, Trust};

/// Where a target is.
#[derive(Debug)]
pub(super) struct Location {
    pub(super) dir: Rc<Dir>,
    pub(super) name: OsString,
    /// What is there; never a link.
    pub(super) entry: Option<Entry>,
    /// Whether a link at the end of the path led here.
    pub(super) linked: bool,
}

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Lead {
    Location(Location),
    /// A directory has no name of its own that could be written.
    Directory,
    /// Something another user may have put there for us.
    Planted,
    /// A directory on the way belongs to this other user.
    Foreign(u32),
}

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// Follows the links at the end of a cleaned absolute path whose parent is open already.
pub(super) fn follow(parent: Rc<Dir>, path: &Path) -> io::Result<Lead> {
    let Some((_, name)) = split(path) else { return Ok(Lead::Directory) };
    let (mut dir, mut name) = (parent, name.to_owned());
    for links in 0..=MOST_LINKS {
        if let Trust::Foreign(uid) = dir.trust() {
            return Ok(Lead::Foreign(uid));
        }
        let entry = dir.look(&name)?;
        if entry.is_some_and(|entry| dir.is_planted(&entry)) {
            return Ok(Lead::Planted);
        }
        if entry.is_none_or(|entry| entry.kind != Kind::Symlink) {
            return Ok(Lead::Location(Location { dir, name, entry, linked: links > 0 }));
        }
        let target = dir.read_own_link(&name)?;
        let (Some(parent), Some(last)) = (target.parent(), target.file_name()) else { return Ok(Lead::Directory) };
        dir = Rc::new(dir.open_from(parent)?);
        last.clone_into(&mut name);
    }
    Err(Errno::LOOP.into())
}
