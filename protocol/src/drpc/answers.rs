//! What comes back from a call: one answer, many, or the reason why none does.

use std::marker::PhantomData;
use std::time::Duration;

use prost::Message;
use tokio::io::{ReadHalf, WriteHalf};

use super::Status;
use super::codec::{DecodeError, Kind, MAX_PACKET, Packet};
use super::reader::{PacketReader, ReadError};
use crate::session::{Closed, Stream};

/// No answer takes this long from a server that is alive.
pub(super) const CALL_LIMIT: Duration = Duration::from_mins(1);
/// Of its stream a call is the only one, as with Go's client.
pub(super) const ONLY_CALL: u64 = 1;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server answered with an error.
    #[error("the server refused the call: {0}")]
    Refused(Status),
    /// The session ended, or the stream did, before the answer.
    #[error("the connection ended before the answer")]
    Closed,
    /// No answer in time.
    #[error("no answer within {} seconds", CALL_LIMIT.as_secs())]
    TimedOut,
    /// The server broke the protocol.
    #[error("the server broke the protocol")]
    Protocol(#[source] DecodeError),
    /// The server ended the call without an answer.
    #[error("the server ended the call without an answer")]
    NoAnswer,
    /// The answer is not the message it should be.
    #[error("cannot decode the answer")]
    Decode(#[source] prost::DecodeError),
    /// The request or the answer is longer than a packet may be.
    #[error("message over {MAX_PACKET} bytes")]
    TooLarge,
}

impl CallError {
    /// Whether the server has no such call.
    #[must_use]
    pub fn is_unimplemented(&self) -> bool {
        matches!(self, Self::Refused(status) if status.is_unimplemented())
    }
}

impl From<Closed> for CallError {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<ReadError> for CallError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Decode(DecodeError::TooLarge) => Self::TooLarge,
            ReadError::Decode(error) => Self::Protocol(error),
            ReadError::Io(_) => Self::Closed,
        }
    }
}

/// The answers of one call. Dropping it ends the call.
pub struct Streaming<Resp> {
    reader: PacketReader<ReadHalf<Stream>>,
    // Its end would be the end of the call.
    _writer: WriteHalf<Stream>,
    answers: PhantomData<fn() -> Resp>,
}

impl<Resp: Message + Default> Streaming<Resp> {
    pub(super) fn new(reader: ReadHalf<Stream>, writer: WriteHalf<Stream>) -> Self {
        Self { reader: PacketReader::new(reader), _writer: writer, answers: PhantomData }
    }

    /// The next answer, however long that takes. [`CallError::NoAnswer`] if the server ends the call. Nothing is lost if the future is
    /// dropped.
    pub async fn next(&mut self) -> Result<Resp, CallError> {
        let body = receive(&mut self.reader).await?;
        Resp::decode(body.as_slice()).map_err(CallError::Decode)
    }
}

/// The next answer of a call.
pub(super) async fn receive(reader: &mut PacketReader<ReadHalf<Stream>>) -> Result<Vec<u8>, CallError> {
    while let Some(Packet { stream, kind, data, .. }) = reader.next().await? {
        if stream != ONLY_CALL {
            continue;
        }
        match kind {
            Kind::Message => return Ok(data),
            Kind::Error => return Err(CallError::Refused(Status::from_bytes(&data))),
            Kind::Close | Kind::CloseSend | Kind::Cancel => return Err(CallError::NoAnswer),
            // A client is not invoked.
            Kind::Invoke | Kind::InvokeMetadata => {}
        }
    }
    Err(CallError::Closed)
}
