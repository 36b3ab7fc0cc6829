//! The messages of the local socket: one question and one answer a connection.
//!
//! Each message is its length (4 bytes, little-endian), [`VERSION`], and a protobuf message. The version comes before
//! anything else is read, so that an agent that was not restarted after an upgrade is told from nonsense. Values are
//! bytes, which JSON cannot carry.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use prost::Message;
use protocol::secret::Secret;
use zeroize::Zeroizing;

use crate::environment::{self, Origin, Variables};

/// Of the messages below. 1 was a format written by hand.
const VERSION: u8 = 2;
/// Bytes of the length before each message.
pub(super) const LENGTH_BYTES: usize = 4;
/// Longest message. The kernel takes blocks of at most 6 MiB from one program to the next.
pub(super) const MAX_FRAME: usize = 8 * 1024 * 1024;
/// What the kernel counts for a variable besides its text; so do we, or a message full of empty variables would cost
/// many times its length.
const VARIABLE_OVERHEAD: usize = size_of::<usize>();

pub(super) type Buffer = Zeroizing<Vec<u8>>;

/// Why an environment is wanted. The order of variables differs, see [`crate::environment::Caller`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, prost::Enumeration)]
#[repr(i32)]
pub enum Caller {
    /// `coder exec`, `coder env`.
    Exec = 0,
    /// A session of sshd.
    Session = 1,
}

/// What a client wants.
#[derive(prost::Oneof)]
#[prost(skip_debug)]
pub(super) enum Request {
    /// The variables of one launch.
    #[prost(message, tag = "1")]
    Resolve(Resolve),
    /// How the workspace is.
    #[prost(message, tag = "2")]
    Status(()),
    /// To fetch the manifest again and wait for its delivery, for at most this many milliseconds.
    #[prost(uint64, tag = "3")]
    Reload(u64),
    /// The owner's public git key; true where it may have been replaced just now.
    #[prost(bool, tag = "4")]
    GitKey(bool),
    /// A signature with the git key.
    #[prost(message, tag = "5")]
    GitSign(GitSign),
}

/// Asks for the variables of one launch.
#[derive(Message)]
#[prost(skip_debug)]
pub(super) struct Resolve {
    #[prost(enumeration = "Caller", tag = "1")]
    pub(super) caller: i32,
    /// How long to wait for the boot.
    #[prost(uint64, tag = "2")]
    pub(super) wait_ms: u64,
    /// The variables of the caller's own process, as the kernel keeps them: `NAME=value`, each ended by a null byte.
    #[prost(bytes = "vec", tag = "3")]
    environ: Vec<u8>,
}

/// Asks for a signature.
#[derive(Message)]
pub(super) struct GitSign {
    /// Which key.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) blob: Vec<u8>,
    /// What to sign.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) data: Vec<u8>,
    /// How, for RSA.
    #[prost(uint32, tag = "3")]
    pub(super) flags: u32,
}

/// What the agent says.
#[derive(prost::Oneof)]
#[prost(skip_debug)]
pub(super) enum Answer {
    /// To a launch.
    #[prost(message, tag = "1")]
    Launch(LaunchMessage),
    /// A [`super::status::Status`] in JSON.
    #[prost(bytes = "vec", tag = "2")]
    Status(Vec<u8>),
    /// What was delivered, in words.
    #[prost(string, tag = "3")]
    Reloaded(String),
    /// The public key, as a line.
    #[prost(string, tag = "4")]
    GitKey(String),
    /// As it travels in the protocol of ssh-agents.
    #[prost(bytes = "vec", tag = "5")]
    Signature(Vec<u8>),
    /// The files were not there within the time the client had.
    #[prost(message, tag = "6")]
    Booting(()),
    /// Why not.
    #[prost(string, tag = "7")]
    Failed(String),
}

/// A [`Launch`] on its way.
#[derive(Message)]
#[prost(skip_debug)]
pub(super) struct LaunchMessage {
    #[prost(message, repeated, tag = "1")]
    variables: Vec<VariableMessage>,
    #[prost(string, repeated, tag = "2")]
    left_out: Vec<String>,
    #[prost(string, optional, tag = "3")]
    degraded: Option<String>,
    #[prost(bytes = "vec", tag = "4")]
    directory: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    motd: Vec<u8>,
    #[prost(string, repeated, tag = "6")]
    gone: Vec<String>,
}

#[derive(Message)]
#[prost(skip_debug)]
struct VariableMessage {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
    /// Index in [`ORIGINS`].
    #[prost(uint32, tag = "3")]
    origin: u32,
}

#[derive(Message)]
#[prost(skip_debug)]
struct Question {
    #[prost(oneof = "Request", tags = "1, 2, 3, 4, 5")]
    request: Option<Request>,
}

#[derive(Message)]
#[prost(skip_debug)]
struct Reply {
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5, 6, 7")]
    answer: Option<Answer>,
}

/// What one launch gets.
#[derive(Debug)]
pub struct Launch {
    /// The exact variables.
    pub variables: Vec<environment::Variable>,
    /// What does not fit, in words.
    pub left_out: Vec<String>,
    /// Names that earlier environments had and this one has not.
    pub gone: Vec<String>,
    /// Why the workspace is not as it should be, where it is not.
    pub degraded: Option<String>,
    /// Where a session starts.
    pub directory: PathBuf,
    /// The message of the day, as the template names it; may be empty.
    pub motd: PathBuf,
}

/// A message that cannot be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Malformed {
    /// Not the format of this program.
    #[error("it does not speak the language of this version")]
    Version,
    /// Cut, too long, or nonsense.
    #[error("the message is malformed")]
    Message,
}

impl Request {
    pub(super) fn into_frame(self) -> Buffer {
        frame(&Question { request: Some(self) })
    }

    pub(super) fn from_frame(frame: &[u8]) -> Result<Self, Malformed> {
        unframe::<Question>(frame)?.request.ok_or(Malformed::Message)
    }
}

impl Answer {
    pub(super) fn into_frame(self) -> Buffer {
        frame(&Reply { answer: Some(self) })
    }

    pub(super) fn from_frame(frame: &[u8]) -> Result<Self, Malformed> {
        unframe::<Reply>(frame)?.answer.ok_or(Malformed::Message)
    }
}

fn frame(message: &impl Message) -> Buffer {
    let length = size_of_val(&VERSION) + message.encoded_len();
    // A length that does not fit is over the limit, and refused by whoever reads it.
    let announced = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut frame = Buffer::new(Vec::with_capacity(LENGTH_BYTES + length));
    frame.extend_from_slice(&announced);
    frame.push(VERSION);
    message.encode_raw(&mut *frame);
    frame
}

fn unframe<M: Message + Default>(frame: &[u8]) -> Result<M, Malformed> {
    match frame.split_first() {
        Some((&VERSION, message)) => M::decode(message).map_err(|_| Malformed::Message),
        _ => Err(Malformed::Version),
    }
}

impl Resolve {
    pub(super) fn new(caller: Caller, wait: Duration, variables: &Variables) -> Self {
        // Of the right size at once, or the values would be moved about.
        let length = variables.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let mut environ = Vec::with_capacity(length);
        for (name, value) in variables {
            for part in [name.as_bytes(), b"=", value.expose(), b"\0"] {
                environ.extend_from_slice(part);
            }
        }
        Self { caller: caller.into(), wait_ms: milliseconds(wait), environ }
    }

    /// The caller's variables.
    pub(super) fn variables(self) -> Result<Variables, Malformed> {
        let environ = Secret::new(self.environ);
        let Some(entries) = environ.expose().strip_suffix(b"\0") else {
            return if environ.is_empty() { Ok(Vec::new()) } else { Err(Malformed::Message) };
        };
        let mut room = MAX_FRAME;
        let within_room = |entry: &[u8]| {
            room = room.checked_sub(entry.len() + VARIABLE_OVERHEAD)?;
            variable(entry)
        };
        entries.split(|byte| *byte == 0).map(within_room).collect::<Option<_>>().ok_or(Malformed::Message)
    }
}

/// As libc, which takes a `=` at the start for a part of the name.
fn variable(entry: &[u8]) -> Option<(OsString, Secret)> {
    let equals = entry.iter().skip(1).position(|byte| *byte == b'=')? + 1;
    let (name, value) = (entry.get(..equals)?, entry.get(equals + 1..)?);
    Some((OsStr::from_bytes(name).to_owned(), Secret::new(value.to_vec())))
}

pub(super) fn milliseconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

impl From<Launch> for LaunchMessage {
    fn from(launch: Launch) -> Self {
        let variable = |it: environment::Variable| VariableMessage {
            name: it.name.into_vec(),
            value: it.value.expose().to_vec(),
            origin: (0..).zip(ORIGINS).find(|(_, origin)| *origin == it.origin).map_or(u32::MAX, |(index, _)| index),
        };
        Self {
            variables: launch.variables.into_iter().map(variable).collect(),
            left_out: launch.left_out,
            gone: launch.gone,
            degraded: launch.degraded,
            directory: launch.directory.into_os_string().into_vec(),
            motd: launch.motd.into_os_string().into_vec(),
        }
    }
}

impl TryFrom<LaunchMessage> for Launch {
    type Error = Malformed;

    fn try_from(message: LaunchMessage) -> Result<Self, Malformed> {
        let variable = |it: VariableMessage| {
            let origin = ORIGINS.get(it.origin as usize).copied().ok_or(Malformed::Message)?;
            Ok(environment::Variable { name: OsString::from_vec(it.name), value: Secret::new(it.value), origin })
        };
        Ok(Self {
            variables: message.variables.into_iter().map(variable).collect::<Result<_, _>>()?,
            left_out: message.left_out,
            gone: message.gone,
            degraded: message.degraded,
            directory: OsString::from_vec(message.directory).into(),
            motd: OsString::from_vec(message.motd).into(),
        })
    }
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

#[cfg(test)]
mod tests;
