//! Carries out the file part of a plan: every target holds the old or the new content, whole, whatever happens.
//!
//! - [`disk`]: what the plan looks at
//! - `location`: the directory and name that a path leads to
//! - `temp`: temporary files, and the removal of those that a crash left
//! - `batch`: many targets with few flushes
//! - `in_place`: where a rename cannot do it
//! - `replaced`: copies of what was there before
//! - `stale`: files that no secret goes to any more
#![forbid(unsafe_code)]

mod batch;
pub mod disk;
mod flush;
mod in_place;
mod location;
mod replaced;
mod stale;
mod temp;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::ledger::{Key, Ledger, Record};
use crate::manifest::SecretSet;
use crate::plan::{Action, Drift, NotInPlace, Observe as _, Plan, Refusal, Since, Target, Work};

use replaced::Replaced;
pub use stale::StaleOutcome;

/// The secrets of a plan whose files are settled. Only [`apply`] makes one, and only [`crate::environment`] takes the
/// secrets out of it: so no launch sees a secret before the files are written.
#[derive(Debug)]
pub struct FilesApplied {
    secrets: SecretSet,
    report: FileReport,
}

/// What became of every file target.
#[derive(Debug)]
pub struct FileReport {
    outcomes: Vec<TargetOutcome>,
    stale: Vec<StaleOutcome>,
    kept: Vec<(PathBuf, PathBuf)>,
}

/// What became of one target.
#[derive(Debug)]
pub struct TargetOutcome {
    /// Cleaned and absolute; as the user wrote it where that could not be done.
    pub path: PathBuf,
    /// How it was settled, or why not.
    pub result: Result<Settled, FileError>,
    /// What it was then; `None` where the secret is not in it.
    pub record: Option<Record>,
}

/// How many targets were settled in which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Files that hold their secret because it was written now.
    pub written: usize,
    /// Files that hold their secret already.
    pub unchanged: usize,
    /// Files that the user changed since they were delivered, and that were left so.
    pub left: usize,
    /// Files that are gone since they were delivered.
    pub gone: usize,
    /// Secrets that another one overrides because it goes to the same file.
    pub superseded: usize,
    /// Secrets that could not be delivered.
    pub failed: usize,
}

impl Counts {
    /// Files with a secret in them, whether or not the user changed it since.
    #[must_use]
    pub fn delivered(self) -> usize {
        self.written + self.unchanged + self.left + self.superseded
    }
}

/// How a target was settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// A new file was made.
    Created,
    /// A new file took the place and the identity of the old one.
    Replaced,
    /// The file was written in place.
    Rewritten,
    /// It held the content already.
    Unchanged,
    /// The secret did not change since it was delivered, so the file was left to the user.
    Delivered(Since),
    /// A later secret goes to the same place.
    Superseded,
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Replaced => "replaced",
            Self::Rewritten => "rewritten in place",
            Self::Unchanged => "unchanged",
            Self::Delivered(Since::Unchanged) => "delivered before",
            Self::Delivered(Since::Changed) => "delivered before, and left as it is",
            Self::Delivered(Since::Missing) => "delivered before, and gone",
            Self::Superseded => "superseded by a later secret with the same path",
        })
    }
}

/// Why a target does not hold its secret.
#[derive(Debug, thiserror::Error)]
#[error("cannot deliver the secret to {path:?}")]
pub struct FileError {
    /// The target.
    pub path: PathBuf,
    /// What failed.
    #[source]
    pub failure: FileFailure,
}

/// What can fail on the way to a target.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum FileFailure {
    #[error("it is refused")]
    Refused(#[from] Refusal),
    #[error("cannot find where it leads")]
    Resolve { source: io::Error },
    #[error("cannot make its directory")]
    MakeDirectory { source: io::Error },
    #[error("cannot keep a copy of the file that is there")]
    KeepCopy { source: io::Error },
    #[error("cannot create a temporary file beside it")]
    CreateTemporary { source: io::Error },
    #[error("cannot write its content")]
    Write { source: io::Error },
    #[error("cannot keep its mode, owner and attributes")]
    Identity { source: io::Error },
    #[error("cannot flush its content to the disk")]
    Flush { source: io::Error },
    #[error("cannot rename the temporary file over it")]
    Rename { source: io::Error },
    #[error("cannot open it to write in place")]
    OpenInPlace { source: io::Error },
    #[error("{reason}, so it is not written in place")]
    NotInPlace { reason: NotInPlace, source: Box<FileFailure> },
    #[error("no space to write in place")]
    Reserve { source: io::Error },
    #[error("cannot write in place; the old content was put back")]
    RewriteUndone { source: io::Error },
    #[error("cannot write in place, and the old content could not be put back")]
    RewriteTorn { source: io::Error },
    #[error("a file was made there in the same moment, and is left as it is")]
    Raced,
    #[error("written, but its directory cannot be flushed to the disk")]
    FlushDirectory { source: io::Error },
}

impl FilesApplied {
    /// What became of every file target.
    #[must_use]
    pub fn report(&self) -> &FileReport {
        &self.report
    }

    /// The secrets, for the environment, and what became of the files.
    pub(crate) fn into_parts(self) -> (SecretSet, FileReport) {
        (self.secrets, self.report)
    }
}

impl FileReport {
    /// One outcome for each secret with a file, in the order of the secrets.
    #[must_use]
    pub fn outcomes(&self) -> &[TargetOutcome] {
        &self.outcomes
    }

    /// What failed.
    pub fn errors(&self) -> impl Iterator<Item = &FileError> {
        self.outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err())
    }

    /// How many targets were settled in which way.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for outcome in &self.outcomes {
            *match &outcome.result {
                Ok(Settled::Created | Settled::Replaced | Settled::Rewritten) => &mut counts.written,
                Ok(Settled::Unchanged | Settled::Delivered(Since::Unchanged)) => &mut counts.unchanged,
                Ok(Settled::Delivered(Since::Changed)) => &mut counts.left,
                Ok(Settled::Delivered(Since::Missing)) => &mut counts.gone,
                Ok(Settled::Superseded) => &mut counts.superseded,
                Err(_) => &mut counts.failed,
            } += 1;
        }
        counts
    }

    /// Targets that held something else before their secret, and where a copy of that is.
    #[must_use]
    pub fn kept(&self) -> &[(PathBuf, PathBuf)] {
        &self.kept
    }

    /// Files that no secret goes to any more, where there is something to say of them.
    #[must_use]
    pub fn stale(&self) -> &[StaleOutcome] {
        &self.stale
    }

    /// What a refetch need not write again: the `delivered` of the next [`crate::plan::Policy`].
    #[must_use]
    pub fn delivered(&self) -> Vec<(PathBuf, Record)> {
        self.outcomes.iter().filter_map(|outcome| Some((outcome.path.clone(), outcome.record?))).collect()
    }
}

/// How one target was settled, and the file that holds its secret now.
type Arrival = Result<(Settled, Option<Record>), FileFailure>;

/// Carries out `plan`. Blocks for as long as the disk does; one target's failure never keeps another from arriving.
#[must_use]
pub fn apply(plan: Plan, ledger: &mut Ledger) -> FilesApplied {
    let (secrets, work) = plan.into_parts();
    FilesApplied { secrets, report: settle(work, ledger) }
}

fn settle(plan: Work, ledger: &mut Ledger) -> FileReport {
    temp::sweep(plan.targets.iter().map(|target| target.path.as_path()).chain(ledger.paths()));
    ledger.approach(plan.steps().map(|target| target.path.as_path()));
    let mut steps = Vec::new();
    let mut settled = Vec::with_capacity(plan.targets.len());
    for (index, Target { path, value, action, keeps_copy, .. }) in plan.targets.into_iter().enumerate() {
        let result = match action {
            Action::Create | Action::Replace(_) | Action::Rewrite(_) => {
                steps.push(batch::Step { index, path: path.clone(), value, keeps_copy });
                None
            }
            Action::Unchanged(entry) => {
                let record = Record::new(&entry, value.len(), ledger.key().fingerprint(value.expose()));
                Some(Ok((Settled::Unchanged, Some(record))))
            }
            Action::Delivered(record, since) => Some(Ok((Settled::Delivered(since), Some(record)))),
            Action::Superseded(by) => {
                tracing::warn!(?path, ?by, "two secrets go to the same file: the later one, by name, is written");
                Some(Ok((Settled::Superseded, None)))
            }
            Action::Refuse(refusal) => Some(Err(FileFailure::Refused(refusal))),
        };
        settled.push((path, result));
    }
    let replaced = Replaced::new(ledger.place());
    for (index, result) in batch::write(steps, &replaced, ledger) {
        if let Some((_, slot)) = settled.get_mut(index) {
            *slot = Some(result);
        }
    }
    let outcomes: Vec<_> = settled.into_iter().filter_map(|(path, result)| Some(outcome(path, result?))).collect();
    // What was delivered before may have been moved by the user since; where targets lead now, the plan has seen.
    let written = outcomes.iter().filter(|outcome| !matches!(outcome.result, Ok(Settled::Delivered(_))));
    let written = written.filter_map(|outcome| Some(outcome.record?.id));
    let occupied = plan.occupied.into_iter().chain(written).collect();
    let stale = stale::settle(plan.stale, plan.stale_files, &occupied, ledger);
    let kept = replaced.list(outcomes.iter().map(|outcome| outcome.path.as_path()));
    FileReport { outcomes, stale, kept }
}

fn outcome(path: PathBuf, result: Arrival) -> TargetOutcome {
    let (result, record) = match result {
        Ok((settled, record)) => (Ok(settled), record),
        Err(failure) => (Err(FileError { path: path.clone(), failure }), None),
    };
    TargetOutcome { path, result, record }
}

/// How each delivered file differs now from what it was, by its path. Blocks for as long as the disk does.
#[must_use]
pub fn drifts(delivered: &[(PathBuf, Record)], key: &Key) -> Vec<(PathBuf, Drift)> {
    let drift = |(path, record): &(PathBuf, Record)| {
        Some((path.clone(), disk::Disk.stand(path, std::slice::from_ref(record), key).drift?))
    };
    delivered.iter().filter_map(drift).collect()
}

/// The parent and the name of a cleaned absolute path; `None` for `/`.
fn split(path: &Path) -> Option<(&Path, &std::ffi::OsStr)> {
    Some((path.parent()?, path.file_name()?))
}

#[cfg(test)]
mod tests;
