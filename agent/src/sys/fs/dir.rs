//! One open directory, and what can be done to its entries.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{Entry, FileId, Kind, Trust, lock};

/// An open directory. It stays the same one when its path is renamed or replaced by a link.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    entry: Entry,
    /// One that may only be searched can be worked in, but neither listed nor flushed.
    readable: bool,
    /// What others can do about its entries.
    trust: Trust,
    /// The same of those entries that belong to us or to root: a sticky bit protects them.
    above: Trust,
}

impl Dir {
    /// The root directory. `above` says what others can do about the way that led to it.
    pub(super) fn root(above: Trust) -> io::Result<Self> {
        let (fd, readable) = open_one(CWD, OsStr::new("/"))?;
        let entry = Entry::of(&fd)?;
        let (trust, above) = Trust::judge(&entry, &entry, above);
        Ok(Self { fd, entry, readable, trust, above })
    }

    /// The root directory, reached by an absolute link in this directory.
    pub(super) fn root_behind_link(&self) -> io::Result<Self> {
        Self::root(self.above)
    }

    /// The same directory once more, with a descriptor of its own.
    pub fn again(&self) -> io::Result<Self> {
        let (fd, readable) = open_one(&self.fd, OsStr::new("."))?;
        Ok(Self { fd, readable, ..*self })
    }

    /// Opens the directory `name` in this one; a link is an error.
    pub(super) fn step(&self, name: &OsStr) -> io::Result<Self> {
        let (fd, readable) = open_one(&self.fd, name)?;
        let entry = Entry::of(&fd)?;
        let (trust, above) = Trust::judge(&entry, &self.entry, self.above);
        Ok(Self { fd, entry, readable, trust, above })
    }

    /// Where the link `name` on the way points; an error where it is no link, or another user may have put it there.
    pub fn read_own_link(&self, name: &OsStr) -> io::Result<PathBuf> {
        // By descriptor, so that the link that is judged is the one that is read.
        let fd = rustix::fs::openat(&self.fd, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let entry = Entry::of(&fd)?;
        if entry.kind != Kind::Symlink {
            return Err(Errno::NOTDIR.into());
        }
        if self.is_planted(&entry) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "a link on the way belongs to another user in a directory where others can create files",
            ));
        }
        let target = rustix::fs::readlinkat(&fd, "", Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// Makes the directory `name` in this one, 0700. False if the name is taken, whatever has it.
    pub(super) fn make_child(&self, name: &OsStr) -> io::Result<bool> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
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

/// One descriptor for everything, so that flushing at the end cannot fail for want of another. Opened for reading where
/// that is allowed, which also mounts what automounts.
fn open_one(base: impl AsFd + Copy, name: &OsStr) -> io::Result<(OwnedFd, bool)> {
    let open = |access| {
        let flags = access | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(base, name, flags, Mode::empty())
    };
    match open(OFlags::RDONLY) {
        Err(Errno::ACCESS) => Ok((open(OFlags::PATH)?, false)),
        opened => Ok((opened?, true)),
    }
}
