//! The removal of files that no secret goes to any more.
//!
//! Between a look at a file and its removal by name another file may take that name, and the kernel removes no file by
//! descriptor. So the name is taken away from everybody first: the file is renamed to one that only we use, looked at
//! again, and removed or put back. A crash in between is mended by the next start, which puts back what it finds.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::disk::{self, Disk};
use super::location::{self, Lead};
use super::split;
use crate::config::StaleFiles;
use crate::ledger::{Ledger, Record};
use crate::plan::{Drift, Fate, Observe, Reason, Stale};
use crate::sys::fs::{Dir, FileId};

/// What became of a stale file.
#[derive(Debug)]
pub struct StaleOutcome {
    /// Where it is, or was.
    pub path: PathBuf,
    /// Why it is still there; `None` where it was removed.
    pub kept: Option<Reason>,
}

#[expect(clippy::unnecessary_debug_formatting, reason = "quoted, with control characters escaped")]
impl fmt::Display for StaleOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.kept {
            None => write!(f, "removed {path:?}: no secret goes there any more"),
            Some(reason) => write!(f, "no secret goes to {path:?} any more; it is left, because it is {reason}"),
        }
    }
}

const PREFIX: &str = ".coder-stale-";

/// Carries out the fate of each. The plan's rule is applied once more to what is there now, since the user may have changed
/// it meanwhile. `occupied`: the files of targets. What the user has made their own is told once and forgotten.
pub(super) fn settle(
    stale: Vec<Stale>,
    wanted: StaleFiles,
    occupied: &HashSet<FileId>,
    ledger: &mut Ledger,
) -> Vec<StaleOutcome> {
    let mut outcomes = Vec::new();
    let mut forgotten = Vec::new();
    for Stale { path, .. } in stale {
        let Some((_, records)) = ledger.files().find(|(known, _)| *known == path) else { continue };
        let records = records.to_owned();
        let standing = Disk.stand(&path, &records, ledger.key());
        if standing.id.is_some_and(|id| occupied.contains(&id)) {
            continue;
        }
        let kept = match Fate::new(standing, wanted) {
            Fate::Leave => continue,
            // Without a ledger that lasts nobody would know what was done.
            Fate::Remove if !ledger.works() => continue,
            Fate::Remove => remove(&path, &records, ledger).unwrap_or_else(|error| Some(Reason::Failed(error))),
            Fate::Keep(reason) => Some(reason),
        };
        if kept.as_ref().is_none_or(Reason::is_final) {
            forgotten.push(path.clone());
        }
        if wanted == StaleFiles::Remove && kept.as_ref().is_none_or(Reason::is_news) {
            outcomes.push(StaleOutcome { path, kept });
        }
    }
    ledger.forget(forgotten.into_iter());
    outcomes
}

/// `None`: removed.
fn remove(path: &Path, records: &[Record], ledger: &Ledger) -> io::Result<Option<Reason>> {
    let Some((parent, name)) = split(path) else { return Err(io::ErrorKind::IsADirectory.into()) };
    let dir = Rc::new(Dir::open(parent)?);
    let aside = aside(name);
    dir.rename_new(name, &aside)?;
    let reason = match look(&dir, &parent.join(&aside), records, ledger) {
        Ok(Fate::Remove) => {
            dir.remove(&aside)?;
            // Only what is gone for good is forgotten.
            return match dir.flush() {
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
                _ => Ok(None),
            };
        }
        Ok(Fate::Keep(reason)) => reason,
        Ok(Fate::Leave) => Reason::Drifted(Drift::Gone),
        Err(error) => Reason::Failed(error),
    };
    // Fails where a file has taken the name meanwhile. Then both stay.
    let back = dir.rename_new(&aside, name);
    back.map_err(|error| io::Error::new(error.kind(), format!("it is now {}: {error}", aside.display())))?;
    Ok(Some(reason))
}

fn look(dir: &Rc<Dir>, path: &Path, records: &[Record], ledger: &Ledger) -> io::Result<Fate> {
    Ok(match location::follow(Rc::clone(dir), path)? {
        Lead::Location(location) => Fate::new(disk::stand(&location, records, ledger.key()), StaleFiles::Remove),
        Lead::Directory | Lead::Planted | Lead::Foreign(_) => Fate::Leave,
    })
}

/// The name that a file has while it is being removed; it can be told from the file's own.
pub(super) fn aside(name: &OsStr) -> OsString {
    let digest = Sha256::digest(name.as_bytes());
    let word = digest.iter().take(8).fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
    format!("{PREFIX}{word:016x}").into()
}

/// Whether it is such a name.
pub(super) fn is_aside(name: &OsStr) -> bool {
    name.as_bytes().starts_with(PREFIX.as_bytes())
}

/// Gives a file its name back that a crash kept from it. What has taken that name meanwhile is left alone.
pub(super) fn put_back(dir: &Dir, name: &OsStr) {
    if let Err(error) = dir.rename_new(&aside(name), name)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(aside = ?aside(name), ?name, %error, "cannot give a file its name back");
    }
}
