//! What happens to one target, decided by what is there.

use std::io;
use std::path::PathBuf;

use super::observe::{Access, Found, Owner};
use crate::ledger::Record;
use crate::sys::fs::{Entry, Kind, Trust};

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
    pub(super) fn replaces(&self) -> bool {
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
