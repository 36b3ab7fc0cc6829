//! How definitions are applied, and why they are not.

use protocol::definitions::AppliedWorkspace;

use super::super::StoreError;
use super::super::audit::Actor;

/// How definitions are applied.
#[derive(Clone, Debug)]
pub struct Application {
    /// Who applies them.
    pub actor: Actor,
    /// The owner of all of them; none if each names its own, as an administrator's do.
    pub owner: Option<String>,
    /// Whether every agent gets a new token.
    pub rotate_tokens: bool,
    /// Whether nothing is changed, and only said what would be.
    pub dry_run: bool,
    /// Most workspaces that an owner may have; none for as many as they like.
    pub most: Option<u32>,
}

impl Application {
    /// As an administrator on the server's machine does.
    #[must_use]
    pub fn by_administrator() -> Self {
        Self { actor: Actor::Administrator, owner: None, rotate_tokens: false, dry_run: false, most: None }
    }
}

/// Why definitions are not applied. None of them is, then. `index` is which of the definitions.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The owner of a definition does not exist.
    #[error("no user is named {owner}; make one with: coder-server user create {owner}")]
    UnknownOwner {
        /// The name.
        owner: String,
        /// Which.
        index: usize,
    },
    /// A definition names no owner, and nobody is the owner of all.
    #[error("workspace {name} has no `owner`")]
    NoOwner {
        /// The workspace.
        name: String,
        /// Which.
        index: usize,
    },
    /// A definition names another owner than the one who applies it.
    #[error("this workspace belongs to {named}, and you are {caller}")]
    OtherOwner {
        /// Whom the definition names.
        named: String,
        /// Who applies it.
        caller: String,
        /// Which.
        index: usize,
    },
    /// The server cannot store or deliver it.
    #[error("{detail}")]
    Misfit {
        /// Why.
        detail: String,
        /// Which.
        index: usize,
    },
    /// The owner has as many as they may.
    #[error("{owner} has {most} workspaces, and no more are allowed (--max-workspaces-per-user)")]
    TooMany {
        /// Who.
        owner: String,
        /// How many.
        most: u32,
        /// Which.
        index: usize,
    },
    /// An agent of another workspace of the owner has the token.
    #[error("{agent}: the token belongs to workspace {workspace} already; --name says which workspace is meant")]
    TokenOfAnother {
        /// The agent.
        agent: String,
        /// The other workspace.
        workspace: String,
        /// Which.
        index: usize,
    },
    /// Somebody else's agent has the token.
    #[error("{agent}: the token is in use")]
    TokenTaken {
        /// The agent.
        agent: String,
        /// Which.
        index: usize,
    },
    /// Nothing is wrong: this undoes a rehearsal, and carries what it came to.
    #[error("a dry run changes nothing")]
    Rehearsed(Vec<AppliedWorkspace>),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ApplyError {
    /// Which of the definitions is to blame.
    #[must_use]
    pub fn index(&self) -> Option<usize> {
        match self {
            Self::UnknownOwner { index, .. }
            | Self::NoOwner { index, .. }
            | Self::OtherOwner { index, .. }
            | Self::Misfit { index, .. }
            | Self::TooMany { index, .. }
            | Self::TokenOfAnother { index, .. }
            | Self::TokenTaken { index, .. } => Some(*index),
            Self::Rehearsed(_) | Self::Store(_) => None,
        }
    }
}
