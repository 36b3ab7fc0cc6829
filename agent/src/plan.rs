//! What a boot or a refetch will do to the disk, and why. Pure: it looks through [`Observe`] and changes nothing.
#![forbid(unsafe_code)]

mod drift;
mod stale;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use protocol::rules;

use crate::config::StaleFiles;
use crate::expand;
use crate::ledger::{Key, Ledger, Record};
use crate::manifest::SecretSet;
use crate::sys::fs::{Entry, FileId, Kind};
use crate::sys::memory::Guarded;

pub use drift::{Drift, Standing};
pub use stale::{Fate, Reason, Stale};

/// What the outcome depends on besides the secrets and the disk.
#[derive(Debug, Default)]
pub struct Policy {
    /// What `~` stands for; `None` where it is unknown.
    pub home: Option<PathBuf>,
    /// What this process has delivered already: empty at boot, so that boot writes every target. A target whose secret
    /// did not change since is left alone on a refetch, whatever the user made of the file.
    pub delivered: Vec<(PathBuf, Record)>,
    /// What becomes of files that no secret goes to any more.
    pub stale_files: StaleFiles,
}

/// How a plan sees the disk.
pub trait Observe {
    /// What a cleaned absolute path leads to, and whether that already holds `value`.
    fn observe(&self, path: &Path, value: &Guarded) -> Observed;

    /// What a cleaned absolute path leads to, and how that differs from the nearest of `records`.
    fn stand(&self, path: &Path, records: &[Record], key: &Key) -> Standing;
}

/// What a path leads to.
#[derive(Debug)]
pub struct Observed {
    /// The place behind the path; `None` where it cannot be told, as under a missing parent.
    pub place: Option<Place>,
    /// What is there.
    pub found: Found,
}

/// Two paths with the same place are one target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// An existing file: hard links are one place.
    File(FileId),
    /// A name in a directory where nothing is yet.
    Free(FileId, OsString),
}

/// What is at a place.
#[derive(Debug)]
pub enum Found {
    /// Nothing, or nothing at the end of a link.
    Missing,
    /// A regular file.
    File {
        /// Whether its content is the wanted one.
        same: bool,
        /// The file itself.
        entry: Entry,
    },
    /// What a value is never written to.
    Other(Kind),
    /// Belongs to somebody else in a directory where everybody may create files.
    Planted,
    /// It could not be looked at.
    Failed(io::Error),
}

/// Why a secret does not get into its file.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Refusal {
    #[error("the home directory is unknown")]
    Home,
    #[error("{0}")]
    Rule(String),
    #[error("below this home its path has more than 4095 bytes, which no program could open")]
    TooLong,
    #[error("it is a {0}")]
    Kind(Kind),
    #[error("it belongs to another user in a directory where everybody may create files")]
    Planted,
    #[error("cannot look at it")]
    Look { source: io::Error },
}

/// What happens to one target.
#[derive(Debug)]
pub enum Action {
    /// A step: nothing is there yet.
    Create,
    /// A step: a new file takes the old one's place and identity.
    Replace,
    /// A step: a file with this many names is written in place, or the others would keep the old content.
    Rewrite(u64),
    /// The content is there already, in this file.
    Unchanged(Entry),
    /// The secret did not change since it was delivered.
    Delivered(Record),
    /// A later secret goes to the same place, by this path.
    Superseded(PathBuf),
    /// It cannot be done.
    Refuse(Refusal),
}

impl Action {
    /// Whether anything will be written.
    #[must_use]
    pub fn is_step(&self) -> bool {
        matches!(self, Self::Create | Self::Replace | Self::Rewrite(_))
    }

    /// What to do about what was found; asked once for the plan and again for the file that is then open.
    #[must_use]
    pub fn for_found(found: Found) -> Self {
        match found {
            Found::Missing => Self::Create,
            Found::File { same: true, entry } => Self::Unchanged(entry),
            Found::File { entry, .. } if entry.links > 1 => Self::Rewrite(entry.links),
            Found::File { .. } => Self::Replace,
            Found::Other(kind) => Self::Refuse(Refusal::Kind(kind)),
            Found::Planted => Self::Refuse(Refusal::Planted),
            Found::Failed(source) => Self::Refuse(Refusal::Look { source }),
        }
    }
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
}

/// Everything that will be done, one target for each secret with a file, in the order of the secrets.
#[derive(Debug, Default)]
pub struct Plan {
    /// The targets.
    pub targets: Vec<Target>,
    /// Files of secrets that go there no more.
    pub stale: Vec<Stale>,
    /// For them.
    pub stale_files: StaleFiles,
    /// The files that targets lead to by any path; they are not stale.
    pub occupied: HashSet<FileId>,
}

impl Plan {
    /// Looks at every target and decides.
    #[must_use]
    pub fn new(secrets: &SecretSet, disk: &impl Observe, policy: &Policy, ledger: &Ledger) -> Self {
        let mut winners = HashMap::new();
        let mut targets = Vec::new();
        // Backwards, so that the one that wins is met first.
        for secret in secrets.secrets.iter().rev() {
            let Some(file_path) = &secret.file_path else { continue };
            let value = secret.value.share();
            let (path, action) = match target_path(file_path, policy.home.as_deref()) {
                Ok(path) => {
                    let action = decide(&path, &value, disk, (policy, ledger.key()), &mut winners);
                    (path, action)
                }
                Err(refusal) => (PathBuf::from(file_path), Action::Refuse(refusal)),
            };
            targets.push(Target { file_path: file_path.clone(), path, value, action });
        }
        targets.reverse();
        let files = winners.keys().filter_map(|key| match key {
            Claim::Place(Place::File(id)) => Some(*id),
            _ => None,
        });
        let occupied = files.collect();
        let stale = stale::find(&targets, &occupied, disk, policy, ledger);
        Self { targets, stale, stale_files: policy.stale_files, occupied }
    }

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
        Some((_, record)) if record.fingerprint == key.fingerprint(value.expose()) => Action::Delivered(*record),
        _ => Action::for_found(found),
    }
}

/// The absolute path a user means, cleaned by its text alone as the reference does. No variables are expanded.
fn target_path(file_path: &str, home: Option<&Path>) -> Result<PathBuf, Refusal> {
    /// With the null byte that ends it, it must fit into 4096.
    const MOST_BYTES: usize = 4095;
    rules::file_path(file_path).map_err(Refusal::Rule)?;
    let path = match expand::below_home(file_path) {
        Some(rest) => clean(&home.ok_or(Refusal::Home)?.join(rest)),
        None => clean(Path::new(file_path)),
    };
    if path.as_os_str().len() > MOST_BYTES { Err(Refusal::TooLong) } else { Ok(path) }
}

fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

/// What `--dry-run` prints: no value, and nothing a path could do to a terminal.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for target in &self.targets {
            writeln!(f, "{target}")?;
        }
        for stale in &self.stale {
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
            Action::Replace => write!(f, "replace {path:?}: its content differs"),
            Action::Rewrite(links) => {
                write!(f, "rewrite {path:?} in place: its content differs and it has {links} names")
            }
            Action::Unchanged(_) => write!(f, "keep {path:?}: its content is the same"),
            Action::Delivered(_) => write!(f, "keep {path:?}: the secret did not change since it was written"),
            Action::Superseded(by) if by == path => write!(f, "skip {path:?}: a later secret has the same path"),
            Action::Superseded(by) => write!(f, "skip {path:?}: a later secret goes to the same file by {by:?}"),
            Action::Refuse(Refusal::Look { source }) => write!(f, "refuse {path:?}: cannot look at it: {source}"),
            Action::Refuse(refusal) => write!(f, "refuse {path:?}: {refusal}"),
        }
    }
}

#[cfg(test)]
mod tests;
