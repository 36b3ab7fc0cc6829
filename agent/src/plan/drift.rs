use std::fmt;
use std::io;

use crate::sys::fs::{FileId, Kind};

/// How a file differs from what it was when it was delivered.
#[derive(Debug)]
pub enum Drift {
    /// It is not there.
    Gone,
    /// Something else took its name.
    Replaced {
        /// What.
        kind: Kind,
        /// Whether it holds the same content.
        same: bool,
    },
    /// Its content was changed.
    Edited,
    /// Its mode was changed.
    Chmodded {
        /// Permission bits when it was delivered.
        from: u32,
        /// Permission bits now.
        to: u32,
    },
    /// Nothing is known of it.
    Unknown(io::Error),
}

/// What a path leads to, held against what was delivered there.
#[derive(Debug)]
pub struct Standing {
    /// The file behind it.
    pub id: Option<FileId>,
    /// Its names.
    pub links: u64,
    /// Whether a link at the end of the path leads to it.
    pub linked: bool,
    /// `None` where it is as it was delivered.
    pub drift: Option<Drift>,
}

impl Standing {
    /// Where there is no file to speak of.
    #[must_use]
    pub fn without_file(drift: Drift) -> Self {
        Self { id: None, links: 0, linked: false, drift: Some(drift) }
    }
}

impl Drift {
    /// One word for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Replaced { .. } => "replaced",
            Self::Edited => "edited",
            Self::Chmodded { .. } => "chmodded",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// Goes on after the name of the file.
impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("gone"),
            Self::Replaced { kind: Kind::File, same: true } => {
                f.write_str("replaced by another file with the same content")
            }
            Self::Replaced { kind: Kind::File, .. } => f.write_str("replaced by another file"),
            Self::Replaced { kind, .. } => write!(f, "replaced by a {kind}"),
            Self::Edited => f.write_str("edited"),
            Self::Chmodded { from, to } => write!(f, "chmodded from {from:04o} to {to:04o}"),
            Self::Unknown(error) => write!(f, "unknown: {error}"),
        }
    }
}
