//! What a boot or a refetch will do to the disk, and why. Pure: it looks through [`Observe`] and changes nothing.
#![forbid(unsafe_code)]

mod action;
mod drift;
mod observe;
mod path;
mod stale;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::StaleFiles;
use crate::ledger::{Key, Ledger, Record};
use crate::manifest::SecretSet;
use crate::sys::fs::FileId;
use crate::sys::memory::Guarded;

pub use action::{Action, NotInPlace, Refusal, Since};
pub use drift::{Drift, Standing};
pub use observe::{Access, Found, Observe, Observed, Owner, Place};
use path::target_path;
pub use stale::{Fate, Reason, Stale};

/// What the outcome depends on besides the secrets and the disk.
#[derive(Debug, Default)]
pub struct Policy {
    /// What `~` stands for; `None` where it is unknown.
    pub home: Option<PathBuf>,
    /// What this process has delivered already: empty at boot, so that boot writes every target. A target whose secret
    /// did not change since is left alone on a refetch, whatever the user made of the file.
    pub delivered: Vec<(PathBuf, Record)>,
    /// Whether such a target is written again if its file is gone, as for a user who asks for a reload.
    pub restores_missing: bool,
    /// The agent's own directories. Whoever can choose the targets of secrets must not configure the agent with them.
    pub own_directories: Vec<PathBuf>,
    /// What becomes of files that no secret goes to any more.
    pub stale_files: StaleFiles,
}

/// One file target.
#[derive(Debug)]
pub struct Target {
    /// As the user wrote it.
    pub file_path: String,
    /// Cleaned and absolute; as the user wrote it where that failed.
    pub path: PathBuf,
    /// What is to be in it.
    pub value: Guarded,
    /// What will be done.
    pub action: Action,
    /// What is there is not what the agent wrote, and is about to go: a copy of it is kept.
    pub keeps_copy: bool,
}

/// What a boot or a refetch will do. It holds the secrets that it was made for: nothing delivers them without it, and only
/// [`Plan::new`] makes one.
#[derive(Debug)]
pub struct Plan {
    secrets: SecretSet,
    work: Work,
}

/// The file part of a plan, for whoever carries it out.
#[derive(Debug)]
pub struct Work {
    /// One target for each secret with a file, in the order of the secrets.
    pub targets: Vec<Target>,
    /// Files of secrets that go there no more.
    pub stale: Vec<Stale>,
    /// What the user wants done with them.
    pub stale_files: StaleFiles,
    /// The files that targets lead to by any path; they are not stale.
    pub occupied: HashSet<FileId>,
}

impl Plan {
    /// Looks at every target and decides.
    #[must_use]
    pub fn new(secrets: SecretSet, disk: &impl Observe, policy: &Policy, ledger: &Ledger) -> Self {
        let mut winners = HashMap::new();
        let mut targets = Vec::new();
        // Backwards, so that the one that wins is met first.
        for secret in secrets.secrets.iter().rev() {
            let Some(file_path) = &secret.file_path else { continue };
            let value = secret.value.share();
            let (path, action) = match target_path(file_path, policy.home.as_deref()) {
                Ok(path) if disk.is_within(&path, &policy.own_directories) => (path, Action::Refuse(Refusal::Own)),
                Ok(path) => {
                    let action = decide(&path, &value, disk, (policy, ledger.key()), &mut winners);
                    (path, action)
                }
                Err(refusal) => (PathBuf::from(file_path), Action::Refuse(refusal)),
            };
            let keeps_copy = action.replaces() && !is_ours(&path, disk, ledger);
            targets.push(Target { file_path: file_path.clone(), path, value, action, keeps_copy });
        }
        targets.reverse();
        let files = winners.keys().filter_map(|key| match key {
            Claim::Place(Place::File(id)) => Some(*id),
            _ => None,
        });
        let occupied = files.collect();
        let stale = stale::find(&targets, &occupied, disk, policy, ledger);
        Self { secrets, work: Work { targets, stale, stale_files: policy.stale_files, occupied } }
    }

    /// What it was made for.
    #[must_use]
    pub fn secrets(&self) -> &SecretSet {
        &self.secrets
    }

    /// One target for each secret with a file, in the order of the secrets.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.work.targets
    }

    /// Files of secrets that go there no more.
    #[must_use]
    pub fn stale(&self) -> &[Stale] {
        &self.work.stale
    }

    /// The secrets and the work, for whoever carries it out.
    #[must_use]
    pub fn into_parts(self) -> (SecretSet, Work) {
        (self.secrets, self.work)
    }
}

impl Work {
    /// The targets that will be written.
    pub fn steps(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| target.action.is_step())
    }
}

#[derive(PartialEq, Eq, Hash)]
enum Claim {
    Path(PathBuf),
    Place(Place),
}

fn decide(
    path: &Path,
    value: &Guarded,
    disk: &impl Observe,
    (policy, key): (&Policy, &Key),
    winners: &mut HashMap<Claim, PathBuf>,
) -> Action {
    let Observed { place, found } = disk.observe(path, value);
    let claims: Vec<_> = place.map(Claim::Place).into_iter().chain([Claim::Path(path.to_owned())]).collect();
    if let Some(winner) = claims.iter().find_map(|claim| winners.get(claim)) {
        return Action::Superseded(winner.clone());
    }
    winners.extend(claims.into_iter().map(|claim| (claim, path.to_owned())));
    let before = policy.delivered.iter().find(|(delivered, _)| delivered == path);
    match before {
        Some((_, record)) if record.fingerprint == key.fingerprint(value.expose()) => match found {
            Found::Missing if policy.restores_missing => Action::Create,
            Found::Missing => Action::Delivered(*record, Since::Missing),
            Found::File { same: true, .. } => Action::Delivered(*record, Since::Unchanged),
            _ => Action::Delivered(*record, Since::Changed),
        },
        _ => Action::for_found(found),
    }
}

/// Whether the content of a file is one that the agent wrote there.
fn is_ours(path: &Path, disk: &impl Observe, ledger: &Ledger) -> bool {
    let records = ledger.records(path);
    let drift = (!records.is_empty()).then(|| disk.stand(path, &records, ledger.key()).drift);
    matches!(drift, Some(None | Some(Drift::Chmodded { .. } | Drift::Replaced { same: true, .. })))
}

/// What `--dry-run` prints: no value, and nothing a path could do to a terminal.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for target in self.targets() {
            writeln!(f, "{target}")?;
        }
        for stale in self.stale() {
            writeln!(f, "{stale}")?;
        }
        Ok(())
    }
}

#[expect(clippy::unnecessary_debug_formatting, reason = "quoted, with control characters escaped")]
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.action {
            Action::Create => write!(f, "create {path:?}"),
            Action::Replace(_) => write!(f, "replace {path:?}: its content differs"),
            Action::Rewrite(links) => {
                write!(f, "rewrite {path:?} in place: its content differs and it has {links} names")
            }
            Action::Unchanged(_) => write!(f, "keep {path:?}: its content is the same"),
            Action::Delivered(..) => write!(f, "keep {path:?}: the secret did not change since it was written"),
            Action::Superseded(by) if by == path => write!(f, "skip {path:?}: a later secret has the same path"),
            Action::Superseded(by) => write!(f, "skip {path:?}: a later secret goes to the same file by {by:?}"),
            Action::Refuse(Refusal::Look { source }) => write!(f, "refuse {path:?}: cannot look at it: {source}"),
            Action::Refuse(refusal) => write!(f, "refuse {path:?}: {refusal}"),
        }
    }
}

#[cfg(test)]
mod tests;
