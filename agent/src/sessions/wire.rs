//! One question and one answer a connection: a length, then a small format of our own. Values are bytes, which JSON
//! cannot carry.

mod frame;

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

pub(super) use frame::LENGTH_BYTES;
use frame::{Buffer, Reader, Writer};

use crate::environment::{Origin, Variable, Variables};

/// Longest frame. The kernel takes blocks of at most 6 MiB from one program to the next, and counts more for each
/// variable than a frame does.
pub(super) const MAX_FRAME: usize = 8 * 1024 * 1024;

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
                frame.flag(*fresh);
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
            5 => Self::GitKey { fresh: frame.flag()? },
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
                frame.flag(launch.degraded.is_some());
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
    let is_degraded = frame.flag()?;
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

#[cfg(test)]
mod tests;
