use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use protocol::secret::Secret;
use uuid::Uuid;

use crate::environment::Variables;

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
    /// Makes what is missing below `base`, by default a directory of this user's own among the temporary files.
    pub fn prepare(base: Option<&Path>) -> Result<Self, DataDirError> {
        let own_base = || {
            let uid = rustix::process::geteuid().as_raw();
            own(std::env::temp_dir().join(format!("coder-agent-{uid}")))
        };
        let base = base.map_or_else(own_base, |base| Ok(base.to_owned()))?;
        let root = own(base.join("coder-script-data"))?;
        let bin = own(root.join("bin"))?;
        Ok(Self { root, bin })
    }

    /// Where scripts put programs.
    #[must_use]
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// What a script is told of its directories; its own is made.
    pub(super) fn variables(&self, source: Uuid) -> Result<Variables, DataDirError> {
        let data = own(self.root.join(source.to_string()))?;
        let variable =
            |name: &str, path: &Path| (OsString::from(name), Secret::new(path.as_os_str().as_encoded_bytes().to_vec()));
        Ok(vec![variable("CODER_SCRIPT_DATA_DIR", &data), variable("CODER_SCRIPT_BIN_DIR", &self.bin)])
    }
}

/// A directory of ours that nobody else can write to. Its place may be one where everybody can make such a directory:
/// another user's programs must not get into our `PATH`.
fn own(path: PathBuf) -> Result<PathBuf, DataDirError> {
    match make(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(DataDirError { path, source }),
    }
}

fn make(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = path.symlink_metadata()?;
    let refused = |reason: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    if !found.is_dir() {
        return refused("it is no directory");
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return refused("it belongs to another user");
    }
    if found.mode() & 0o022 != 0 {
        return refused("other users may write to it");
    }
    Ok(())
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
        let dirs = DataDirs::prepare(Some(&base)).unwrap();
        assert_eq!(dirs.bin(), base.join("coder-script-data/bin"));
        let id = Uuid::from_u128(7);
        let variables = DataDirs::prepare(Some(&base)).unwrap().variables(id).unwrap();
        let data = base.join("coder-script-data").join(id.to_string());
        assert_eq!(variables[0].1.expose_str().unwrap(), data.to_str().unwrap());
        for path in [&base, &data, dirs.bin()] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
        }
    }

    #[test]
    fn what_others_made_or_may_change_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("coder-script-data");
        let refused = || DataDirs::prepare(Some(dir.path())).unwrap_err();

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
