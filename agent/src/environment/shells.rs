//! Variables that keep a shell of the workspace from starting.
//!
//! With `OPTIND=x` each `/bin/sh` that is dash ends at once, and with it everything that starts a shell: `system()`,
//! make, git's hooks, login files. So no launch gets such a variable, whatever its program is.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use protocol::rules::Shell;

/// Starts half of what people type, and much of what programs start.
const SH: &str = "/bin/sh";

/// A shell that the workspace's programs are started by.
#[derive(Clone, Debug)]
pub struct Interpreter {
    path: PathBuf,
    shell: Shell,
}

impl Interpreter {
    /// The shell at `path`; `None` where it is none whose ways are known. Looks at the disk.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        let real = std::fs::canonicalize(path).ok()?;
        let shell = Shell::of_executable(real.file_name()?.to_str()?)?;
        Some(Self { path: path.to_owned(), shell })
    }

    /// `/bin/sh` and the shell of the user. Looks at the disk.
    #[must_use]
    pub fn of_workspace(users: &Path) -> Vec<Self> {
        [Path::new(SH), users].into_iter().filter_map(Self::at).collect()
    }

    /// What people know it by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is bash.
    #[must_use]
    pub fn is_bash(&self) -> bool {
        self.shell == Shell::Bash
    }

    /// Whether it ends at once when it is started with this variable.
    #[must_use]
    pub fn ends_with(&self, name: &OsStr, value: &[u8]) -> bool {
        name.to_str().is_some_and(|name| self.shell.ends_with(name, value))
    }
}

#[cfg(test)]
impl Interpreter {
    /// One that need not be there.
    pub(super) fn named(path: &str, shell: Shell) -> Self {
        Self { path: path.into(), shell }
    }
}
