//! Asking the agent, without a runtime: whoever asks is about to become another program.

mod connect;
mod notice;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use protocol::secret::Secret;
use zeroize::Zeroizing;

use super::place::PlaceError;
use super::status::Status;
use super::wire::{self, Answer, Caller, GitSign, Launch, Malformed, Request, Resolve};
use notice::Notice;

/// What an agent may take besides the time it was given: it may have hundreds of others to answer.
const SILENCE: Duration = Duration::from_secs(20);
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
    #[error("no agent of this user runs here: nothing listens on {}{}", listed(.looked), also(.skipped))]
    NoAgent { looked: Vec<PathBuf>, skipped: Vec<String> },
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

fn also(skipped: &[String]) -> String {
    skipped.iter().fold(String::new(), |text, reason| text + "; skipped: " + reason)
}

/// Who asks, and how patiently. What takes longer than a second is told, with what it waits for.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    tell: fn(&str),
    silence: Duration,
    for_an_agent: bool,
}

impl Client {
    /// `tell` gets a line for the person who waits, without a newline.
    #[must_use]
    pub const fn new(tell: fn(&str)) -> Self {
        Self { tell, silence: SILENCE, for_an_agent: false }
    }

    /// Waits for an agent that is not there yet, too, or is about to come back.
    #[must_use]
    pub const fn waits_for_an_agent(self) -> Self {
        Self { for_an_agent: true, ..self }
    }

    /// Gives up on an agent that says nothing for so long beyond the time that it was given; 20 seconds by default.
    #[must_use]
    pub const fn silence(self, limit: Duration) -> Self {
        Self { silence: limit, ..self }
    }

    /// The variables of one launch of this process, as soon as there are any, and within `wait`.
    pub fn resolve(&self, caller: Caller, wait: Duration) -> Result<Launch, ClientError> {
        let mut notice = Notice::new(self.tell);
        let start = Instant::now();
        loop {
            let left = wait.saturating_sub(start.elapsed());
            match self.resolve_once(caller, left, wait, &mut notice) {
                Err(error) if self.for_an_agent && error.may_pass() && !left.is_zero() => {
                    notice.tell_when_due(|| format!("up to {wait:.0?} for an agent: {error}"));
                    thread::sleep(PAUSE.min(left));
                }
                Err(ClientError::Booting(_)) => return Err(ClientError::Booting(wait)),
                done => return done,
            }
        }
    }

    fn resolve_once(
        &self,
        caller: Caller,
        left: Duration,
        wait: Duration,
        notice: &mut Notice,
    ) -> Result<Launch, ClientError> {
        let own = std::env::vars_os().map(|(name, value)| (name, Secret::new(OsString::into_vec(value)))).collect();
        let request = Request::Resolve(Resolve::new(caller, left, &own));
        let what = || format!("up to {wait:.0?} for the secrets of this workspace{}", Self::why());
        match self.ask(request, left, notice, what)? {
            (path, Answer::Launch(launch)) => {
                Launch::try_from(launch).map_err(|source| ClientError::Understand { path, source })
            }
            (_, Answer::Booting(())) => Err(ClientError::Booting(wait)),
            other => Err(unexpected(other)),
        }
    }

    /// What keeps the agent from its secrets, as far as it knows.
    fn why() -> String {
        let quick = Self { silence: Duration::from_secs(1), tell: |_| {}, for_an_agent: false };
        match quick.status() {
            Ok(status) if status.connection != "connected" => format!(" ({})", status.connection),
            _ => String::new(),
        }
    }

    /// How the workspace is.
    pub fn status(&self) -> Result<Status, ClientError> {
        let what = || "for the agent to answer".to_owned();
        match self.ask(Request::Status(()), Duration::ZERO, &mut Notice::new(self.tell), what)? {
            (path, Answer::Status(json)) => {
                serde_json::from_slice(&json).map_err(|_| ClientError::Understand { path, source: Malformed::Message })
            }
            other => Err(unexpected(other)),
        }
    }

    /// Has the manifest fetched and delivered; what was delivered, in words.
    pub fn reload(&self, wait: Duration) -> Result<String, ClientError> {
        let what = || format!("up to {wait:.0?} for the agent to fetch and deliver the secrets{}", Self::why());
        match self.ask(Request::Reload(wire::milliseconds(wait)), wait, &mut Notice::new(self.tell), what)? {
            (_, Answer::Reloaded(text)) => Ok(text),
            other => Err(unexpected(other)),
        }
    }

    /// The owner's public git key, as a line; `fresh` where it may have been replaced just now.
    pub fn git_key(&self, fresh: bool) -> Result<String, ClientError> {
        let what = || format!("up to {GIT_LIMIT:.0?} for the agent to get your git key{}", Self::why());
        match self.ask(Request::GitKey(fresh), GIT_LIMIT, &mut Notice::new(self.tell), what)? {
            (_, Answer::GitKey(line)) => Ok(line),
            other => Err(unexpected(other)),
        }
    }

    /// A signature with the git key that this is the public part of.
    pub fn git_sign(&self, blob: Vec<u8>, data: Vec<u8>, flags: u32) -> Result<Vec<u8>, ClientError> {
        let request = Request::GitSign(GitSign { blob, data, flags });
        let what = || format!("up to {GIT_LIMIT:.0?} for the agent to sign with your git key{}", Self::why());
        match self.ask(request, GIT_LIMIT, &mut Notice::new(self.tell), what)? {
            (_, Answer::Signature(blob)) => Ok(blob),
            other => Err(unexpected(other)),
        }
    }

    fn ask(
        &self,
        request: Request,
        wait: Duration,
        notice: &mut Notice,
        what: impl Fn() -> String,
    ) -> Result<(PathBuf, Answer), ClientError> {
        let (mut stream, path) = connect::connect(self.silence, notice)?;
        let asked = stream.write_all(&request.into_frame()).and_then(|()| {
            notice.until_readable(&stream, &what)?;
            stream.set_read_timeout(wait.checked_add(self.silence))?;
            hear(&mut stream)
        });
        let frame = match asked {
            Ok(frame) => frame,
            Err(source) => return Err(ClientError::Hear { path, source: plainly(source) }),
        };
        match Answer::from_frame(&frame) {
            Ok(answer) => Ok((path, answer)),
            Err(source) => Err(ClientError::Understand { path, source }),
        }
    }
}

fn unexpected((path, answer): (PathBuf, Answer)) -> ClientError {
    match answer {
        Answer::Failed(reason) => ClientError::Failed(reason),
        _ => ClientError::Understand { path, source: Malformed::Message },
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
