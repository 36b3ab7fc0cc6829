//! Many targets with few flushes: all temporary files, all writeback started, all flushed, all renamed, then each
//! directory once.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::io::Errno;

use super::location::{self, Lead, Location};
use super::replaced::Replaced;
use super::temp::Temp;
use super::{Arrival, FileFailure, Settled, disk, flush, in_place, split};
use crate::ledger::{Key, Ledger, Record};
use crate::plan::{Action, Found, NotInPlace, Refusal};
use crate::sys::fs::{Dir, Entry, Identity, Kind};
use crate::sys::memory::Guarded;

/// One target to write.
pub(super) struct Step {
    pub(super) index: usize,
    pub(super) path: PathBuf,
    pub(super) value: Guarded,
    /// What is there is not ours, so a copy of it is kept.
    pub(super) keeps_copy: bool,
}

type Outcomes = Vec<(usize, Arrival)>;

/// Open files at a time. More than the secrets a user may have, fewer than the usual limit of descriptors.
const WAVE: usize = 128;

/// Writes all of `steps`.
pub(super) fn write(steps: Vec<Step>, replaced: &Replaced, ledger: &mut Ledger) -> Outcomes {
    let mut outcomes = Vec::with_capacity(steps.len());
    let mut wave = Wave::default();
    for step in steps {
        let mut staged = wave.stage(&step, replaced, ledger.key());
        if staged.as_ref().is_err_and(out_of_descriptors) || wave.len() >= WAVE {
            let retry = staged.as_ref().is_err_and(out_of_descriptors);
            std::mem::take(&mut wave).finish(ledger, &mut outcomes);
            if retry {
                staged = wave.stage(&step, replaced, ledger.key());
            }
        }
        match staged {
            Ok(None) => {}
            Ok(Some(record)) => outcomes.push((step.index, Ok((Settled::Unchanged, Some(record))))),
            Err(failure) => outcomes.push((step.index, Err(failure))),
        }
    }
    wave.finish(ledger, &mut outcomes);
    outcomes
}

/// What shares its flushes.
#[derive(Default)]
struct Wave {
    staged: Vec<Staged>,
    in_place: Vec<InPlace>,
    /// Parents by their path as a string, so that many targets in one directory open it once.
    parents: HashMap<OsString, Rc<Dir>>,
    /// Directories that got a new entry by the making of others.
    grown: Vec<Dir>,
}

/// A temporary file with the whole content, not yet in its place.
struct Staged {
    index: usize,
    path: PathBuf,
    temp: Temp,
    location: Location,
    value: Guarded,
    record: Record,
    /// Whether the file that is there may be written in place, if this one cannot take its place.
    in_place: Result<(), NotInPlace>,
}

/// A file that is to be written in place.
struct InPlace {
    index: usize,
    path: PathBuf,
    location: Location,
    entry: Entry,
    value: Guarded,
}

impl Wave {
    fn len(&self) -> usize {
        self.staged.len() + self.in_place.len()
    }

    /// `None`: staged, to be finished with the others. `Some`: the content is there already. Begins anew where somebody,
    /// such as another agent with this home, replaces the file at the same time.
    fn stage(&mut self, step: &Step, replaced: &Replaced, key: &Key) -> Result<Option<Record>, FileFailure> {
        const ATTEMPTS: usize = 10;
        let mut staged = self.try_stage(step, replaced, key);
        for _ in 1..ATTEMPTS {
            if !staged.as_ref().is_err_and(is_overtaken) {
                break;
            }
            staged = self.try_stage(step, replaced, key);
        }
        staged
    }

    fn try_stage(&mut self, step: &Step, replaced: &Replaced, key: &Key) -> Result<Option<Record>, FileFailure> {
        let parent = self.parent(&step.path)?;
        let location = match location::follow(parent, &step.path).map_err(|source| FileFailure::Resolve { source })? {
            Lead::Location(location) => location,
            Lead::Directory => return Err(Refusal::Kind(Kind::Directory).into()),
            Lead::Planted => return Err(Refusal::Planted.into()),
            Lead::Foreign(uid) => return Err(Refusal::Foreign(uid).into()),
        };
        let fingerprint = key.fingerprint(step.value.expose());
        // Decided again: since the plan was made the user may have changed what is there.
        let in_place = match Action::for_found(disk::found(&location, &step.value)) {
            Action::Refuse(refusal) => return Err(refusal.into()),
            Action::Unchanged(entry) => return Ok(Some(Record::new(&entry, step.value.len(), fingerprint))),
            Action::Rewrite(_) => {
                keep_copy(step, replaced, &location)?;
                self.stage_in_place(step, location);
                return Ok(None);
            }
            Action::Replace(in_place) => in_place,
            Action::Create | Action::Delivered(..) | Action::Superseded(_) => Ok(()),
        };
        keep_copy(step, replaced, &location)?;
        match fill(&location, &step.value) {
            Ok((temp, entry)) => {
                let record = Record::new(&entry, step.value.len(), fingerprint);
                let (path, value) = (step.path.clone(), step.value.share());
                self.staged.push(Staged { index: step.index, path, temp, location, value, record, in_place });
            }
            Err(failure) if location.entry.is_some() && is_not_ours_to_replace(&failure) => {
                in_place.map_err(|reason| not_in_place(reason, failure))?;
                self.stage_in_place(step, location);
            }
            Err(failure) => return Err(failure),
        }
        Ok(None)
    }

    fn stage_in_place(&mut self, step: &Step, location: Location) {
        let Some(entry) = location.entry else { return };
        let (path, value) = (step.path.clone(), step.value.share());
        self.in_place.push(InPlace { index: step.index, path, location, entry, value });
    }

    fn parent(&mut self, path: &Path) -> Result<Rc<Dir>, FileFailure> {
        let Some((parent, _)) = split(path) else { return Err(Refusal::Kind(Kind::Directory).into()) };
        if let Some(dir) = self.parents.get(parent.as_os_str()) {
            return Ok(Rc::clone(dir));
        }
        let dir = match Dir::open(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (dir, grown) = Dir::make(parent).map_err(|source| FileFailure::MakeDirectory { source })?;
                self.grown.extend(grown);
                dir
            }
            opened => opened.map_err(|source| FileFailure::Resolve { source })?,
        };
        let dir = Rc::new(dir);
        self.parents.insert(parent.into(), Rc::clone(&dir));
        Ok(dir)
    }

    fn finish(mut self, ledger: &mut Ledger, outcomes: &mut Outcomes) {
        let placed = self.place_all(ledger, outcomes);
        self.rewrite_all(ledger, outcomes);
        let changed = placed.iter().map(|(staged, _)| (&*staged.location.dir, Some(&staged.temp.file)));
        let failures = flush::directories(changed.chain(self.grown.iter().map(|dir| (dir, None))));
        for (staged, settled) in placed {
            let result = match failures.get(&staged.location.dir.id()) {
                None => Ok((settled, Some(staged.record))),
                Some(errno) => Err(FileFailure::FlushDirectory { source: (*errno).into() }),
            };
            outcomes.push((staged.index, result));
        }
    }

    /// What may be replaced. Nothing is renamed before everything is flushed, and the ledger with it: the first rename may
    /// make the file system write its journal, and the flushes that follow would wait for it one after the other.
    fn place_all(&mut self, ledger: &mut Ledger, outcomes: &mut Outcomes) -> Vec<(Staged, Settled)> {
        let noted = ledger.intend(self.staged.iter().map(|staged| (staged.path.clone(), staged.record)));
        let files: Vec<_> = noted.iter().chain(self.staged.iter().map(|staged| &staged.temp.file)).collect();
        let mut results = flush::files(&files);
        let of_files = results.split_off(noted.len());
        for result in results {
            ledger.flushed(result);
        }
        let mut placed = Vec::new();
        for (mut staged, result) in std::mem::take(&mut self.staged).into_iter().zip(of_files) {
            if let Err(source) = result {
                outcomes.push((staged.index, Err(FileFailure::Flush { source })));
                continue;
            }
            match place(&mut staged) {
                Ok(settled) => placed.push((staged, settled)),
                Err(failure) => match (staged.location.entry, is_not_ours_to_replace(&failure)) {
                    (Some(entry), true) => {
                        if let Err(reason) = staged.in_place {
                            outcomes.push((staged.index, Err(not_in_place(reason, failure))));
                            continue;
                        }
                        let Staged { index, path, location, value, .. } = staged;
                        self.in_place.push(InPlace { index, path, location, entry, value });
                    }
                    _ => outcomes.push((staged.index, Err(failure))),
                },
            }
        }
        placed
    }

    /// What may only be written in place. The ledger is flushed first here too.
    fn rewrite_all(&mut self, ledger: &mut Ledger, outcomes: &mut Outcomes) {
        let key = ledger.key().clone();
        let record = |it: &InPlace| Record::new(&it.entry, it.value.len(), key.fingerprint(it.value.expose()));
        let noted = ledger.intend(self.in_place.iter().map(|it| (it.path.clone(), record(it))));
        for result in flush::files(&noted.iter().collect::<Vec<_>>()) {
            ledger.flushed(result);
        }
        for it in &self.in_place {
            let rewritten = in_place::rewrite(&it.location, &it.entry, &it.value);
            outcomes.push((it.index, rewritten.map(|settled| (settled, Some(record(it))))));
        }
    }
}

fn keep_copy(step: &Step, replaced: &Replaced, location: &Location) -> Result<(), FileFailure> {
    if step.keeps_copy {
        replaced.keep(&step.path, location).map_err(|source| FileFailure::KeepCopy { source })?;
    }
    Ok(())
}

/// A temporary file with the content and the identity that the target shall have.
fn fill(location: &Location, value: &Guarded) -> Result<(Temp, Entry), FileFailure> {
    let mut temp = Temp::create(&location.dir).map_err(|source| FileFailure::CreateTemporary { source })?;
    temp.file.write_all(value.expose()).map_err(|source| FileFailure::Write { source })?;
    if let Some(entry) = &location.entry {
        let old = location.dir.open_to_read(&location.name, entry).and_then(|file| Identity::of(&file));
        let given = old.and_then(|identity| identity.give(&temp.file));
        given.map_err(|source| FileFailure::Identity { source })?;
    }
    let entry = Entry::of(&temp.file).map_err(|source| FileFailure::Identity { source })?;
    Ok((temp, entry))
}

fn place(staged: &mut Staged) -> Result<Settled, FileFailure> {
    let name = &staged.location.name;
    let (renamed, settled) = match staged.location.entry {
        Some(_) => (staged.temp.rename_over(name), Settled::Replaced),
        None => (staged.temp.rename_new(name), Settled::Created),
    };
    match renamed {
        Ok(()) => Ok(settled),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => meet(staged),
        Err(source) => Err(FileFailure::Rename { source }),
    }
}

/// Somebody made the file in the same moment. Another agent may have made the same one; of what anybody else has put into
/// it nothing is lost.
fn meet(staged: &mut Staged) -> Result<Settled, FileFailure> {
    let Staged { location, value, record, .. } = staged;
    location.entry = location.dir.look(&location.name).map_err(|source| FileFailure::Resolve { source })?;
    match disk::found(location, value) {
        Found::File { same: true, entry, .. } => {
            *record = Record { id: entry.id, mode: entry.mode, ..*record };
            Ok(Settled::Unchanged)
        }
        _ => Err(FileFailure::Raced),
    }
}

fn not_in_place(reason: NotInPlace, failure: FileFailure) -> FileFailure {
    FileFailure::NotInPlace { reason, source: Box::new(failure) }
}

/// What stands against another file in its place, but not against other content in it: a directory that is not ours or
/// mounted read-only, an identity we may not give, a file that is itself a mount point.
fn is_not_ours_to_replace(failure: &FileFailure) -> bool {
    let (FileFailure::CreateTemporary { source } | FileFailure::Identity { source } | FileFailure::Rename { source }) =
        failure
    else {
        return false;
    };
    let error = Errno::from_io_error(source);
    error.is_some_and(|error| [Errno::ACCESS, Errno::PERM, Errno::ROFS, Errno::BUSY].contains(&error))
}

/// The file that was looked at was gone when it was opened.
fn is_overtaken(failure: &FileFailure) -> bool {
    use io::ErrorKind::{NotFound, StaleNetworkFileHandle};
    matches!(failure, FileFailure::Identity { source } if matches!(source.kind(), NotFound | StaleNetworkFileHandle))
}

fn out_of_descriptors(failure: &FileFailure) -> bool {
    let error = std::error::Error::source(failure).and_then(|source| source.downcast_ref::<io::Error>());
    let error = error.and_then(Errno::from_io_error);
    error.is_some_and(|error| [Errno::MFILE, Errno::NFILE].contains(&error))
}
