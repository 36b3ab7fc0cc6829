//! Many targets with few flushes: all temporary files, all writeback started, all flushed, all renamed, then each
//! directory once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::io::Errno;

use super::spot::{self, Lead, Spot};
use super::temp::Temp;
use super::{Failure, Settled, disk, in_place, split};
use crate::plan::{Action, Refusal};
use crate::sys::fs::{self, Dir, FileId, Identity, Kind};
use crate::sys::memory::Guarded;

/// One target to write.
pub(super) struct Step {
    pub(super) index: usize,
    pub(super) path: PathBuf,
    pub(super) value: Guarded,
}

type Outcomes = Vec<(usize, Result<Settled, Failure>)>;

/// Open files at a time. More than the secrets a user may have, fewer than the usual limit of descriptors.
const WAVE: usize = 64;

/// Writes all of `steps`.
pub(super) fn write(steps: Vec<Step>) -> Outcomes {
    let mut outcomes = Vec::with_capacity(steps.len());
    let mut wave = Wave::default();
    for step in steps {
        let mut staged = wave.stage(&step);
        if staged.as_ref().is_err_and(out_of_descriptors) || wave.staged.len() >= WAVE {
            let retry = staged.as_ref().is_err_and(out_of_descriptors);
            std::mem::take(&mut wave).finish(&mut outcomes);
            if retry {
                staged = wave.stage(&step);
            }
        }
        match staged {
            Ok(None) => {}
            Ok(Some(settled)) => outcomes.push((step.index, Ok(settled))),
            Err(failure) => outcomes.push((step.index, Err(failure))),
        }
    }
    wave.finish(&mut outcomes);
    outcomes
}

/// What shares its flushes.
#[derive(Default)]
struct Wave {
    staged: Vec<Staged>,
    /// Parents by their path, so that many targets in one directory open it once.
    parents: HashMap<PathBuf, Rc<Dir>>,
    /// Directories that got a new entry by the making of others.
    grown: Vec<Dir>,
}

/// A temporary file with the whole content, not yet in its place.
struct Staged {
    index: usize,
    temp: Temp,
    spot: Spot,
    value: Guarded,
}

impl Wave {
    /// `None`: staged, to be finished with the others. `Some`: settled at once.
    fn stage(&mut self, step: &Step) -> Result<Option<Settled>, Failure> {
        let parent = self.parent(&step.path)?;
        let spot = match spot::follow(parent, &step.path).map_err(|source| Failure::Resolve { source })? {
            Lead::Spot(spot) => spot,
            Lead::Directory => return Err(Refusal::Kind(Kind::Directory).into()),
            Lead::Planted => return Err(Refusal::Planted.into()),
        };
        // Decided again: since the plan was made the user may have changed what is there.
        match Action::for_found(disk::found(&spot, &step.value)) {
            Action::Refuse(refusal) => return Err(refusal.into()),
            Action::Create | Action::Replace => {}
            Action::Rewrite(_) => return rewrite(&spot, &step.value).map(Some),
            Action::Unchanged | Action::Delivered | Action::Superseded(_) => return Ok(Some(Settled::Unchanged)),
        }
        match fill(&spot, &step.value) {
            Ok(temp) => {
                self.staged.push(Staged { index: step.index, temp, spot, value: step.value.share() });
                Ok(None)
            }
            Err(failure) if spot.entry.is_some() && is_not_ours_to_replace(&failure) => {
                rewrite(&spot, &step.value).map(Some)
            }
            Err(failure) => Err(failure),
        }
    }

    fn parent(&mut self, path: &Path) -> Result<Rc<Dir>, Failure> {
        let Some((parent, _)) = split(path) else { return Err(Refusal::Kind(Kind::Directory).into()) };
        if let Some(dir) = self.parents.get(parent) {
            return Ok(Rc::clone(dir));
        }
        let dir = match Dir::open(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (dir, grown) = Dir::make(parent).map_err(|source| Failure::MakeDirectory { source })?;
                self.grown.extend(grown);
                dir
            }
            opened => opened.map_err(|source| Failure::Resolve { source })?,
        };
        let dir = Rc::new(dir);
        self.parents.insert(parent.to_owned(), Rc::clone(&dir));
        Ok(dir)
    }

    fn finish(self, outcomes: &mut Outcomes) {
        for staged in &self.staged {
            fs::start_writeback(&staged.temp.file);
        }
        // Nothing is renamed before everything is flushed: the first rename may make the file system write its journal,
        // and the flushes that follow would wait for it one after the other.
        let results = flush_each(&self.staged.iter().map(|staged| &staged.temp.file).collect::<Vec<_>>());
        let mut flushed = Vec::new();
        for (staged, result) in self.staged.into_iter().zip(results) {
            match result {
                Ok(()) => flushed.push(staged),
                Err(source) => outcomes.push((staged.index, Err(Failure::Flush { source }))),
            }
        }
        let mut placed = Vec::new();
        for mut staged in flushed {
            match place(&mut staged) {
                Ok(settled) => placed.push((staged, settled)),
                Err(failure) => outcomes.push((staged.index, Err(failure))),
            }
        }
        let mut directories = HashMap::new();
        for dir in &self.grown {
            flush_directory(&mut directories, dir, None);
        }
        for (staged, settled) in placed {
            let error = flush_directory(&mut directories, &staged.spot.dir, Some(&staged.temp.file));
            let failed = |source: Errno| Err(Failure::FlushDirectory { source: source.into() });
            outcomes.push((staged.index, error.map_or(Ok(settled), failed)));
        }
    }
}

/// Flushes every file by itself, so that an error has its file, and several at a time: each waits for the disk to empty
/// its cache, and the kernel joins those that wait at once.
fn flush_each(files: &[&File]) -> Vec<io::Result<()>> {
    const AT_ONCE: usize = 16;
    fn flush(files: &[&File]) -> Vec<io::Result<()>> {
        files.iter().map(|file| file.sync_data()).collect()
    }
    let panicked =
        |files: &[&File]| files.iter().map(|_| Err(io::Error::other("the flushing thread panicked"))).collect();
    std::thread::scope(|scope| {
        let shares: Vec<_> = files
            .chunks(files.len().div_ceil(AT_ONCE).max(1))
            .map(|share| (share, std::thread::Builder::new().spawn_scoped(scope, move || flush(share))))
            .collect();
        let done = shares.into_iter().flat_map(|(share, thread)| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|_| panicked(share)),
            // No thread to be had: this one does it.
            Err(_) => flush(share),
        });
        done.collect()
    })
}

/// A temporary file with the content and the identity that the target shall have.
fn fill(spot: &Spot, value: &Guarded) -> Result<Temp, Failure> {
    let mut temp = Temp::create(&spot.dir).map_err(|source| Failure::CreateTemporary { source })?;
    temp.file.write_all(value.expose()).map_err(|source| Failure::Write { source })?;
    if let Some(entry) = &spot.entry {
        let old = spot.dir.open_to_read(&spot.name, entry).and_then(|file| Identity::of(&file));
        let given = old.and_then(|identity| identity.give(&temp.file));
        given.map_err(|source| Failure::Identity { source })?;
    }
    Ok(temp)
}

fn place(staged: &mut Staged) -> Result<Settled, Failure> {
    let name = &staged.spot.name;
    let (renamed, settled) = match staged.spot.entry {
        Some(_) => (staged.temp.rename_over(name), Settled::Replaced),
        None => (staged.temp.rename_new(name), Settled::Created),
    };
    match renamed.map_err(|source| Failure::Rename { source }) {
        Ok(()) => Ok(settled),
        Err(failure) if is_not_ours_to_replace(&failure) => rewrite(&staged.spot, &staged.value).map_err(|error| {
            // With nothing there to rewrite, the rename's own error is the one that helps.
            if staged.spot.entry.is_some() { error } else { failure }
        }),
        Err(failure) => Err(failure),
    }
}

fn rewrite(spot: &Spot, value: &Guarded) -> Result<Settled, Failure> {
    match &spot.entry {
        Some(entry) => in_place::rewrite(spot, entry, value),
        None => Err(Failure::OpenInPlace { source: io::ErrorKind::NotFound.into() }),
    }
}

/// What stands against another file in its place, but not against other content in it: a directory that is not ours or
/// mounted read-only, an identity we may not give, a file that is itself a mount point.
fn is_not_ours_to_replace(failure: &Failure) -> bool {
    let (Failure::CreateTemporary { source } | Failure::Identity { source } | Failure::Rename { source }) = failure
    else {
        return false;
    };
    let error = Errno::from_io_error(source);
    error.is_some_and(|error| [Errno::ACCESS, Errno::PERM, Errno::ROFS, Errno::BUSY].contains(&error))
}

fn out_of_descriptors(failure: &Failure) -> bool {
    let error = std::error::Error::source(failure).and_then(|source| source.downcast_ref::<io::Error>());
    let error = error.and_then(Errno::from_io_error);
    error.is_some_and(|error| [Errno::MFILE, Errno::NFILE].contains(&error))
}

/// Flushes a directory, each one once; answers its error again to every target in it.
fn flush_directory(done: &mut HashMap<FileId, Option<Errno>>, dir: &Dir, renamed: Option<&File>) -> Option<Errno> {
    *done.entry(dir.id()).or_insert_with(|| match dir.flush() {
        Ok(()) => None,
        // A directory that may be searched and written but not read cannot be flushed itself; a file renamed in it can,
        // and takes the rename along.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            renamed.and_then(|file| errno(file.sync_all()))
        }
        Err(error) => errno(Err(error)),
    })
}

fn errno(result: io::Result<()>) -> Option<Errno> {
    result.err().map(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
