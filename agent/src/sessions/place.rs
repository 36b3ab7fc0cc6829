//! Where the socket is. Agents and those who ask are started by different parents with different variables, so it is a
//! fixed place: `CODER_AGENT_SOCKET`, else `/run/coder-agent/USERNAME/agent.sock`, else a private directory in `/tmp`.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::SocketAddrUnix;
use rustix::process::geteuid;

use crate::config::SOCKET_VARIABLE as VARIABLE;
use crate::sys::users::{Account, UserError};

const RUN: &str = "/run/coder-agent";
const NAME: &str = "agent.sock";

/// Why there is no place for a socket.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PlaceError {
    #[error("{VARIABLE} must be an absolute path, not {0:?}")]
    Relative(PathBuf),
    #[error("cannot make directory {path}")]
    Make { path: PathBuf, source: io::Error },
    #[error("cannot open directory {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("directory {path} must be the user's own and closed to all others; remove it, or set {VARIABLE}")]
    NotPrivate { path: PathBuf },
    #[error(transparent)]
    User(#[from] UserError),
}

/// Where an agent listens.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its socket.
    pub path: PathBuf,
    /// Whether the directory is for this socket alone, and private.
    pub(super) has_own_directory: bool,
}

/// Where to look for an agent.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// In this order.
    pub(super) paths: Vec<PathBuf>,
    /// What is no place to look, and why.
    pub(super) skipped: Vec<PlaceError>,
}

/// Makes the directory in `/run` for `account`, while this process is still root. Where `/run` cannot be written to, the
/// place in `/tmp` serves.
pub fn prepare(account: &Account) {
    let Some(directory) = run_directory(&account.name) else { return };
    // Readable by all: everybody may look whether an agent of theirs is in it.
    let _ = make(Path::new(RUN), 0o755);
    if make(&directory, 0o700).is_ok()
        && let Ok(opened) = open(&directory)
    {
        let ids = (rustix::fs::Uid::from_raw(account.uid), rustix::fs::Gid::from_raw(account.gid));
        // What a unit made before us may be root's, and open.
        let _ = rustix::fs::fchown(&opened, Some(ids.0), Some(ids.1));
        let _ = rustix::fs::fchmod(&opened, Mode::RWXU);
    }
}

/// Where the agent of this process's user listens. `chosen` is the value of `CODER_AGENT_SOCKET`.
pub fn for_agent(chosen: Option<&OsStr>, account: Option<&Account>) -> Result<Place, PlaceError> {
    if let Some(path) = given(chosen)? {
        return Ok(Place { path, has_own_directory: false });
    }
    let own = |directory: PathBuf| Place { path: directory.join(NAME), has_own_directory: true };
    if let Some(account) = account.filter(|account| account.uid == geteuid().as_raw()) {
        if geteuid().is_root() {
            prepare(account);
        }
        if let Some(directory) = run_directory(&account.name).filter(|directory| is_private(directory).is_ok()) {
            return Ok(own(directory));
        }
    }
    let directory = private_directory();
    make_private(&directory)?;
    Ok(own(directory))
}

impl Place {
    /// Makes the directory again where somebody has removed it.
    pub(super) fn make_again(&self) -> Result<(), PlaceError> {
        match self.path.parent() {
            Some(directory) if self.has_own_directory => make_private(directory),
            _ => Ok(()),
        }
    }
}

fn make_private(directory: &Path) -> Result<(), PlaceError> {
    make(directory, 0o700).map_err(|source| PlaceError::Make { path: directory.to_owned(), source })?;
    is_private(directory)
}

/// Where an agent of this process's user may listen. A place that another user may have made is skipped, and does not
/// keep the client from the others.
pub(super) fn to_ask() -> Result<Places, PlaceError> {
    if let Some(chosen) = given(std::env::var_os(VARIABLE).as_deref())? {
        return Ok(Places { paths: vec![chosen], skipped: Vec::new() });
    }
    let mut places = Places::default();
    // The user database may be slow; without agents in /run it need not be asked.
    if Path::new(RUN).exists() {
        match Account::current() {
            Ok(account) => {
                let directory = account.and_then(|account| run_directory(&account.name));
                places.paths.extend(directory.map(|directory| directory.join(NAME)));
            }
            Err(error) => places.skipped.push(error.into()),
        }
    }
    let directory = private_directory();
    if directory.symlink_metadata().is_ok() {
        match is_private(&directory) {
            Ok(()) => places.paths.push(directory.join(NAME)),
            Err(error) => places.skipped.push(error),
        }
    }
    Ok(places)
}

/// The address of a socket. The kernel's longest is 108 bytes, so the directory of a longer one is opened and named by its
/// number, and has to stay open meanwhile.
pub(super) fn address(path: &Path) -> io::Result<(SocketAddrUnix, Option<OwnedFd>)> {
    if let Ok(address) = SocketAddrUnix::new(path) {
        return Ok((address, None));
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(parent, flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok((SocketAddrUnix::new(&short)?, Some(directory)))
}

fn given(chosen: Option<&OsStr>) -> Result<Option<PathBuf>, PlaceError> {
    match chosen.filter(|path| !path.is_empty()).map(PathBuf::from) {
        Some(path) if !path.is_absolute() => Err(PlaceError::Relative(path)),
        chosen => Ok(chosen),
    }
}

/// `None` for a name that would lead elsewhere.
fn run_directory(user: &str) -> Option<PathBuf> {
    let is_name = !user.is_empty() && user != "." && user != ".." && !user.contains('/');
    is_name.then(|| Path::new(RUN).join(user))
}

fn private_directory() -> PathBuf {
    let mut name = OsString::from("coder-agent-");
    name.push(geteuid().as_raw().to_string());
    Path::new("/tmp").join(name)
}

fn make(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// In `/tmp` anybody could have made it, or linked it, before us. Once it is ours nobody else can replace it there.
fn is_private(path: &Path) -> Result<(), PlaceError> {
    let found = open(path).and_then(|directory| directory.metadata());
    let found = match found {
        Ok(found) => found,
        Err(source) if matches!(source.raw_os_error(), Some(ELOOP | ENOTDIR | EACCES)) => {
            return Err(PlaceError::NotPrivate { path: path.to_owned() });
        }
        Err(source) => return Err(PlaceError::Open { path: path.to_owned(), source }),
    };
    let open_to_others = found.permissions().mode() & 0o077;
    let is_private = found.uid() == geteuid().as_raw() && open_to_others == 0;
    if is_private { Ok(()) } else { Err(PlaceError::NotPrivate { path: path.to_owned() }) }
}

const ELOOP: i32 = rustix::io::Errno::LOOP.raw_os_error();
const ENOTDIR: i32 = rustix::io::Errno::NOTDIR.raw_os_error();
const EACCES: i32 = rustix::io::Errno::ACCESS.raw_os_error();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_private_when_it_is_ours_closed_and_no_link() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("place");
        make(&directory, 0o700).unwrap();
        make(&directory, 0o700).unwrap();
        is_private(&directory).unwrap();
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink(&directory, &link).unwrap();
        std::fs::write(scratch.path().join("file"), "").unwrap();
        for other in [link, scratch.path().join("file")] {
            assert!(matches!(is_private(&other), Err(PlaceError::NotPrivate { .. })), "{other:?}");
        }
        for mode in [0o710, 0o701, 0o777] {
            std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(is_private(&directory), Err(PlaceError::NotPrivate { .. })), "{mode:o}");
        }
        assert!(matches!(is_private(&scratch.path().join("none")), Err(PlaceError::Open { .. })));
        if geteuid().is_root() {
            std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700)).unwrap();
            std::os::unix::fs::chown(&directory, Some(65_534), None).unwrap();
            assert!(matches!(is_private(&directory), Err(PlaceError::NotPrivate { .. })));
        }
    }

    #[test]
    fn the_chosen_place_wins_and_is_absolute() {
        assert_eq!(for_agent(Some("/x/y.sock".as_ref()), None).unwrap().path, Path::new("/x/y.sock"));
        assert!(matches!(for_agent(Some("x.sock".as_ref()), None), Err(PlaceError::Relative(_))));
        assert!(given(Some("".as_ref())).unwrap().is_none() && given(None).unwrap().is_none());
    }

    #[test]
    fn a_user_name_is_one_component() {
        assert_eq!(run_directory("alice").unwrap(), Path::new("/run/coder-agent/alice"));
        for name in ["", ".", "..", "../root", "a/b"] {
            assert_eq!(run_directory(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_path_of_any_length_has_an_address() {
        let scratch = tempfile::tempdir().unwrap();
        let deep = scratch.path().join("d".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        let (_, kept) = address(&deep.join("agent.sock")).unwrap();
        assert!(kept.is_some());
        assert!(address(&scratch.path().join("agent.sock")).unwrap().1.is_none());
    }
}
