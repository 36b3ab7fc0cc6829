//! Copies of files that were there before a secret, in the directory `replaced` of the agent's state. Each target's is kept
//! once: the first content that the agent did not write. Not beside the target: directories such as `conf.d` are read whole.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::location::Location;
use super::temp::{self, Temp};
use crate::sys::fs::Dir;

/// Of a file name, so many bytes are in the name of its copy.
const RECOGNIZABLE: usize = 100;

/// Where the copies are; without a ledger that lasts there are none.
#[derive(Debug)]
pub(super) struct Replaced(Option<PathBuf>);

impl Replaced {
    /// Below the directory of the agent's state.
    pub(super) fn new(state: Option<&Path>) -> Self {
        Self(state.map(|state| state.join("replaced")))
    }

    /// Keeps a copy of what is at `location`, 0600, unless there is one of the target at `path` already.
    pub(super) fn keep(&self, path: &Path, location: &Location) -> io::Result<()> {
        let Some((place, entry)) = self.0.as_ref().zip(location.entry.filter(|entry| entry.size > 0)) else {
            return Ok(());
        };
        let (dir, _) = Dir::make(place)?;
        let (dir, name) = (Rc::new(dir), name(path));
        if dir.look(&name)?.is_some() {
            return Ok(());
        }
        temp::sweep_one(&dir, place);
        let mut content = match location.dir.open_to_read(&location.name, &entry) {
            // Who may write a file but not read it has nothing to lose.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            opened => opened?,
        };
        let mut copy = Temp::create(&dir)?;
        io::copy(&mut content, &mut copy.file)?;
        copy.file.sync_all()?;
        match copy.rename_new(&name) {
            // Another agent with the same home was first, and has kept what was there before both.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            renamed => renamed?,
        }
        tracing::info!(?path, "kept a copy of the file that was there as {}", place.join(&name).display());
        dir.flush()
    }

    /// Which of `paths` have a copy, and where it is.
    pub(super) fn list<'p>(&self, paths: impl Iterator<Item = &'p Path>) -> Vec<(PathBuf, PathBuf)> {
        let Some(place) = self.0.as_ref().filter(|place| place.is_dir()) else { return Vec::new() };
        let copies = paths.map(|path| (path.to_owned(), place.join(name(path))));
        copies.filter(|(_, copy)| copy.is_file()).collect()
    }
}

/// The target's own name without leading dots, so that people find and recognize it, and a digest of its path, so that no
/// two are the same.
fn name(path: &Path) -> OsString {
    let digest = Sha256::digest(path.as_os_str().as_bytes());
    let word = digest.iter().take(8).fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
    let own = path.file_name().unwrap_or_default().as_bytes();
    let own = own.iter().position(|byte| *byte != b'.').and_then(|start| own.get(start..)).unwrap_or_default();
    let mut name = own.get(..RECOGNIZABLE).unwrap_or(own).to_vec();
    name.extend(format!("-{word:016x}").bytes());
    OsString::from_vec(name)
}
