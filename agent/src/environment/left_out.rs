use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::Origin;

/// A variable that a launch does not get; a lower layer's value of that name is used, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub name: OsString,
    /// The layer it is left out of.
    pub origin: Origin,
    /// Why.
    pub reason: Reason,
}

/// Why a launch does not get a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The kernel would refuse the launch.
    TooLarge {
        /// Bytes of `NAME=value` with its end.
        bytes: usize,
        /// What they do not fit into: the kernel's limit for one variable or for all.
        limit: usize,
    },
    /// This shell would end at once.
    EndsShell(PathBuf),
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "variable {} is left out: ", self.name.display())?;
        match &self.reason {
            Reason::TooLarge { bytes, limit } => write!(f, "it takes {bytes} bytes and does not fit into {limit}"),
            Reason::EndsShell(shell) => write!(f, "{} does not start with this value of it", shell.display()),
        }
    }
}
