use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use protocol::secret::Secret;
use uuid::Uuid;

use crate::environment::Variables;
use crate::sys::private_dir;

/// Directories in which scripts keep things from one start to the next: one for each script, and one for programs, which
/// is in everybody's `PATH`.
#[derive(Clone, Debug)]
pub struct DataDirs {
    root: PathBuf,
    bin: PathBuf,
}

/// There is no such directory that is ours alone.
#[derive(Debug, thiserror::Error)]
#[error("cannot use script data directory {path}")]
pub struct DataDirError {
    path: PathBuf,
    source: io::Error,
}

impl DataDirs {
    /// Makes what is missing below the first of `bases` that can be used. An error of the first where none can.
    pub fn prepare(bases: &[PathBuf]) -> Result<Self, DataDirError> {
        let mut failure = None;
        for base in bases {
            match Self::below(base) {
                Ok(dirs) => return Ok(dirs),
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        Err(failure.unwrap_or_else(|| DataDirError { path: PathBuf::new(), source: io::ErrorKind::NotFound.into() }))
    }

    fn below(base: &Path) -> Result<Self, DataDirError> {
        let root = own(base.join("coder-script-data"))?;
        let bin = own(root.join("bin"))?;
        Ok(Self { root, bin })
    }

    /// Where scripts put programs.
    #[must_use]
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// What a script is told of its directories. They are made again where somebody has removed them.
    pub(super) fn variables(&self, source: Uuid) -> Result<Variables, DataDirError> {
        own(self.root.clone())?;
        let bin = own(self.bin.clone())?;
        let data = own(self.root.join(source.to_string()))?;
        let variable =
            |name: &str, path: &Path| (OsString::from(name), Secret::new(path.as_os_str().as_encoded_bytes().to_vec()));
        Ok(vec![variable("CODER_SCRIPT_DATA_DIR", &data), variable("CODER_SCRIPT_BIN_DIR", &bin)])
    }
}

/// Another user's programs must not get into our `PATH`.
fn own(path: PathBuf) -> Result<PathBuf, DataDirError> {
    match private_dir::make(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(DataDirError { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn directories_are_made_private_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("new");
        let bases = ["/proc/no/such".into(), base.clone()];
        let dirs = DataDirs::prepare(&bases).unwrap();
        assert_eq!(dirs.bin(), base.join("coder-script-data/bin"));
        let id = Uuid::from_u128(7);
        fs::remove_dir_all(&base).unwrap();
        let variables = dirs.variables(id).unwrap();
        let data = base.join("coder-script-data").join(id.to_string());
        assert_eq!(variables[0].1.expose_str().unwrap(), data.to_str().unwrap());
        assert_eq!(DataDirs::prepare(&bases).unwrap().bin(), dirs.bin());
        for path in [&base, &data, dirs.bin()] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
        }
    }

    #[test]
    fn what_others_made_or_may_change_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("coder-script-data");
        let refused = || DataDirs::prepare(&[dir.path().to_owned(), "/proc/no/such".into()]).unwrap_err();

        symlink(tempfile::tempdir().unwrap().path(), &root).unwrap();
        assert_eq!(refused().path, root);
        fs::remove_file(&root).unwrap();
        fs::write(&root, "").unwrap();
        assert_eq!(refused().source.to_string(), "it is no directory");
        fs::remove_file(&root).unwrap();
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, PermissionsExt::from_mode(0o777)).unwrap();
        assert_eq!(refused().source.to_string(), "other users may write to it");
        if rustix::process::geteuid().is_root() {
            fs::set_permissions(&root, PermissionsExt::from_mode(0o700)).unwrap();
            std::os::unix::fs::chown(&root, Some(65_534), None).unwrap();
            assert_eq!(refused().source.to_string(), "it belongs to another user");
        }
    }
}
