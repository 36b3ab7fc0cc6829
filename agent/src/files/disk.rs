//! What the plan looks at: the real disk.

use std::io;
use std::path::Path;
use std::rc::Rc;

use super::{split, spot};
use crate::files::spot::{Lead, Spot};
use crate::plan::{Found, Observe, Observed, Place};
use crate::sys::fs::{self, Dir, Kind};
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
            Found::File { same, links: entry.links }
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
