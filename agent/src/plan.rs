//! What a boot or a refetch will do to the disk, and why. Pure: it looks through [`Observe`] and changes nothing.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use protocol::rules;

use crate::manifest::SecretSet;
use crate::sys::fs::{FileId, Kind};
use crate::sys::memory::Guarded;

/// What the outcome depends on besides the secrets and the disk.
#[derive(Debug, Default)]
pub struct Policy {
    /// What `~` stands for; `None` where it is unknown.
    pub home: Option<PathBuf>,
    /// What this process has delivered already: empty at boot, so that boot writes every target. A target whose secret
    /// did not change since is left alone on a refetch, whatever the user made of the file.
    pub delivered: Vec<(PathBuf, Guarded)>,
}

/// How a plan sees the disk.
pub trait Observe {
    /// What a cleaned absolute path leads to, and whether that already holds `value`.
    fn observe(&self, path: &Path, value: &Guarded) -> Observed;
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
        /// Its names.
        links: u64,
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
    /// The content is there already.
    Unchanged,
    /// The secret did not change since it was delivered.
    Delivered,
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
            Found::File { same: true, .. } => Self::Unchanged,
            Found::File { links, .. } if links > 1 => Self::Rewrite(links),
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
#[derive(Debug)]
pub struct Plan {
    /// The targets.
    pub targets: Vec<Target>,
}

impl Plan {
    /// Looks at every target and decides.
    #[must_use]
    pub fn new(secrets: &SecretSet, disk: &impl Observe, policy: &Policy) -> Self {
        let mut winners = HashMap::new();
        let mut targets = Vec::new();
        // Backwards, so that the one that wins is met first.
        for secret in secrets.secrets.iter().rev() {
            let Some(file_path) = &secret.file_path else { continue };
            let value = secret.value.share();
            let (path, action) = match expand(file_path, policy.home.as_deref()) {
                Ok(path) => {
                    let action = decide(&path, &value, disk, policy, &mut winners);
                    (path, action)
                }
                Err(refusal) => (PathBuf::from(file_path), Action::Refuse(refusal)),
            };
            targets.push(Target { file_path: file_path.clone(), path, value, action });
        }
        targets.reverse();
        Self { targets }
    }

    /// The targets that will be written.
    pub fn steps(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| target.action.is_step())
    }
}

#[derive(PartialEq, Eq, Hash)]
enum Key {
    Path(PathBuf),
    Place(Place),
}

fn decide(
    path: &Path,
    value: &Guarded,
    disk: &impl Observe,
    policy: &Policy,
    winners: &mut HashMap<Key, PathBuf>,
) -> Action {
    let Observed { place, found } = disk.observe(path, value);
    let keys: Vec<_> = place.map(Key::Place).into_iter().chain([Key::Path(path.to_owned())]).collect();
    if let Some(winner) = keys.iter().find_map(|key| winners.get(key)) {
        return Action::Superseded(winner.clone());
    }
    winners.extend(keys.into_iter().map(|key| (key, path.to_owned())));
    if policy.delivered.iter().any(|(delivered, before)| delivered == path && before == value) {
        return Action::Delivered;
    }
    Action::for_found(found)
}

/// The absolute path a user means, cleaned by its text alone as the reference does. No variables are expanded.
pub fn expand(file_path: &str, home: Option<&Path>) -> Result<PathBuf, Refusal> {
    rules::file_path(file_path).map_err(Refusal::Rule)?;
    match file_path.strip_prefix("~/") {
        Some(rest) => Ok(clean(&home.ok_or(Refusal::Home)?.join(rest.trim_start_matches('/')))),
        None => Ok(clean(Path::new(file_path))),
    }
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
            Action::Unchanged => write!(f, "keep {path:?}: its content is the same"),
            Action::Delivered => write!(f, "keep {path:?}: the secret did not change since it was written"),
            Action::Superseded(by) if by == path => write!(f, "skip {path:?}: a later secret has the same path"),
            Action::Superseded(by) => write!(f, "skip {path:?}: a later secret goes to the same file by {by:?}"),
            Action::Refuse(Refusal::Look { source }) => write!(f, "refuse {path:?}: cannot look at it: {source}"),
            Action::Refuse(refusal) => write!(f, "refuse {path:?}: {refusal}"),
        }
    }
}

#[cfg(test)]
mod tests;
