//! Asking the agent, without a runtime: whoever asks is about to become another program.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use protocol::secret::Secret;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use zeroize::Zeroizing;

use super::place::{self, PlaceError};
use super::status::Status;
use super::wire::{self, Answer, Caller, Launch, Malformed, Request};
use crate::sys::peer;

/// What an agent may take besides the time it was given: it may have hundreds of others to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the agent may take to fetch the git key.
const GIT_LIMIT: Duration = Duration::from_secs(30);

/// Between two looks for an agent that is not there yet.
const PAUSE: Duration = Duration::from_millis(100);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ClientError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("no agent of this user runs here: nothing listens on {}", listed(.looked))]
    NoAgent { looked: Vec<PathBuf> },
    #[error("cannot connect to the agent's socket {path}")]
    Connect { path: PathBuf, source: io::Error },
    #[error("refused to talk to {path}: user {uid} listens there")]
    Stranger { path: PathBuf, uid: u32 },
    #[error("no answer from the agent on {path}")]
    Hear { path: PathBuf, source: io::Error },
    #[error("cannot understand the agent on {path}; restart it if it was upgraded")]
    Understand { path: PathBuf, source: Malformed },
    #[error("the workspace still waits for its secrets after {0:.0?}; see \"coder status\"")]
    Booting(Duration),
    #[error("{0}")]
    Failed(String),
}

impl ClientError {
    /// Whether an agent that starts, or starts again, would change the answer.
    fn may_pass(&self) -> bool {
        match self {
            Self::NoAgent { .. } => true,
            // It ended while it was asked; its successor may be on the way.
            // Before it took the connection, before it read, or before it answered.
            Self::Hear { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
            ),
            _ => false,
        }
    }
}

fn listed(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return format!("the places where agents listen, and {} is not set", crate::config::SOCKET_VARIABLE);
    }
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

/// The variables of one launch of this process, as soon as there are any, and within `wait`.
pub fn resolve(caller: Caller, wait: Duration) -> Result<Launch, ClientError> {
    resolve_within(caller, wait, PATIENCE)
}

/// As [`resolve`], from an agent that may not be there yet, or be about to come back.
pub fn resolve_when_there(caller: Caller, wait: Duration) -> Result<Launch, ClientError> {
    resolve_when_there_within(caller, wait, PATIENCE)
}

/// As [`resolve_when_there`], from an agent that is silent for at most `patience` beyond that.
pub fn resolve_when_there_within(caller: Caller, wait: Duration, patience: Duration) -> Result<Launch, ClientError> {
    let start = Instant::now();
    loop {
        let left = wait.saturating_sub(start.elapsed());
        match resolve_within(caller, left, patience) {
            Err(error) if error.may_pass() && !left.is_zero() => thread::sleep(PAUSE.min(left)),
            Err(ClientError::Booting(_)) => return Err(ClientError::Booting(wait)),
            done => return done,
        }
    }
}

fn resolve_within(caller: Caller, wait: Duration, patience: Duration) -> Result<Launch, ClientError> {
    let variables = std::env::vars_os().map(|(name, value)| (name, Secret::new(OsString::into_vec(value)))).collect();
    match ask_within(&Request::Resolve { caller, wait, variables }, wait, patience)? {
        (_, Answer::Launch(launch)) => Ok(launch),
        (_, Answer::Booting) => Err(ClientError::Booting(wait)),
        other => Err(unexpected(other)),
    }
}

/// How the workspace is.
pub fn status() -> Result<Status, ClientError> {
    match ask(&Request::Status, Duration::ZERO)? {
        (path, Answer::Status(json)) => {
            serde_json::from_slice(&json).map_err(|_| ClientError::Understand { path, source: Malformed::Frame })
        }
        other => Err(unexpected(other)),
    }
}

/// Has the manifest fetched and delivered; what was delivered, in words.
pub fn reload(wait: Duration) -> Result<String, ClientError> {
    match ask(&Request::Reload { wait }, wait)? {
        (_, Answer::Reloaded(text)) => Ok(text),
        other => Err(unexpected(other)),
    }
}

/// The owner's public git key, as a line; `fresh` where it may have been replaced just now.
pub fn git_key(fresh: bool) -> Result<String, ClientError> {
    match ask(&Request::GitKey { fresh }, GIT_LIMIT)? {
        (_, Answer::GitKey(line)) => Ok(line),
        other => Err(unexpected(other)),
    }
}

/// A signature with the git key that this is the public part of.
pub fn git_sign(blob: Vec<u8>, data: Vec<u8>, flags: u32) -> Result<Vec<u8>, ClientError> {
    match ask(&Request::GitSign { blob, data, flags }, GIT_LIMIT)? {
        (_, Answer::Signature(blob)) => Ok(blob),
        other => Err(unexpected(other)),
    }
}

fn unexpected((path, answer): (PathBuf, Answer)) -> ClientError {
    match answer {
        Answer::Failed(reason) => ClientError::Failed(reason),
        _ => ClientError::Understand { path, source: Malformed::Frame },
    }
}

fn ask(request: &Request, wait: Duration) -> Result<(PathBuf, Answer), ClientError> {
    ask_within(request, wait, PATIENCE)
}

fn ask_within(request: &Request, wait: Duration, patience: Duration) -> Result<(PathBuf, Answer), ClientError> {
    let (mut stream, path) = connect(patience)?;
    let limited = stream.set_read_timeout(wait.checked_add(patience));
    let asked = limited.and_then(|()| stream.write_all(&request.encode()));
    let frame = match asked.and_then(|()| hear(&mut stream)) {
        Ok(frame) => frame,
        Err(source) => return Err(ClientError::Hear { path, source: plainly(source) }),
    };
    match Answer::decode(&frame) {
        Ok(answer) => Ok((path, answer)),
        Err(source) => Err(ClientError::Understand { path, source }),
    }
}

/// A socket whose time is up says that a resource is temporarily unavailable.
fn plainly(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

fn hear(stream: &mut UnixStream) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut length = [0; wire::LENGTH_BYTES];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > wire::MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"));
    }
    let mut frame = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

/// The first agent that listens, if it is the user's own or root's: anybody else could make up an environment for us, and
/// read the one we send.
fn connect(patience: Duration) -> Result<(UnixStream, PathBuf), ClientError> {
    let mut looked = Vec::new();
    for path in place::to_ask()? {
        match connect_to(&path, patience) {
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
            Err(error) => return Err(ClientError::Connect { path, source: error.into() }),
        }
    }
    Err(ClientError::NoAgent { looked })
}

fn connect_to(path: &Path, patience: Duration) -> Result<UnixStream, Errno> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Before connecting: it also bounds the wait for a place in a full backlog.
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    let (address, _kept) =
        place::address(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket.into())
}
