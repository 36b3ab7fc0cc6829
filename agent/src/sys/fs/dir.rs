use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{Entry, FileId, Kind, Trust, lock};

/// An open directory. It stays the same one when its path is renamed or replaced by a link.
#[derive(Debug)]
pub struct Dir {
    pub(super) fd: OwnedFd,
    pub(super) entry: Entry,
    /// One that may only be searched can be worked in, but neither listed nor flushed.
    pub(super) readable: bool,
    /// What others can do about its entries.
    pub(super) trust: Trust,
    /// The same of those entries that belong to us or to root: a sticky bit protects them.
    pub(super) above: Trust,
}

impl Dir {
    /// Opens a directory by an absolute path and makes what is missing of it, 0700. Also returns the directories that
    /// got a new entry by that, which are to be flushed.
    pub fn make(path: &Path) -> io::Result<(Self, Vec<Self>)> {
        let (mut dir, missing) = Self::open_deepest(path)?;
        let mut changed = Vec::new();
        for name in missing {
            let (next, made) = dir.make_one(&name)?;
            let parent = std::mem::replace(&mut dir, next);
            if made {
                changed.push(parent);
            }
        }
        Ok((dir, changed))
    }

    fn make_one(&self, name: &OsStr) -> io::Result<(Self, bool)> {
        let made = match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) => true,
            // Somebody else was faster, or it is a link to nowhere, which opening it then says.
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        // What we made ourselves is no link; if it is one now, it was planted in between.
        let dir = if made { self.step(name)? } else { self.open_from(Path::new(name))? };
        Ok((dir, made))
    }

    /// What it is, as it was when it was opened.
    #[must_use]
    pub fn entry(&self) -> Entry {
        self.entry
    }

    /// Which directory it is.
    #[must_use]
    pub fn id(&self) -> FileId {
        self.entry.id
    }

    /// What `name` is, itself and not what it may link to. `None` where there is nothing.
    pub fn look(&self, name: &OsStr) -> io::Result<Option<Entry>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What other users can do about it.
    #[must_use]
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// Whether another user may have planted an entry for us: others may create files here (`/tmp`), and it belongs to
    /// neither us, root, nor the owner of this directory. The kernel asks the same (`fs.protected_symlinks` and
    /// `_regular`), but only of what it opens by path, and only where the sticky bit is set.
    #[must_use]
    pub fn is_planted(&self, entry: &Entry) -> bool {
        let trusted = [self.entry.uid, rustix::process::geteuid().as_raw(), 0];
        self.trust != Trust::Private && !trusted.contains(&entry.uid)
    }

    /// Opens the file that `entry` describes, for reading; an error where it is another one by now.
    pub fn open_to_read(&self, name: &OsStr, entry: &Entry) -> io::Result<File> {
        self.open_same(name, entry, OFlags::RDONLY)
    }

    /// As [`Dir::open_to_read`], for reading and writing. Nothing is truncated.
    pub fn open_to_rewrite(&self, name: &OsStr, entry: &Entry) -> io::Result<File> {
        // A file may be writable and not readable; then there is no old content to save.
        self.open_same(name, entry, OFlags::RDWR).or_else(|_| self.open_same(name, entry, OFlags::WRONLY))
    }

    fn open_same(&self, name: &OsStr, entry: &Entry, access: OFlags) -> io::Result<File> {
        // NONBLOCK: a FIFO put there in between must not block us until somebody opens its other end.
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
        let opened = Entry::of(&fd)?;
        if opened.id != entry.id || opened.kind != Kind::File {
            let kind = io::ErrorKind::StaleNetworkFileHandle;
            return Err(io::Error::new(kind, "it was replaced while it was being opened"));
        }
        Ok(File::from(fd))
    }

    /// Creates a file, 0600. An error where anything of that name exists.
    pub fn create(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)?))
    }

    /// Renames within this directory, over what is there.
    pub fn rename_over(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Renames within this directory; an error where `to` exists.
    pub fn rename_new(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        match rustix::fs::renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE) {
            // NFS and some others: a second name is as exclusive, if not in one step.
            Err(Errno::INVAL | Errno::NOSYS) => self.link_new(from, to).and_then(|()| self.remove(from)),
            renamed => Ok(renamed?),
        }
    }

    /// Gives a file a second name within this directory; an error where `to` exists. A file system without links has no
    /// more than a look before a rename.
    pub fn link_new(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        match rustix::fs::linkat(&self.fd, from, &self.fd, to, AtFlags::empty()) {
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) if self.look(to)?.is_none() => {
                self.rename_over(from, to)
            }
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => Err(io::ErrorKind::AlreadyExists.into()),
            linked => Ok(linked?),
        }
    }

    /// Removes a file.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    /// The names in it that start with `prefix`.
    pub fn names(&self, prefix: &str) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        if !self.readable {
            return Err(Errno::ACCESS.into());
        }
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name.starts_with(prefix.as_bytes()) {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        Ok(names)
    }

    /// Takes a lock on it that goes with this value, as [`lock`].
    pub fn lock(&self, patience: Duration) -> io::Result<bool> {
        lock(&self.fd, patience)
    }

    /// The same as a file, to be flushed among others; `None` where it cannot be.
    #[must_use]
    pub fn into_file(self) -> Option<File> {
        self.readable.then(|| File::from(self.fd))
    }

    /// Makes its entries durable. An error of kind `PermissionDenied` where we may not read it.
    pub fn flush(&self) -> io::Result<()> {
        if !self.readable {
            return Err(Errno::ACCESS.into());
        }
        match rustix::fs::fsync(&self.fd) {
            // Some file systems (9p, FUSE) have no flush of directories; their renames are as durable as they get.
            Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            flushed => Ok(flushed?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_path_of_many_missing_components_is_made_on_a_small_stack() {
        const DEPTH: usize = 300;
        const SMALL: usize = 128 * 1024;
        let home = tempfile::tempdir().unwrap();
        let path: PathBuf = std::iter::once(home.path()).chain([Path::new("d"); DEPTH]).collect();
        let make = {
            let path = path.clone();
            move || Dir::make(&path).map(|(dir, changed)| (dir.id(), changed.len()))
        };
        let (id, changed) = std::thread::Builder::new().stack_size(SMALL).spawn(make).unwrap().join().unwrap().unwrap();
        assert_eq!((id, changed), (Dir::open(&path).unwrap().id(), DEPTH));
        assert!(Dir::make(&path).unwrap().1.is_empty());
    }
}
