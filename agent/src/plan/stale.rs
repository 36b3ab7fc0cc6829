//! Files of secrets that go there no more: deleted, disabled, or with another path by now.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use super::drift::{Drift, Standing};
use super::{Action, Observe, Policy, Refusal, Target};
use crate::config::StaleFiles;
use crate::ledger::Ledger;
use crate::sys::fs::FileId;

/// A file that some secret went to.
#[derive(Debug)]
pub struct Stale {
    /// Where it is.
    pub path: PathBuf,
    /// What will be done.
    pub fate: Fate,
}

/// What becomes of a stale file.
#[derive(Debug)]
pub enum Fate {
    /// It is still exactly what we wrote.
    Remove,
    /// It is, and the user wants such files left.
    Leave,
    /// It is not, so it is the user's now.
    Keep(Reason),
}

/// Why a file is not removed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Reason {
    #[error("{0}")]
    Drifted(Drift),
    #[error("behind a symbolic link")]
    Linked,
    #[error("a file with {0} names")]
    Names(u64),
    #[error("a file that cannot be removed: {0}")]
    Failed(std::io::Error),
}

impl Reason {
    /// Nothing more will come of the file, so the ledger may forget it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Failed(_) | Self::Drifted(Drift::Unknown(_)))
    }

    /// People want to hear that the file stayed. A file that is gone is what they wanted.
    #[must_use]
    pub fn is_news(&self) -> bool {
        !matches!(self, Self::Drifted(Drift::Gone))
    }
}

impl Fate {
    /// Anything that the user may have had a hand in is left alone.
    #[must_use]
    pub fn new(standing: Standing, wanted: StaleFiles) -> Self {
        match (standing, wanted) {
            (Standing { drift: Some(drift), .. }, _) => Self::Keep(Reason::Drifted(drift)),
            (_, StaleFiles::Keep) => Self::Leave,
            (Standing { linked: true, .. }, _) => Self::Keep(Reason::Linked),
            (Standing { links, .. }, _) if links != 1 => Self::Keep(Reason::Names(links)),
            _ => Self::Remove,
        }
    }
}

/// What the ledger knows and no target is. `occupied`: the files that targets lead to by any path.
pub(super) fn find(
    targets: &[Target],
    occupied: &HashSet<FileId>,
    disk: &impl Observe,
    policy: &Policy,
    ledger: &Ledger,
) -> Vec<Stale> {
    // A path that could not be told may be any of them: a user database that is away must not look like an empty set.
    let is_unclear =
        |target: &Target| matches!(target.action, Action::Refuse(Refusal::Home | Refusal::Rule(_) | Refusal::TooLong));
    if targets.iter().any(is_unclear) {
        return Vec::new();
    }
    let wanted: HashSet<&Path> = targets.iter().map(|target| target.path.as_path()).collect();
    let former = ledger.files().filter(|(path, records)| !wanted.contains(path) && !records.is_empty());
    let stale = former.filter_map(|(path, records)| {
        let standing = disk.stand(path, records, ledger.key());
        let is_stale = !standing.id.is_some_and(|id| occupied.contains(&id));
        is_stale.then(|| Stale { path: path.to_owned(), fate: Fate::new(standing, policy.stale_files) })
    });
    stale.collect()
}

#[expect(clippy::unnecessary_debug_formatting, reason = "quoted, with control characters escaped")]
impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.fate {
            Fate::Remove => write!(f, "remove {path:?}: no secret goes there any more"),
            Fate::Leave => write!(f, "leave {path:?}: no secret goes there any more (--stale-files keep)"),
            Fate::Keep(Reason::Drifted(Drift::Gone)) => write!(f, "forget {path:?}: no secret goes there any more"),
            Fate::Keep(reason) => write!(f, "leave {path:?}: no secret goes there any more, and it is {reason}"),
        }
    }
}
