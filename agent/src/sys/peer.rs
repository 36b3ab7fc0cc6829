//! Who is at the other end of a unix socket, in the kernel's words.
#![expect(unsafe_code, reason = "reading a socket option into a structure of libc's")]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Not in libc for every target. Linux 6.5 and later.
const SO_PEERPIDFD: libc::c_int = 77;
/// A chain of parents that is longer than this is no chain of ours.
const MAX_GENERATIONS: usize = 64;

/// The process that made a connection.
#[derive(Debug)]
pub struct Peer {
    /// Its effective user.
    pub uid: u32,
    pid: i32,
    /// A hold on the process itself: its number may be another's by now.
    pidfd: OwnedFd,
}

/// The user at the other end: who connected, or who listens. Also where the process has ended, or is in another pid
/// namespace.
pub fn uid_of(socket: &impl AsFd) -> io::Result<u32> {
    // SAFETY: as in `Peer::of`.
    let who: libc::ucred = unsafe { option(socket.as_fd().as_raw_fd(), libc::SO_PEERCRED)? };
    Ok(who.uid)
}

/// The process at the other end: who connected, or who listened first. 0 where it is in another pid namespace.
pub fn pid_of(socket: &impl AsFd) -> io::Result<u32> {
    // SAFETY: as in `Peer::of`.
    let who: libc::ucred = unsafe { option(socket.as_fd().as_raw_fd(), libc::SO_PEERCRED)? };
    Ok(who.pid.try_into().unwrap_or_default())
}

impl Peer {
    /// Who connected. An error where the process has ended already or is in another pid namespace.
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        let socket = socket.as_fd().as_raw_fd();
        // SAFETY: `ucred` is three integers; the kernel fills in all of it.
        let who: libc::ucred = unsafe { option(socket, libc::SO_PEERCRED)? };
        let pidfd = match peer_pidfd(socket) {
            Ok(pidfd) => pidfd,
            // Older kernels. The number may have been given to another process between connecting and this line, which
            // takes the whole space of numbers to come round.
            Err(_) => pidfd_open(Pid::from_raw(who.pid).ok_or(io::ErrorKind::NotFound)?, PidfdFlags::empty())?,
        };
        Ok(Self { uid: who.uid, pid: who.pid, pidfd })
    }

    /// Whether the process is `ancestor`, or a child of a child … of it, and still there.
    #[must_use]
    pub fn descends_from(&self, ancestor: u32) -> bool {
        // Asked last: while it lives its number is its own, so what was read before was read of this process.
        i32::try_from(ancestor).is_ok_and(|ancestor| is_descendant(self.pid, ancestor)) && self.is_alive()
    }

    fn is_alive(&self) -> bool {
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(poll(&mut ended, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
    }
}

fn peer_pidfd(socket: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: an integer, filled in by the kernel.
    let fd: RawFd = unsafe { option(socket, SO_PEERPIDFD)? };
    // SAFETY: the kernel just made this descriptor for us; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// # Safety
/// Any bytes are a valid `T`, and the kernel answers `name` with one.
unsafe fn option<T>(socket: RawFd, name: libc::c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: `value` has room for `len` bytes, and both live through the call.
    let done = unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, name, value.as_mut_ptr().cast(), &raw mut len) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed before, and valid whatever its bytes are, as the caller promises.
    Ok(unsafe { value.assume_init() })
}

fn is_descendant(pid: i32, ancestor: i32) -> bool {
    let (mut next, mut born) = (pid, u64::MAX);
    for _ in 0..MAX_GENERATIONS {
        if next == ancestor {
            return true;
        }
        let Some(stat) = Stat::read(next) else { return false };
        // A parent is never younger than its child: if it seems so, its number was given away while we looked.
        if stat.started > born || stat.parent <= 1 {
            return false;
        }
        (next, born) = (stat.parent, stat.started);
    }
    false
}

struct Stat {
    parent: i32,
    /// Clock ticks after the boot.
    started: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name, in parentheses, may hold anything, parentheses too.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        Some(Self { parent, started: fields.nth(17)?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::parent_id;

    use super::*;

    #[test]
    fn a_peer_descends_from_itself_and_its_parent_only() {
        let (here, _there) = UnixStream::pair().unwrap();
        let peer = Peer::of(&here).unwrap();
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert!(peer.descends_from(std::process::id()));
        assert!(peer.descends_from(parent_id()));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(!peer.descends_from(child.id()));
        assert!(is_descendant(i32::try_from(child.id()).unwrap(), i32::try_from(std::process::id()).unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let line = "7 (a) b) (c) S 3 7 7 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1 1";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.parent, stat.started), (3, 4242));
        assert!(Stat::parse("7 (sh) S").is_none());
    }
}
