//! One question and one answer a connection: a length, then a small format of our own. Values are bytes, which JSON
//! cannot carry.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use protocol::secret::Secret;
use zeroize::Zeroizing;

use crate::environment::{Origin, Variable, Variables};

/// First byte of every frame. An agent that was not restarted after an upgrade is told apart by it.
const VERSION: u8 = 1;
/// Longest frame. The kernel takes blocks of at most 6 MiB from one program to the next, and counts more for each
/// variable than a frame does.
pub(super) const MAX_FRAME: usize = 8 * 1024 * 1024;
/// Bytes of the length before each frame.
pub(super) const LENGTH_BYTES: usize = 4;

type Buffer = Zeroizing<Vec<u8>>;

/// For what an environment is wanted. The order of variables differs, see [`crate::environment::Caller`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// `coder exec`, `coder env`.
    Exec,
    /// A session of sshd.
    Session,
}

/// What a client wants.
#[derive(Debug)]
pub(super) enum Request {
    /// The variables of one launch, from those of the caller's own process.
    Resolve { caller: Caller, wait: Duration, variables: Variables },
    /// How the workspace is.
    Status,
    /// To fetch the manifest again.
    Reload { wait: Duration },
    /// The owner's git key; `fresh` where it may have been replaced just now.
    GitKey { fresh: bool },
    /// A signature with it.
    GitSign { blob: Vec<u8>, data: Vec<u8>, flags: u32 },
}

/// What one launch gets.
#[derive(Debug)]
pub struct Launch {
    /// The exact variables.
    pub variables: Vec<Variable>,
    /// What does not fit, in words.
    pub left_out: Vec<String>,
    /// Why the workspace is not as it should be, where it is not.
    pub degraded: Option<String>,
    /// Where a session starts.
    pub directory: PathBuf,
    /// The message of the day, as the template names it; may be empty.
    pub motd: PathBuf,
}

/// What the agent says.
#[derive(Debug)]
pub enum Answer {
    /// To a launch.
    Launch(Launch),
    /// A [`super::status::Status`] in JSON.
    Status(Vec<u8>),
    /// It was fetched and delivered, in words.
    Reloaded(String),
    /// The public key, as a line.
    GitKey(String),
    /// As it travels in the protocol of ssh-agents.
    Signature(Vec<u8>),
    /// The files were not there within the time the client had.
    Booting,
    /// Why not.
    Failed(String),
}

/// A frame that is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Malformed {
    /// Not the format of this program.
    #[error("it does not speak the language of this version")]
    Version,
    /// Cut, too long, or nonsense.
    #[error("the message is malformed")]
    Frame,
}

impl Request {
    pub(super) fn encode(&self) -> Buffer {
        let mut frame = Writer::new();
        match self {
            Self::Resolve { caller, wait, variables } => {
                frame.byte(match caller {
                    Caller::Exec => 1,
                    Caller::Session => 2,
                });
                frame.duration(*wait);
                frame.count(variables.len());
                for (name, value) in variables {
                    frame.bytes(name.as_bytes());
                    frame.bytes(value.expose());
                }
            }
            Self::Status => frame.byte(3),
            Self::Reload { wait } => {
                frame.byte(4);
                frame.duration(*wait);
            }
            Self::GitKey { fresh } => {
                frame.byte(5);
                frame.byte((*fresh).into());
            }
            Self::GitSign { blob, data, flags } => {
                frame.byte(6);
                frame.bytes(blob);
                frame.bytes(data);
                frame.number(*flags);
            }
        }
        frame.done()
    }

    pub(super) fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        let mut frame = Reader::new(frame)?;
        let request = match frame.byte()? {
            1 => resolve(&mut frame, Caller::Exec)?,
            2 => resolve(&mut frame, Caller::Session)?,
            3 => Self::Status,
            4 => Self::Reload { wait: frame.duration()? },
            5 => Self::GitKey { fresh: frame.byte()? != 0 },
            6 => Self::GitSign { blob: frame.bytes()?.to_vec(), data: frame.bytes()?.to_vec(), flags: frame.number()? },
            _ => return Err(Malformed::Frame),
        };
        frame.end()?;
        Ok(request)
    }
}

fn resolve(frame: &mut Reader<'_>, caller: Caller) -> Result<Request, Malformed> {
    let wait = frame.duration()?;
    let variables = frame.list(|frame| Ok((frame.os_string()?, frame.secret()?)))?;
    Ok(Request::Resolve { caller, wait, variables })
}

impl Answer {
    pub(super) fn encode(&self) -> Buffer {
        let mut frame = Writer::new();
        match self {
            Self::Launch(launch) => {
                frame.byte(1);
                frame.count(launch.variables.len());
                for Variable { name, value, origin } in &launch.variables {
                    frame.byte(origin_code(*origin));
                    frame.bytes(name.as_bytes());
                    frame.bytes(value.expose());
                }
                frame.count(launch.left_out.len());
                launch.left_out.iter().for_each(|text| frame.bytes(text.as_bytes()));
                frame.byte(launch.degraded.is_some().into());
                frame.bytes(launch.degraded.as_deref().unwrap_or_default().as_bytes());
                frame.bytes(launch.directory.as_os_str().as_bytes());
                frame.bytes(launch.motd.as_os_str().as_bytes());
            }
            Self::Status(json) => {
                frame.byte(2);
                frame.bytes(json);
            }
            Self::Reloaded(text) => {
                frame.byte(3);
                frame.bytes(text.as_bytes());
            }
            Self::GitKey(public) => {
                frame.byte(4);
                frame.bytes(public.as_bytes());
            }
            Self::Booting => frame.byte(5),
            Self::Failed(reason) => {
                frame.byte(6);
                frame.bytes(reason.as_bytes());
            }
            Self::Signature(blob) => {
                frame.byte(7);
                frame.bytes(blob);
            }
        }
        frame.done()
    }

    pub(super) fn decode(frame: &[u8]) -> Result<Self, Malformed> {
        let mut frame = Reader::new(frame)?;
        let answer = match frame.byte()? {
            1 => Self::Launch(launch(&mut frame)?),
            2 => Self::Status(frame.bytes()?.to_vec()),
            3 => Self::Reloaded(frame.text()?),
            4 => Self::GitKey(frame.text()?),
            5 => Self::Booting,
            6 => Self::Failed(frame.text()?),
            7 => Self::Signature(frame.bytes()?.to_vec()),
            _ => return Err(Malformed::Frame),
        };
        frame.end()?;
        Ok(answer)
    }
}

fn launch(frame: &mut Reader<'_>) -> Result<Launch, Malformed> {
    let variables = frame.list(|frame| {
        let origin = origin(frame.byte()?)?;
        Ok(Variable { name: frame.os_string()?, value: frame.secret()?, origin })
    })?;
    let left_out = frame.list(Reader::text)?;
    let is_degraded = frame.byte()? != 0;
    let reason = frame.text()?;
    Ok(Launch {
        variables,
        left_out,
        degraded: is_degraded.then_some(reason),
        directory: frame.os_string()?.into(),
        motd: frame.os_string()?.into(),
    })
}

const ORIGINS: [Origin; 7] = [
    Origin::Inherited,
    Origin::Caller,
    Origin::Agent,
    Origin::Template,
    Origin::Secret,
    Origin::Ours,
    Origin::Appended,
];

fn origin_code(origin: Origin) -> u8 {
    let index = ORIGINS.iter().position(|it| *it == origin);
    index.and_then(|index| u8::try_from(index).ok()).unwrap_or(u8::MAX)
}

fn origin(code: u8) -> Result<Origin, Malformed> {
    ORIGINS.get(usize::from(code)).copied().ok_or(Malformed::Frame)
}

struct Writer(Buffer);

impl Writer {
    /// The length comes first and is known last.
    fn new() -> Self {
        let mut frame = Buffer::default();
        frame.extend([0; LENGTH_BYTES]);
        frame.push(VERSION);
        Self(frame)
    }

    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// What does not fit into 32 bits does not fit into [`MAX_FRAME`] either, and is refused by whoever reads it.
    fn count(&mut self, count: usize) {
        self.number(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn number(&mut self, number: u32) {
        self.0.extend(number.to_le_bytes());
    }

    fn duration(&mut self, duration: Duration) {
        self.0.extend(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend(bytes);
    }

    fn done(mut self) -> Buffer {
        let length = u32::try_from(self.0.len() - LENGTH_BYTES).unwrap_or(u32::MAX);
        self.0.splice(..LENGTH_BYTES, length.to_le_bytes());
        self.0
    }
}

struct Reader<'f>(&'f [u8]);

impl<'f> Reader<'f> {
    fn new(frame: &'f [u8]) -> Result<Self, Malformed> {
        match frame.split_first() {
            Some((&VERSION, rest)) => Ok(Self(rest)),
            _ => Err(Malformed::Version),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'f [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Frame)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed::Frame)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn count(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).map_err(|_| Malformed::Frame)
    }

    fn number(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn duration(&mut self) -> Result<Duration, Malformed> {
        Ok(Duration::from_millis(u64::from_le_bytes(self.array()?)))
    }

    fn bytes(&mut self) -> Result<&'f [u8], Malformed> {
        let count = self.count()?;
        self.take(count)
    }

    fn os_string(&mut self) -> Result<OsString, Malformed> {
        Ok(OsStr::from_bytes(self.bytes()?).to_owned())
    }

    fn secret(&mut self) -> Result<Secret, Malformed> {
        Ok(Secret::new(self.bytes()?.to_vec()))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| Malformed::Frame)
    }

    /// Grows with what is really there, whatever count the frame claims.
    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let count = self.count()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Frame) }
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
