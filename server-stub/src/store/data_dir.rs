//! The directory that holds the database, and by default the key.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use rustix::fs::{Access, access};

/// A data directory that exists, belongs to us, is closed to others and can be written.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: PathBuf,
}

/// Why a directory cannot be the data directory.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// There is no home to derive the default from.
    #[error("no home directory to keep data in; give --data-dir")]
    NoDefault,
    /// It could not be made.
    #[error("cannot create data directory {}", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be looked at.
    #[error("cannot inspect data directory {}", path.display())]
    Inspect {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is not a directory; give another --data-dir", path.display())]
    NotADirectory {
        /// What was given.
        path: PathBuf,
    },
    /// It belongs to someone else. Files made by the wrong user would lock the server out of its own database.
    #[error("data directory {} belongs to {owner}; run this as that user, for example with: sudo -u {owner} …", path.display())]
    Owner {
        /// The directory.
        path: PathBuf,
        /// User name, or the number where it has none.
        owner: String,
    },
    /// Others work in it, `/tmp` for example: closing it would lock them out.
    #[error(
        "{} is open to other users and holds other things than a server's data; give --data-dir a directory of its own (mode 0700)",
        path.display()
    )]
    Shared {
        /// The directory.
        path: PathBuf,
    },
    /// Its mode lets others in and could not be mended.
    #[error("data directory {} is open to other users and its mode cannot be changed", path.display())]
    Mode {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing can be written there.
    #[error("data directory {} is not writable", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A lock file could not be used.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DataDir {
    /// `/var/lib/coder-server` for root, else `$XDG_DATA_HOME/coder-server`.
    pub fn default_path() -> Result<PathBuf, DataDirError> {
        if Uid::effective().is_root() {
            return Ok("/var/lib/coder-server".into());
        }
        dirs::data_dir().map(|base| base.join("coder-server")).ok_or(DataDirError::NoDefault)
    }

    /// Checks the directory, and makes it (0700) where it is missing.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let path =
            std::path::absolute(path).map_err(|source| DataDirError::Inspect { path: path.to_owned(), source })?;
        let found = match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let create = DirBuilder::new().recursive(true).mode(0o700).create(&path);
                create.map_err(|source| DataDirError::Create { path: path.clone(), source })?;
                fs::metadata(&path)
            }
            found => found,
        };
        let found = found.map_err(|source| match source.kind() {
            ErrorKind::NotADirectory => DataDirError::NotADirectory { path: path.clone() },
            _ => DataDirError::Inspect { path: path.clone(), source },
        })?;
        if !found.is_dir() {
            return Err(DataDirError::NotADirectory { path });
        }
        if found.uid() != Uid::effective().as_raw() {
            return Err(DataDirError::Owner { path, owner: name_of(found.uid()) });
        }
        if found.mode() & 0o077 != 0 {
            if is_for_others(&path).map_err(|source| DataDirError::Inspect { path: path.clone(), source })? {
                return Err(DataDirError::Shared { path });
            }
            fs::set_permissions(&path, Permissions::from_mode(0o700))
                .map_err(|source| DataDirError::Mode { path: path.clone(), source })?;
            tracing::warn!(path = %path.display(), "data directory was open to other users; set its mode to 0700");
        }
        access(&path, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|errno| DataDirError::NotWritable { path: path.clone(), source: errno.into() })?;
        Ok(Self { path })
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        Self::database_in(&self.path)
    }

    /// The database of the data directory at `path`.
    #[must_use]
    pub(crate) fn database_in(path: &Path) -> PathBuf {
        path.join("coder.db")
    }

    /// Where the encryption key is kept unless told otherwise.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.path.join("encryption.key")
    }

    /// Held, shared, by everything that has the database open; none while it is being replaced.
    pub(crate) fn share(&self) -> Result<Option<File>, DataDirError> {
        let (path, file) = self.lock_file("in-use.lock")?;
        taken(path, file.try_lock_shared()).map(|taken| taken.then_some(file))
    }

    /// Held while the database is replaced; none when something has it open.
    pub(crate) fn seize(&self) -> Result<Option<File>, DataDirError> {
        let (path, file) = self.lock_file("in-use.lock")?;
        taken(path, file.try_lock()).map(|taken| taken.then_some(file))
    }

    /// Held by whoever rotates keys, so that two rotations do not undo each other; none when one is under way.
    pub(crate) fn rotate(&self) -> Result<Option<File>, DataDirError> {
        let (path, file) = self.lock_file("rotate.lock")?;
        taken(path, file.try_lock()).map(|taken| taken.then_some(file))
    }

    /// Held by the one server of this directory. The error of `Ok(Err(pid))` is the process that has it already.
    pub(crate) fn serve(&self) -> Result<Result<File, String>, DataDirError> {
        let (path, mut file) = self.lock_file("serve.lock")?;
        let failed = |source| DataDirError::Lock { path: path.clone(), source };
        if !taken(path.clone(), file.try_lock())? {
            let mut pid = String::new();
            Read::take(file, 20).read_to_string(&mut pid).map_err(failed)?;
            return Ok(Err(pid));
        }
        file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Ok(file))
    }

    fn lock_file(&self, name: &str) -> Result<(PathBuf, File), DataDirError> {
        let path = self.path.join(name);
        let open = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        match open {
            Ok(file) => Ok((path, file)),
            Err(source) => Err(DataDirError::Lock { path, source }),
        }
    }
}

/// Whether a directory has something in it and nothing of a server.
fn is_for_others(path: &Path) -> io::Result<bool> {
    let mut others = false;
    for entry in fs::read_dir(path)? {
        match entry?.file_name().to_str() {
            Some("coder.db" | "encryption.key" | "in-use.lock") => return Ok(false),
            // A new file system has it.
            Some("lost+found") => {}
            _ => others = true,
        }
    }
    Ok(others)
}

fn taken(path: PathBuf, attempt: Result<(), TryLockError>) -> Result<bool, DataDirError> {
    match attempt {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(DataDirError::Lock { path, source }),
    }
}

/// The user's name, for a message.
pub(crate) fn name_of(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| format!("#{uid}"), |user| user.name)
}
