use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::lock::{Lock, NotLocked};
use super::serve::{Host, serve};
use super::{Sessions, place};
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

/// The socket of this user's agent, and the lock that makes it the only one.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    _lock: Lock,
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
    /// Listens on `path`; what a dead agent left there is replaced.
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        let lock_path = beside(path, "", ".lock");
        let lock = Lock::take(&lock_path).map_err(|error| match error {
            NotLocked::Held(pid) => ListenError::Taken { path: path.to_owned(), pid },
            NotLocked::Failed(source) => ListenError::Lock { path: lock_path, source },
        })?;
        let socket = listen(path).map_err(|source| ListenError::Listen { path: path.to_owned(), source })?;
        Ok(Self { socket, path: path.to_owned(), _lock: lock })
    }

    /// Answers whoever connects, each in a task of its own. Needs a tokio runtime.
    pub async fn serve(self, sessions: Arc<Sessions>, host: Arc<impl Host>) -> io::Result<Infallible> {
        let listener = tokio::net::UnixListener::from_std(self.socket.try_clone()?)?;
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut refusals = Refusals::default();
        info!(socket = %self.path.display(), "sessions are served");
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
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The lock is still held, so it is ours. A successor replaces it anyway.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Under a name nobody looks for until it is closed to others and listens: whoever finds the socket can use it.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let unfinished = beside(path, ".", ".new");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let (address, _kept) = place::address(&unfinished)?;
    rustix::net::bind(&socket, &address)?;
    rustix::fs::chmod(&unfinished, Mode::RUSR | Mode::WUSR)?;
    rustix::net::listen(&socket, BACKLOG)?;
    std::fs::rename(&unfinished, path)?;
    Ok(socket.into())
}

fn beside(path: &Path, before: &str, after: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(before);
    name.push(path.file_name().unwrap_or_default());
    name.push(after);
    path.with_file_name(name)
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
