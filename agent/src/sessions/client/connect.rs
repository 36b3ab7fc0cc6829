//! The first agent that listens.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::ClientError;
use super::notice::Notice;
use crate::sessions::place;
use crate::sys::peer;

/// An agent listens this soon after it has made its socket.
const ABOUT_TO_LISTEN: Duration = Duration::from_secs(1);
/// Between two tries at such a socket.
const PAUSE: Duration = Duration::from_millis(5);

/// Connects to the first agent that listens, if it is the user's own or root's: anybody else could make up an environment
/// for us, and read the one we send.
pub(super) fn connect(patience: Duration, notice: &mut Notice) -> Result<(UnixStream, PathBuf), ClientError> {
    let place::Places { paths, mut skipped } = place::to_ask()?;
    let mut looked = Vec::new();
    let mut failure = None;
    for path in paths {
        match connect_to(&path, patience, notice) {
            Ok(stream) => {
                let own = rustix::process::geteuid().as_raw();
                return match peer::uid_of(&stream) {
                    Ok(uid) if uid == own || uid == 0 => Ok((stream, path)),
                    Ok(uid) => Err(ClientError::Stranger { path, uid }),
                    Err(source) => Err(ClientError::Connect { path, source }),
                };
            }
            // Never started, or ended without an end.
            Err(Errno::NOENT | Errno::CONNREFUSED | Errno::NOTDIR) => looked.push(path),
            // The agent may be in the next place.
            Err(error) => drop(failure.get_or_insert(ClientError::Connect { path, source: error.into() })),
        }
    }
    match failure {
        Some(failure) => Err(failure),
        // One place alone, which is not to be used: that is the whole answer.
        None if looked.is_empty() && !skipped.is_empty() => Err(skipped.swap_remove(0).into()),
        None => {
            let skipped = skipped.iter().map(ToString::to_string).collect();
            Err(ClientError::NoAgent { looked, skipped })
        }
    }
}

fn connect_to(path: &Path, patience: Duration, notice: &mut Notice) -> Result<UnixStream, Errno> {
    loop {
        match connect_within(path, notice.left().unwrap_or(patience).min(patience)) {
            // The backlog is full, and the time until somebody is told has passed.
            Err(Errno::AGAIN) if notice.left().is_some() => {
                notice
                    .tell_when_due(|| format!("for the agent on {}, which has many others to answer", path.display()));
            }
            Err(Errno::CONNREFUSED) if was_made_just_now(path) => thread::sleep(PAUSE),
            done => return done,
        }
    }
}

/// The kernel refuses connections between the moments in which an agent makes its socket and listens on it.
fn was_made_just_now(path: &Path) -> bool {
    let Ok(socket) = path.symlink_metadata() else { return false };
    let changed = u64::try_from(socket.ctime()).unwrap_or_default();
    let changed = SystemTime::UNIX_EPOCH + Duration::new(changed, socket.ctime_nsec().try_into().unwrap_or_default());
    // A file system that is ahead of our clock is one of another machine.
    SystemTime::now().duration_since(changed).is_ok_and(|age| age < ABOUT_TO_LISTEN)
}

fn connect_within(path: &Path, limit: Duration) -> Result<UnixStream, Errno> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Before connecting: it also bounds the wait for a place in a full backlog. Zero would mean for ever.
    set_socket_timeout(&socket, Timeout::Send, Some(limit.max(PAUSE)))?;
    let (address, _kept) =
        place::address(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket.into())
}
