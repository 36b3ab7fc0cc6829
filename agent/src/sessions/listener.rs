use std::convert::Infallible;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

use super::lock::{Lock, NotLocked};
use super::place::{self, Place};
use super::serve::{Host, serve};
use super::state::Sessions;
use crate::errors::chain;
use crate::sys::peer;

/// Connections that are served at once, most of which wait for the boot. Each holds a descriptor, of which a process
/// usually has 1,024; more of them wait in the backlog.
const MAX_CONNECTIONS: usize = 256;
/// Connections that the kernel keeps for us; what comes then waits in its connect.
const BACKLOG: i32 = 1024;
/// Descriptors or memory are short: a pause, or this would be a busy loop.
const PAUSE: Duration = Duration::from_millis(100);
/// Refusals are recorded at most this often, or another user could fill the log.
const RECORD_EVERY: Duration = Duration::from_secs(10);

/// systemd-tmpfiles locks a directory, too, for as long as it cleans there.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks whether the socket is still there: cleaners of /tmp and users remove it by name.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The socket of this user's agent, and the lock that makes it the only one.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    /// Device and inode of the socket's name.
    name: (u64, u64),
    place: Place,
    lock: Lock,
}

/// Why the agent cannot listen.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ListenError {
    #[error("another agent of this user runs already{}, and has {path}", process(*.pid))]
    Taken { path: PathBuf, pid: Option<u32> },
    #[error("cannot lock {path}")]
    Lock { path: PathBuf, source: io::Error },
    #[error("cannot listen on {path}")]
    Listen { path: PathBuf, source: io::Error },
    #[error("there is no place for a socket")]
    Place(#[from] place::PlaceError),
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" as process {pid}"))
}

impl Listener {
    /// Listens at `place`; what a dead agent left there is replaced.
    pub fn bind(place: Place) -> Result<Self, ListenError> {
        Self::bind_within(place, LOCK_PATIENCE)
    }

    fn bind_within(place: Place, patience: Duration) -> Result<Self, ListenError> {
        let path = &place.path;
        let taken = || ListenError::Taken { path: path.clone(), pid: holder(path).filter(|pid| *pid != 0) };
        let lock = match Lock::take(&place, Duration::ZERO) {
            Err(NotLocked::Held) if holder(path).is_none() => Lock::take(&place, patience),
            done => done,
        };
        let lock = lock.map_err(|error| match error {
            NotLocked::Held => taken(),
            NotLocked::Failed(path, source) => ListenError::Lock { path, source },
        })?;
        // An agent whose lock somebody has removed still answers.
        if holder(path).is_some() {
            return Err(taken());
        }
        let listening = listen(path).and_then(|socket| Ok((socket, name_of(path)?)));
        let (socket, name) = listening.map_err(|source| ListenError::Listen { path: path.clone(), source })?;
        Ok(Self { socket, name, place, lock })
    }

    /// Answers whoever connects, each in a task of its own, and listens again where somebody has removed the socket.
    /// Needs a tokio runtime.
    pub async fn serve(mut self, sessions: Arc<Sessions>, host: Arc<impl Host>) -> io::Result<Infallible> {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut refusals = Refusals::default();
        loop {
            let listener = tokio::net::UnixListener::from_std(self.socket.try_clone()?)?;
            info!(socket = %self.place.path.display(), "listening for sessions");
            tokio::select! {
                never = accept(&listener, &slots, &mut refusals, &sessions, &host) => match never {},
                () = self.removed() => {}
            }
            drop(listener);
            self = self.again().await;
        }
    }

    async fn removed(&self) {
        while name_of(&self.place.path).ok() == Some(self.name) && self.lock.is_there() {
            sleep(LOOK_EVERY).await;
        }
    }

    /// Listens once more in the same place.
    async fn again(self) -> Self {
        let place = self.place.clone();
        warn!(socket = %place.path.display(), "the socket for sessions was removed; listening again");
        // Nobody can find it any more, and its lock would be in our own way.
        drop(self);
        let mut told = false;
        loop {
            let made = place.make_again().map_err(ListenError::from);
            match made.and_then(|()| Self::bind_within(place.clone(), Duration::ZERO)) {
                Ok(listener) => return listener,
                Err(error) if !told => {
                    error!("cannot listen again, trying every {LOOK_EVERY:?}: {}", chain(&error));
                    told = true;
                }
                Err(_) => {}
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if name_of(&self.place.path).ok() == Some(self.name) {
            let _ = std::fs::remove_file(&self.place.path);
        }
    }
}

async fn accept(
    listener: &tokio::net::UnixListener,
    slots: &Arc<Semaphore>,
    refusals: &mut Refusals,
    sessions: &Arc<Sessions>,
    host: &Arc<impl Host>,
) -> Infallible {
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { continue };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                warn!(%error, "cannot accept a session; trying again");
                sleep(PAUSE).await;
                continue;
            }
        };
        if !refusals.refuses(&stream) {
            let (sessions, host) = (sessions.clone(), host.clone());
            tokio::spawn(async move {
                if let Err(error) = serve(stream, &sessions, &*host).await {
                    debug!(%error, "a connection of a session ended early");
                }
                drop(slot);
            });
        }
    }
}

/// Binds under the final name: systemd-tmpfiles spares sockets that live, and knows them by the name they were bound to.
/// Nobody can connect before the socket is closed to others, since nobody can before it listens.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let (address, _kept) = place::address(path)?;
    rustix::net::bind(&socket, &address)?;
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

fn name_of(path: &Path) -> io::Result<(u64, u64)> {
    path.symlink_metadata().map(|it| (it.dev(), it.ino()))
}

/// The process that listens on `path`, where one does: 0 where its number is not known.
fn holder(path: &Path) -> Option<u32> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
    let (address, _kept) = place::address(path).ok()?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => Some(peer::pid_of(&socket).unwrap_or_default()),
        // It lives, and has many to answer.
        Err(Errno::AGAIN) => Some(0),
        Err(_) => None,
    }
}

/// Who is no user of ours, and when that was last recorded.
#[derive(Default)]
struct Refusals {
    recorded: Option<Instant>,
    since: u32,
}

impl Refusals {
    /// The permissions of the socket keep others out already; this is for where somebody has loosened them.
    fn refuses(&mut self, stream: &UnixStream) -> bool {
        let own = rustix::process::geteuid().as_raw();
        let failure = match peer::uid_of(stream) {
            // Root may read the environment of any process anyway.
            Ok(uid) if uid == own || uid == 0 => return false,
            Ok(uid) => format!("user {uid}"),
            Err(error) => format!("an unknown user ({error})"),
        };
        self.since += 1;
        if self.recorded.is_none_or(|last| last.elapsed() > RECORD_EVERY) {
            warn!(by = failure, count = self.since, "refused a connection to the socket of sessions");
            *self = Self { recorded: Some(Instant::now()), since: 0 };
        }
        true
    }
}
