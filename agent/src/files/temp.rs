//! Temporary files beside their targets, and the removal of those that a crash left.
//!
//! A name is `.coder-secret-` and two words of 16 hexadecimal digits: a random one, and a digest of it. No user's file has
//! such a name by accident, so a start can remove leftovers without a list of what was made. A lock on the file, which
//! the kernel drops with its process, tells leftovers from the work of an agent that is running.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;
use std::rc::Rc;

use rustix::rand::GetRandomFlags;
use sha2::{Digest, Sha256};

use super::location::{self, Lead};
use super::{split, stale};
use crate::sys::fs::{Dir, Entry, Kind, try_lock};

const PREFIX: &str = ".coder-secret-";
/// Of these and of the names that [`stale`] gives.
const COMMON_PREFIX: &str = ".coder-s";

/// A temporary file, removed when dropped unless it took its target's place.
#[derive(Debug)]
pub(super) struct Temp {
    pub(super) file: File,
    dir: Rc<Dir>,
    name: OsString,
    placed: bool,
}

impl Temp {
    /// A new empty file in `dir`, 0600 and locked.
    pub(super) fn create(dir: &Rc<Dir>) -> io::Result<Self> {
        // The start of another agent may find it before it is locked, and remove it under a lock of its own.
        const ATTEMPTS: usize = 10;
        for _ in 0..ATTEMPTS {
            let mut random = [0; 8];
            rustix::rand::getrandom(&mut random, GetRandomFlags::empty())?;
            let name = OsString::from(name(u64::from_ne_bytes(random)));
            let temp = Self { file: dir.create(&name)?, dir: Rc::clone(dir), name, placed: false };
            if try_lock(&temp.file)? && Entry::of(&temp.file)?.links > 0 {
                return Ok(temp);
            }
        }
        Err(io::Error::other("others lock or remove every file that is made there"))
    }

    /// Takes the place of `target` in the same directory, over what is there.
    pub(super) fn rename_over(&mut self, target: &OsStr) -> io::Result<()> {
        self.dir.rename_over(&self.name, target)?;
        self.placed = true;
        Ok(())
    }

    /// Takes the place of `target`, where nothing may be.
    pub(super) fn rename_new(&mut self, target: &OsStr) -> io::Result<()> {
        self.dir.rename_new(&self.name, target)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.placed
            && let Err(error) = self.dir.remove(&self.name)
        {
            tracing::warn!(name = ?self.name, %error, "cannot remove a temporary file; the next start will");
        }
    }
}

fn name(random: u64) -> String {
    let mut digest = Sha256::new();
    digest.update(PREFIX);
    digest.update(random.to_be_bytes());
    let check = digest.finalize().iter().take(8).fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
    format!("{PREFIX}{random:016x}-{check:016x}")
}

fn is_ours(candidate: &OsStr) -> bool {
    let random = candidate.to_str().and_then(|text| text.strip_prefix(PREFIX)).and_then(|rest| rest.split_once('-'));
    random
        .and_then(|(random, _)| u64::from_str_radix(random, 16).ok())
        .is_some_and(|it| candidate == OsStr::new(&name(it)))
}

/// Removes what a crash left in the directories that `paths` lead to, and gives files their names back that were on
/// their way out.
pub(super) fn sweep<'a>(paths: impl Iterator<Item = &'a Path>) {
    let mut by_parent: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for path in paths {
        let Some((parent, name)) = split(path) else { continue };
        by_parent.entry(parent.as_os_str()).or_default().push((path, name));
    }
    let mut swept = HashMap::new();
    for (parent, targets) in by_parent {
        // A target that cannot be reached has no leftovers beside it, and its own step says what is wrong.
        let Ok(parent) = Dir::open(Path::new(parent)).map(Rc::new) else { continue };
        for (path, name) in targets {
            let behind = match location::follow(Rc::clone(&parent), path) {
                Ok(Lead::Location(location)) if location.linked => Some(location.dir),
                _ => None,
            };
            for dir in [Some(&parent), behind.as_ref()].into_iter().flatten() {
                swept.entry(dir.id()).or_insert_with(|| sweep_one(dir, path));
            }
            if swept.get(&parent.id()).is_some_and(|has_asides| *has_asides) {
                stale::put_back(&parent, name);
            }
        }
    }
}

/// Whether there are files without their names.
pub(super) fn sweep_one(dir: &Dir, beside: &Path) -> bool {
    let names = dir.names(COMMON_PREFIX).and_then(|names| remove_leftovers(dir, &names).map(|()| names));
    match names {
        Ok(names) => names.iter().any(|name| stale::is_aside(name)),
        Err(error) => {
            tracing::warn!(?beside, %error, "cannot look for temporary files that a crash left");
            false
        }
    }
}

fn remove_leftovers(dir: &Dir, names: &[OsString]) -> io::Result<()> {
    for name in names.iter().filter(|name| is_ours(name)) {
        let Some(entry) = dir.look(name)? else { continue };
        let us = rustix::process::geteuid();
        let ours = entry.kind == Kind::File && entry.links == 1 && (us.is_root() || entry.uid == us.as_raw());
        if !ours {
            continue;
        }
        // Given an identity that we may not read, it cannot be asked for its lock, and is taken for a leftover.
        let file = dir.open_to_read(name, &entry).ok();
        if file.as_ref().is_none_or(|file| try_lock(file).unwrap_or(false)) {
            dir.remove(name)?;
        }
        // Only now is its lock given back.
        drop(file);
    }
    Ok(())
}
