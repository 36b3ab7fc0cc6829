//! What the plan looks at: the real disk.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{location, split};
use crate::files::location::{Lead, Location};
use crate::ledger::{Fingerprint, Key, Record};
use crate::plan::{Access, Drift, Found, Observe, Observed, Owner, Place, Standing};
use crate::sys::fs::{self, Dir, Entry, FileId, Kind, Trust};
use crate::sys::memory::Guarded;

/// The disk as this process sees it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Observe for Disk {
    fn observe(&self, path: &Path, value: &Guarded) -> Observed {
        let parent = split(path).map_or(path, |(parent, _)| parent);
        let lead = Dir::open_deepest(parent).and_then(|(dir, missing)| match dir.trust() {
            Trust::Foreign(uid) => Ok(Lead::Foreign(uid)),
            _ if !missing.is_empty() => Err(io::ErrorKind::NotFound.into()),
            _ => location::follow(Rc::new(dir), path),
        });
        match lead {
            Ok(Lead::Location(location)) => Observed { place: Some(place(&location)), found: found(&location, value) },
            Ok(Lead::Directory) => Observed { place: None, found: Found::Other(Kind::Directory) },
            Ok(Lead::Planted) => Observed { place: None, found: Found::Planted },
            Ok(Lead::Foreign(uid)) => Observed { place: None, found: Found::Foreign(uid) },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Observed { place: None, found: Found::Missing },
            Err(error) => Observed { place: None, found: Found::Failed(error) },
        }
    }

    fn is_within(&self, path: &Path, directories: &[PathBuf]) -> bool {
        let real = real_path(path);
        directories.iter().any(|directory| {
            path.starts_with(directory) || real.as_ref().is_some_and(|real| real.starts_with(real_or_same(directory)))
        })
    }

    fn stand(&self, path: &Path, records: &[Record], key: &Key) -> Standing {
        let parent = split(path).map_or(path, |(parent, _)| parent);
        match Dir::open(parent).and_then(|dir| location::follow(Rc::new(dir), path)) {
            Ok(Lead::Location(location)) => stand(&location, records, key),
            Ok(Lead::Directory | Lead::Foreign(_)) => {
                Standing::without_file(Drift::Replaced { kind: Kind::Directory, same: false })
            }
            Ok(Lead::Planted) => Standing::without_file(Drift::Replaced { kind: Kind::File, same: false }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Standing::without_file(Drift::Gone),
            Err(error) => Standing::without_file(Drift::Unknown(error)),
        }
    }
}

/// Where a path leads in the end, as far as it exists.
fn real_path(path: &Path) -> Option<PathBuf> {
    let mut missing = Vec::new();
    let found = path.ancestors().find_map(|ancestor| {
        let found = std::fs::canonicalize(ancestor).ok();
        if found.is_none() {
            missing.extend(ancestor.file_name());
        }
        found
    });
    Some(found?.join(missing.into_iter().rev().collect::<PathBuf>()))
}

fn real_or_same(directory: &Path) -> PathBuf {
    real_path(directory).unwrap_or_else(|| directory.to_owned())
}

/// Holds what is at a location against the nearest of `records`.
pub(super) fn stand(location: &Location, records: &[Record], key: &Key) -> Standing {
    let Some(entry) = &location.entry else { return Standing::without_file(Drift::Gone) };
    if entry.kind != Kind::File {
        return Standing::without_file(Drift::Replaced { kind: entry.kind, same: false });
    }
    let drift = match content_like(location, entry, records, key) {
        Ok(same) => compare(entry, records, same),
        Err(error) => Some(Drift::Unknown(error)),
    };
    Standing { id: Some(entry.id), links: entry.links, linked: location.linked, drift }
}

/// The fingerprint of a file that has the length of one of `records`; of others it is of no interest.
fn content_like(location: &Location, entry: &Entry, records: &[Record], key: &Key) -> io::Result<Option<Fingerprint>> {
    let Some(len) = records.iter().map(|record| record.size).find(|size| *size == entry.size) else { return Ok(None) };
    let file = location.dir.open_to_read(&location.name, entry)?;
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let content = fs::read_bounded(&file, len.saturating_add(1))?;
    Ok(Some(key.fingerprint(&content)))
}

fn compare(entry: &Entry, records: &[Record], content: Option<Fingerprint>) -> Option<Drift> {
    let has_content = |record: &&Record| Some(record.fingerprint) == content;
    let is_file = |record: &&Record| is_same_file(record.id, entry.id);
    let ours = || records.iter().filter(is_file).filter(has_content);
    if ours().any(|record| record.mode == entry.mode) {
        return None;
    }
    if let Some(record) = ours().next_back() {
        return Some(Drift::Chmodded { from: record.mode, to: entry.mode });
    }
    if records.iter().any(|record| is_file(&record)) {
        return Some(Drift::Edited);
    }
    Some(Drift::Replaced { kind: Kind::File, same: records.iter().any(|record| has_content(&record)) })
}

/// File systems without a device of their own (overlayfs, btrfs, tmpfs, NFS) get a new number with each mount, so after a
/// restart of the machine or the container only the inode says something.
fn is_same_file(before: FileId, now: FileId) -> bool {
    let is_anonymous = |device| rustix::fs::major(device) == 0;
    let same_device = before.device == now.device || (is_anonymous(before.device) && is_anonymous(now.device));
    before.inode == now.inode && same_device
}

fn place(location: &Location) -> Place {
    match location.entry {
        Some(entry) => Place::File(entry.id),
        None => Place::Free(location.dir.id(), location.name.clone()),
    }
}

/// What is at a location. A file that cannot be read is taken for a different one.
pub(super) fn found(location: &Location, value: &Guarded) -> Found {
    match &location.entry {
        None => Found::Missing,
        Some(entry) if entry.kind == Kind::File => {
            let same = entry.size == value.len() as u64 && holds(location, value).unwrap_or(false);
            Found::File { same, entry: *entry, access: access(location, entry) }
        }
        Some(entry) => Found::Other(entry.kind),
    }
}

fn access(location: &Location, entry: &Entry) -> Access {
    let us = rustix::process::geteuid().as_raw();
    let owner = match entry.uid {
        uid if uid == us => Owner::Us,
        0 => Owner::Root,
        _ => Owner::Other,
    };
    let is_readable = entry.mode & 0o004 != 0 || (entry.mode & 0o040 != 0 && fs::group_has_others(entry.gid));
    Access { trust: location.dir.trust(), owner, is_readable }
}

fn holds(location: &Location, value: &Guarded) -> io::Result<bool> {
    let Some(entry) = &location.entry else { return Ok(false) };
    let file = location.dir.open_to_read(&location.name, entry)?;
    // One byte more than wanted: the file may have grown since its size was looked at.
    let content = fs::read_bounded(&file, value.len() + 1)?;
    Ok(content.as_slice() == value.expose())
}
