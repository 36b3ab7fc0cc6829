//! The calling end.

use prost::Message;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;

use super::answers::{CALL_LIMIT, CallError, ONLY_CALL, Streaming, receive};
use super::codec::{Encoder, Kind, MAX_PACKET};
use super::reader::PacketReader;
use crate::session::{Opener, Stream};

/// Makes calls, each on a stream of its own. Clones share the session and its bound on calls in flight.
#[derive(Clone, Debug)]
pub struct Client {
    opener: Opener,
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

    /// Calls `path`, whose answers come one after the other for as long as both sides want.
    pub async fn stream<Req, Resp>(&self, path: &str, request: &Req) -> Result<Streaming<Resp>, CallError>
    where
        Req: Message,
        Resp: Message + Default,
    {
        let (_, packets) = invocation(path, &request.encode_to_vec());
        let (reader, mut writer) = tokio::io::split(self.opener.open().await?);
        timeout(CALL_LIMIT, writer.write_all(&packets))
            .await
            .map_err(|_| CallError::TimedOut)?
            .map_err(|_| CallError::Closed)?;
        Ok(Streaming::new(reader, writer))
    }

    async fn exchange(&self, path: &str, request: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let (mut encoder, mut packets) = invocation(path, &request);
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

/// A call with its one request.
fn invocation(path: &str, request: &[u8]) -> (Encoder, Vec<u8>) {
    let mut encoder = Encoder::new(ONLY_CALL);
    let mut packets = Vec::new();
    encoder.packet(Kind::Invoke, path.as_bytes(), &mut packets);
    encoder.packet(Kind::Message, request, &mut packets);
    encoder.packet(Kind::CloseSend, &[], &mut packets);
    (encoder, packets)
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
