//! Writing in place, for a file whose place no other can take: hard links, a mounted file, a directory that is not ours,
//! an identity that we may not give.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use zeroize::Zeroizing;

use super::location::Location;
use super::{FileFailure, Settled};
use crate::sys::fs::{self, Entry};
use crate::sys::memory::Guarded;

/// As long as an agent may take, and a program of the user's that locks the file holds up the others.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// Writes `value` into the file at `location`. After an error it holds the old content; after a crash the next start, which
/// finds it different, writes it again.
pub(super) fn rewrite(location: &Location, entry: &Entry, value: &Guarded) -> Result<Settled, FileFailure> {
    let file =
        location.dir.open_to_rewrite(&location.name, entry).map_err(|source| FileFailure::OpenInPlace { source })?;
    // Two agents with one home would write into each other's middle. A lock that somebody else keeps is no obstacle.
    fs::lock(&file, LOCK_WAIT).map_err(|source| FileFailure::OpenInPlace { source })?;
    fs::reserve(&file, value.len()).map_err(|source| FileFailure::Reserve { source })?;
    let old = Old::save(&file, entry, value.len());
    if let Err((written, source)) = write(&file, value.expose()) {
        return Err(match old.map(|old| old.put_back(&file, written)) {
            Some(Ok(())) => FileFailure::RewriteUndone { source },
            _ => FileFailure::RewriteTorn { source },
        });
    }
    file.sync_all().map_err(|source| FileFailure::Flush { source })?;
    Ok(Settled::Rewritten)
}

/// Cut only after all is written: until then a reader finds no less than it had. An error comes with how much was written.
fn write(file: &File, content: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while let Some(rest) = content.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write_at(rest, written as u64) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    file.set_len(content.len() as u64).map_err(|error| (written, error))
}

/// The part of the old content that is about to be overwritten; what follows it stays on the disk until the cut.
struct Old {
    start: Zeroizing<Vec<u8>>,
    len: u64,
}

impl Old {
    fn save(file: &File, entry: &Entry, overwritten: usize) -> Option<Self> {
        let overwritten = usize::try_from(entry.size).map_or(overwritten, |size| size.min(overwritten));
        let start = fs::read_bounded(file, overwritten).ok()?;
        Some(Self { start, len: entry.size })
    }

    /// Only what was `written` over: the limit that stopped the new content would stop more of the old as well.
    fn put_back(&self, file: &File, written: usize) -> io::Result<()> {
        file.write_all_at(self.start.get(..written).unwrap_or(&self.start), 0)?;
        file.set_len(self.len)
    }
}
