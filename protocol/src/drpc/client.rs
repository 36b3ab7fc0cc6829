//! The calling end.

use std::time::Duration;

use prost::Message;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;

use super::codec::{DecodeError, Encoder, Kind, MAX_PACKET};
use super::reader::{PacketReader, ReadError};
use super::{Status, codec};
use crate::session::{Closed, Opener, Stream};

/// No answer takes this long from a server that is alive.
const CALL_LIMIT: Duration = Duration::from_mins(1);
/// Of its stream a call is the only one, as with Go's client.
const ONLY_CALL: u64 = 1;

/// Makes calls, each on a stream of its own. Clones share the session and its bound on calls in flight.
#[derive(Clone, Debug)]
pub struct Client {
    opener: Opener,
}

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

impl Client {
    /// Calls go over the streams of `opener`.
    #[must_use]
    pub fn new(opener: Opener) -> Self {
        Self { opener }
    }

    /// Calls `path` and waits for its one answer. Dropping the future cancels the call.
    pub async fn call<Req, Resp>(&self, path: &str, request: &Req) -> Result<Resp, CallError>
    where
        Req: Message,
        Resp: Message + Default,
    {
        if request.encoded_len() > MAX_PACKET {
            return Err(CallError::TooLarge);
        }
        let answer = timeout(CALL_LIMIT, self.exchange(path, request.encode_to_vec()));
        let body = answer.await.map_err(|_| CallError::TimedOut)??;
        Resp::decode(body.as_slice()).map_err(CallError::Decode)
    }

    async fn exchange(&self, path: &str, request: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let mut encoder = Encoder::new(ONLY_CALL);
        let mut packets = Vec::new();
        encoder.packet(Kind::Invoke, path.as_bytes(), &mut packets);
        encoder.packet(Kind::Message, &request, &mut packets);
        encoder.packet(Kind::CloseSend, &[], &mut packets);
        drop(request);

        // From here on the stream ends itself when it is dropped: one FIN, behind all that was written. That is what
        // cancels a call (never an earlier FIN: to the server it is the end of the call, not of the request, trap 2).
        let (reader, mut writer) = tokio::io::split(self.opener.open().await?);
        let mut reader = PacketReader::new(reader);
        let body = send_and_receive(&mut writer, &packets, &mut reader).await?;

        packets.clear();
        encoder.packet(Kind::Close, &[], &mut packets);
        // Courtesies: the answer is here, and nothing that happens now changes it.
        let _ = writer.write_all(&packets).await;
        let _ = writer.shutdown().await;
        Ok(body)
    }
}

/// A server may answer, with an error, before it has taken the whole request, and then take no more of it.
async fn send_and_receive(
    writer: &mut WriteHalf<Stream>,
    packets: &[u8],
    reader: &mut PacketReader<ReadHalf<Stream>>,
) -> Result<Vec<u8>, CallError> {
    let mut answer = std::pin::pin!(receive(reader));
    tokio::select! {
        biased;
        // If this fails, reading tells why.
        _ = writer.write_all(packets) => {}
        answer = &mut answer => return answer,
    }
    answer.await
}

async fn receive(reader: &mut PacketReader<ReadHalf<Stream>>) -> Result<Vec<u8>, CallError> {
    while let Some(codec::Packet { stream, kind, data, .. }) = reader.next().await? {
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
