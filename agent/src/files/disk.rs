//! What the plan looks at: the real disk.

use std::io;
use std::path::Path;
use std::rc::Rc;

use super::{split, spot};
use crate::files::spot::{Lead, Spot};
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
        let lead = Dir::open(parent).and_then(|dir| spot::follow(Rc::new(dir), path));
        match lead {
            Ok(Lead::Spot(spot)) => Observed { place: Some(place(&spot)), found: found(&spot, value) },
            Ok(Lead::Directory) => Observed { place: None, found: Found::Other(Kind::Directory) },
            Ok(Lead::Planted) => Observed { place: None, found: Found::Planted },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Observed { place: None, found: Found::Missing },
            Err(error) => Observed { place: None, found: Found::Failed(error) },
        }
    }

    fn stand(&self, path: &Path, records: &[Record], key: &Key) -> Standing {
        let parent = split(path).map_or(path, |(parent, _)| parent);
        match Dir::open(parent).and_then(|dir| spot::follow(Rc::new(dir), path)) {
            Ok(Lead::Spot(spot)) => stand(&spot, records, key),
            Ok(Lead::Directory) => Standing::without_file(Drift::Replaced { kind: Kind::Directory, same: false }),
            Ok(Lead::Planted) => Standing::without_file(Drift::Replaced { kind: Kind::File, same: false }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Standing::without_file(Drift::Gone),
            Err(error) => Standing::without_file(Drift::Unknown(error)),
        }
    }
}

/// Holds what is at a spot against the nearest of `records`.
pub(super) fn stand(spot: &Spot, records: &[Record], key: &Key) -> Standing {
    let Some(entry) = &spot.entry else { return Standing::without_file(Drift::Gone) };
    if entry.kind != Kind::File {
        return Standing::without_file(Drift::Replaced { kind: entry.kind, same: false });
    }
    let drift = match content_like(spot, entry, records, key) {
        Ok(same) => compare(entry, records, same),
        Err(error) => Some(Drift::Unknown(error)),
    };
    Standing { id: Some(entry.id), links: entry.links, linked: spot.linked, drift }
}

/// The fingerprint of a file that has the length of one of `records`; of others it is of no interest.
fn content_like(spot: &Spot, entry: &Entry, records: &[Record], key: &Key) -> io::Result<Option<Fingerprint>> {
    let Some(len) = records.iter().map(|record| record.size).find(|size| *size == entry.size) else { return Ok(None) };
    let file = spot.dir.open_to_read(&spot.name, entry)?;
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

fn place(spot: &Spot) -> Place {
    match spot.entry {
        Some(entry) => Place::File(entry.id),
        None => Place::Free(spot.dir.id(), spot.name.clone()),
    }
}

/// What is at a spot. A file that cannot be read is taken for a different one.
pub(super) fn found(spot: &Spot, value: &Guarded) -> Found {
    match &spot.entry {
        None => Found::Missing,
        Some(entry) if entry.kind == Kind::File => {
            let same = entry.size == value.len() as u64 && holds(spot, value).unwrap_or(false);
            Found::File { same, entry: *entry }
        }
        Some(entry) => Found::Other(entry.kind),
    }
}

fn holds(spot: &Spot, value: &Guarded) -> io::Result<bool> {
    let Some(entry) = &spot.entry else { return Ok(false) };
    let file = spot.dir.open_to_read(&spot.name, entry)?;
    // One byte more than wanted: the file may have grown since its size was looked at.
    let content = fs::read_bounded(&file, value.len() + 1)?;
    Ok(content.as_slice() == value.expose())
}
