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
use crate::sys::fs::{Entry, FileId, Kind, Trust};
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
    /// Whether such a target is written again if its file is gone, as for a user who asks for a reload.
    pub restores_missing: bool,
    /// The agent's own directories. Whoever can choose the targets of secrets must not configure the agent with them.
    pub own_directories: Vec<PathBuf>,
    /// What becomes of files that no secret goes to any more.
    pub stale_files: StaleFiles,
}

/// How a plan sees the disk.
pub trait Observe {
    /// What a cleaned absolute path leads to, and whether that already holds `value`.
    fn observe(&self, path: &Path, value: &Guarded) -> Observed;

    /// Whether a cleaned absolute path leads into one of `directories`, by its text or through links.
    fn is_within(&self, path: &Path, directories: &[PathBuf]) -> bool;

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
        /// Who else has to do with it.
        access: Access,
    },
    /// What a value is never written to.
    Other(Kind),
    /// Belongs to another user in a directory where others may create files.
    Planted,
    /// A directory on the way belongs to this user, who is neither we nor root.
    Foreign(u32),
    /// It could not be looked at.
    Failed(io::Error),
}

/// Who else has to do with a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Who can change what is in its directory.
    pub trust: Trust,
    /// Whose it is.
    pub owner: Owner,
    /// Whether users other than its owner can read it.
    pub is_readable: bool,
}

/// Whose a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Owner {
    Us,
    Root,
    Other,
}

impl Access {
    /// Whether a value may be written into the file that is there, rather than into a new one that takes its place.
    fn in_place(self) -> Result<(), NotInPlace> {
        match self {
            Self { owner: Owner::Other, .. } => Err(NotInPlace::OtherOwner),
            Self { owner: Owner::Root, is_readable: true, .. } => Err(NotInPlace::Readable),
            Self { trust: Trust::Shared | Trust::Foreign(_), .. } => Err(NotInPlace::Shared),
            Self { .. } => Ok(()),
        }
    }
}

/// Why a value is not written into the file that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum NotInPlace {
    #[error("it belongs to another user")]
    OtherOwner,
    #[error("it belongs to root and others can read it")]
    Readable,
    #[error("other users can write to its directory")]
    Shared,
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
    #[error("it is in a directory of the agent's own configuration or state")]
    Own,
    #[error("it belongs to another user in a directory where everybody may create files")]
    Planted,
    #[error("its directory, or one above, belongs to another user (uid {0})")]
    Foreign(u32),
    #[error("it has {names} names and could only be written in place, but {reason}")]
    NotInPlace { names: u64, reason: NotInPlace },
    #[error("cannot look at it")]
    Look { source: io::Error },
}

/// What happens to one target.
#[derive(Debug)]
pub enum Action {
    /// A step: nothing is there yet.
    Create,
    /// A step: a new file takes the old one's place and identity. Where that cannot be done, the old one may be written in
    /// place, or not.
    Replace(Result<(), NotInPlace>),
    /// A step: a file with this many names is written in place, or the others would keep the old content.
    Rewrite(u64),
    /// The content is there already, in this file.
    Unchanged(Entry),
    /// The secret did not change since it was delivered, so the file is left to the user.
    Delivered(Record, Since),
    /// A later secret goes to the same place, by this path.
    Superseded(PathBuf),
    /// It cannot be done.
    Refuse(Refusal),
}

/// What became of a file since it was delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Since {
    /// It holds the secret.
    Unchanged,
    /// Something else is in it, or in its place.
    Changed,
    /// It is gone.
    Missing,
}

impl Action {
    /// Whether anything will be written.
    #[must_use]
    pub fn is_step(&self) -> bool {
        matches!(self, Self::Create | Self::Replace(_) | Self::Rewrite(_))
    }

    /// Whether the content of a file goes.
    fn replaces(&self) -> bool {
        matches!(self, Self::Replace(_) | Self::Rewrite(_))
    }

    /// What to do about what was found. The plan asks once. Whoever carries it out asks again about the file that is then
    /// open, because the user may have changed it since.
    #[must_use]
    pub fn for_found(found: Found) -> Self {
        match found {
            Found::Missing => Self::Create,
            Found::File { same: true, entry, .. } => Self::Unchanged(entry),
            Found::File { entry: Entry { links: names @ 2.., .. }, access, .. } => match access.in_place() {
                Ok(()) => Self::Rewrite(names),
                Err(reason) => Self::Refuse(Refusal::NotInPlace { names, reason }),
            },
            Found::File { access, .. } => Self::Replace(access.in_place()),
            Found::Other(kind) => Self::Refuse(Refusal::Kind(kind)),
            Found::Planted => Self::Refuse(Refusal::Planted),
            Found::Foreign(uid) => Self::Refuse(Refusal::Foreign(uid)),
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
