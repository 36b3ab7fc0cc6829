//! What the plan looks at: the real disk.

use std::io;
use std::path::Path;
use std::rc::Rc;

use super::{location, split};
use crate::files::location::{Lead, Location};
use crate::ledger::{Fingerprint, Key, Record};
use crate::plan::{Drift, Found, Observe, Observed, Place, Standing};
use crate::sys::fs::{self, Dir, Entry, FileId, Kind};
use crate::sys::memory::Guarded;

/// The disk as this process sees it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Observe for Disk {
    fn observe(&self, path: &Path, value: &Guarded) -> Observed {
        let parent = split(path).map_or(path, |(parent, _)| parent);
        let lead = Dir::open(parent).and_then(|dir| location::follow(Rc::new(dir), path));
        match lead {
            Ok(Lead::Location(location)) => Observed { place: Some(place(&location)), found: found(&location, value) },
            Ok(Lead::Directory) => Observed { place: None, found: Found::Other(Kind::Directory) },
            Ok(Lead::Planted) => Observed { place: None, found: Found::Planted },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Observed { place: None, found: Found::Missing },
            Err(error) => Observed { place: None, found: Found::Failed(error) },
        }
    }

    fn stand(&self, path: &Path, records: &[Record], key: &Key) -> Standing {
        let parent = split(path).map_or(path, |(parent, _)| parent);
        match Dir::open(parent).and_then(|dir| location::follow(Rc::new(dir), path)) {
            Ok(Lead::Location(location)) => stand(&location, records, key),
            Ok(Lead::Directory) => Standing::without_file(Drift::Replaced { kind: Kind::Directory, same: false }),
            Ok(Lead::Planted) => Standing::without_file(Drift::Replaced { kind: Kind::File, same: false }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Standing::without_file(Drift::Gone),
            Err(error) => Standing::without_file(Drift::Unknown(error)),
        }
    }
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
            Found::File { same, entry: *entry }
        }
        Some(entry) => Found::Other(entry.kind),
    }
}

fn holds(location: &Location, value: &Guarded) -> io::Result<bool> {
    let Some(entry) = &location.entry else { return Ok(false) };
    let file = location.dir.open_to_read(&location.name, entry)?;
    // One byte more than wanted: the file may have grown since its size was looked at.
    let content = fs::read_bounded(&file, value.len() + 1)?;
    Ok(content.as_slice() == value.expose())
}
