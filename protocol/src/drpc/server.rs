//! The answering end.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, error};

use super::Status;
use super::bounds::Bounds;
use super::codec::{DecodeError, Encoder, Kind, MAX_PACKET, Packet};
use super::reader::{PacketReader, ReadError};
use crate::session::{Session, Stream};

/// How long a peer may take for its FIN, and for the call on a stream it has opened.
const PEER_LIMIT: Duration = Duration::from_secs(30);
/// How long a peer may take to read a reply; it has no use for it later, since clients give up as well.
const WRITE_LIMIT: Duration = Duration::from_mins(1);
/// Packets over 64 KiB that one peer may have us hold, unless [`Shares::new`] says otherwise.
const LARGE_PACKETS: usize = 8;
/// Calls of one peer that are answered at a time; the others wait. An agent has a dozen at most, and each may hold an
/// answer in memory that its caller does not take.
const CALLS_AT_ONCE: usize = 64;
/// No call has a path this long; what is longer is not echoed anywhere.
const MAX_PATH: usize = 1024;

type Reader = PacketReader<ReadHalf<Stream>>;

/// What the streams of one peer share, so that a peer that takes all of it only holds up itself. Clones share the same.
#[derive(Clone, Debug)]
pub struct Shares {
    large_packets: Arc<Semaphore>,
    calls: Arc<Semaphore>,
}

impl Shares {
    /// Shares of which `large_packets` packets over 64 KiB may be in memory at a time; each has [`MAX_PACKET`] bytes at most.
    #[must_use]
    pub fn new(large_packets: usize) -> Self {
        Self { large_packets: Arc::new(Semaphore::new(large_packets)), calls: Arc::new(Semaphore::new(CALLS_AT_ONCE)) }
    }
}

impl Default for Shares {
    fn default() -> Self {
        Self::new(LARGE_PACKETS)
    }
}

/// What answers calls.
pub trait Service: Send + Sync + 'static {
    /// Answers one call of `path`. `Ok` ends it well, after the replies that were sent; `Err` ends it with that error.
    ///
    /// The future is dropped where it stands when the caller gives up or the session ends.
    fn handle(&self, path: &str, call: &mut Call) -> impl Future<Output = Result<(), Status>> + Send;
}

/// A request that is not decoded yet.
struct Body {
    bytes: Vec<u8>,
    place: Option<OwnedSemaphorePermit>,
}

/// One call being answered.
pub struct Call {
    requests: mpsc::Receiver<Body>,
    /// The place of the last request among the large packets.
    place: Option<OwnedSemaphorePermit>,
    bounds: Option<Bounds>,
    writer: WriteHalf<Stream>,
    encoder: Encoder,
    /// Packets that go out with the next write.
    queued: Vec<u8>,
    /// A write was given up half-way: nothing that follows it would be understood.
    torn: bool,
}

impl Call {
    /// The one request of a unary call.
    pub async fn request<T: Message + Default>(&mut self) -> Result<T, Status> {
        self.next().await?.ok_or_else(|| Status::new("the call ended without a request"))
    }

    /// The next request of a streaming call; `None` when there will be no more.
    pub async fn next<T: Message + Default>(&mut self) -> Result<Option<T>, Status> {
        let Some(Body { bytes, place }) = self.requests.recv().await else { return Ok(None) };
        // Given back with the end of the call, for what was decoded is in memory as well.
        self.place = place;
        if let Some(bounds) = self.bounds {
            bounds.check(&bytes)?;
        }
        match T::decode(bytes.as_slice()) {
            Ok(request) => Ok(Some(request)),
            Err(error) => Err(Status::new(format!("cannot decode the request: {error}"))),
        }
    }

    /// Bounds the requests of this call; without, each may have [`MAX_PACKET`] bytes.
    pub fn bound(&mut self, bounds: Bounds) {
        self.bounds = Some(bounds);
    }

    /// Sends a reply now.
    pub async fn reply<T: Message>(&mut self, message: &T) -> Result<(), Status> {
        self.answer(message)?;
        self.flush().await.map_err(|error| Status::new(format!("cannot send the reply: {error}")))
    }

    /// Queues the last reply: it goes out together with the end of the call, which spares a message on the wire.
    pub fn answer<T: Message>(&mut self, message: &T) -> Result<(), Status> {
        let length = message.encoded_len();
        if length > MAX_PACKET {
            return Err(Status::new(format!("reply of {length} bytes is over the limit of {MAX_PACKET}")));
        }
        self.encoder.packet(Kind::Message, &message.encode_to_vec(), &mut self.queued);
        Ok(())
    }

    fn new(writer: WriteHalf<Stream>) -> Self {
        let requests = mpsc::channel(1).1;
        Self { requests, place: None, bounds: None, writer, encoder: Encoder::new(0), queued: Vec::new(), torn: false }
    }

    /// Turns to the call `id` of the stream, whose requests come through what is returned.
    fn begin(&mut self, id: u64) -> mpsc::Sender<Body> {
        let (sender, requests) = mpsc::channel(1);
        self.requests = requests;
        (self.place, self.bounds) = (None, None);
        self.encoder = Encoder::new(id);
        self.queued.clear();
        sender
    }

    /// Nothing of the requests is held any more.
    fn end_of_requests(&mut self) {
        self.requests = mpsc::channel(1).1;
        self.place = None;
    }

    async fn end(&mut self, result: Result<(), Status>) -> io::Result<()> {
        match result {
            Ok(()) => self.encoder.packet(Kind::CloseSend, &[], &mut self.queued),
            Err(status) => {
                // An answer that still waits to go out would pass for the outcome.
                self.queued.clear();
                let status = status.to_bytes();
                self.encoder.packet(Kind::Error, &status, &mut self.queued);
            }
        }
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        let queued = std::mem::take(&mut self.queued);
        if self.torn {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.torn = true;
        timeout(WRITE_LIMIT, self.writer.write_all(&queued)).await??;
        self.torn = false;
        Ok(())
    }
}

/// Answers the calls of `session` until it ends; dropping the future ends it.
///
/// A handler that panics ends its session, and no other.
pub async fn serve<S: Service>(session: Session, service: Arc<S>) {
    serve_within(session, service, Shares::default()).await;
}

/// The same with shares that several sessions of one peer have in common.
pub async fn serve_within<S: Service>(mut session: Session, service: Arc<S>, shares: Shares) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            stream = session.accept() => match stream {
                Some(stream) => {
                    streams.spawn(serve_stream(stream, service.clone(), shares.clone()));
                }
                None => return,
            },
            Some(ended) = streams.join_next() => {
                if let Err(panic) = ended {
                    error!(%panic, "a handler failed: ending the session");
                    return session.close().await;
                }
            }
        }
    }
}

/// What follows a call on its stream.
enum Next {
    /// The FIN of the peer or another call. Our own FIN before the peer's would make Go's client discard the answer that is
    /// on its way to it (trap 1).
    Await,
    /// This call.
    Invoke(Packet),
    /// The FIN of the peer, after bytes that mean nothing any more.
    Drain,
    /// Our FIN: the peer has sent its own, or broke the protocol.
    End,
}

/// Real peers make one call a stream; several, one after the other, are answered as well.
async fn serve_stream<S: Service>(stream: Stream, service: Arc<S>, shares: Shares) {
    let (reader, writer) = tokio::io::split(stream);
    let mut reader = PacketReader::sharing(reader, shares.large_packets.clone());
    let mut call = Call::new(writer);
    let mut invoked = next_invoke(&mut reader, 0).await;
    while let Some(invoke) = invoked {
        let id = invoke.stream;
        let turn = shares.calls.acquire().await;
        let next = serve_call(invoke, &mut reader, &mut call, &*service).await;
        call.end_of_requests();
        drop(turn);
        invoked = match next {
            Next::Await => next_invoke(&mut reader, id).await,
            Next::Invoke(invoke) => Some(invoke),
            Next::Drain => {
                // Whichever way it ends, our FIN is next.
                let _ = timeout(PEER_LIMIT, reader.drain()).await;
                None
            }
            Next::End => None,
        };
    }
    if let Err(error) = call.writer.shutdown().await {
        debug!(%error, "ending a stream");
    }
}

/// The call after `last`; `None` for the peer's FIN, anything but a call, and silence.
async fn next_invoke(reader: &mut Reader, last: u64) -> Option<Packet> {
    reader.release();
    let invoke = timeout(PEER_LIMIT, async {
        loop {
            match reader.next().await {
                // What comes late for a call that is over: CloseSend, Close.
                Ok(Some(packet)) if packet.stream <= last => {}
                Ok(Some(packet)) => match packet.kind {
                    Kind::InvokeMetadata => {}
                    Kind::Invoke if packet.data.len() <= MAX_PATH => return Some(packet),
                    _ => return None,
                },
                Ok(None) | Err(_) => return None,
            }
        }
    });
    invoke.await.unwrap_or(None)
}

async fn serve_call<S: Service>(invoke: Packet, reader: &mut Reader, call: &mut Call, service: &S) -> Next {
    let id = invoke.stream;
    let path = String::from_utf8_lossy(&invoke.data).into_owned();
    let requests = call.begin(id);
    let answering = async {
        let result = service.handle(&path, call).await;
        call.end(result).await
    };
    let stopped = tokio::select! {
        // Answering first: an answer that is ready goes out even if the caller has just left.
        biased;
        sent = answering => return if sent.is_ok() { Next::Await } else { Next::End },
        stopped = feed(reader, requests, id) => stopped,
    };
    match stopped {
        _ if call.torn => Next::End,
        Stopped::GaveUp => Next::Await,
        Stopped::Invoked(invoke) => Next::Invoke(invoke),
        Stopped::Ended => Next::End,
        Stopped::Overflow(error) => match call.end(Err(Status::new(error.to_string()))).await {
            Ok(()) => Next::Drain,
            Err(_) => Next::End,
        },
    }
}

/// Why a call is not to be answered any more.
enum Stopped {
    /// The caller ended it.
    GaveUp,
    /// The caller went on to this one.
    Invoked(Packet),
    /// The caller sends more than it may.
    Overflow(DecodeError),
    /// The stream ended, or the peer broke the protocol.
    Ended,
}

/// Hands the requests of a call to its handler until the call is stopped.
async fn feed(reader: &mut Reader, requests: mpsc::Sender<Body>, call: u64) -> Stopped {
    let mut requests = Some(requests);
    loop {
        let packet = match reader.next().await {
            Ok(Some(packet)) => packet,
            Err(ReadError::Decode(error @ DecodeError::TooLarge)) => return Stopped::Overflow(error),
            Err(error) => {
                debug!(%error, "a stream ended");
                return Stopped::Ended;
            }
            Ok(None) => return Stopped::Ended,
        };
        match (packet.kind, packet.stream == call) {
            (Kind::Message, true) => {
                if let Some(requests) = &requests {
                    // A handler that takes no more of them has what it needs.
                    let _ = requests.send(Body { bytes: packet.data, place: reader.take() }).await;
                }
            }
            (Kind::CloseSend, true) => requests = None,
            (Kind::Close | Kind::Cancel | Kind::Error, true) => return Stopped::GaveUp,
            (Kind::Invoke, false) if packet.data.len() <= MAX_PATH => return Stopped::Invoked(packet),
            (Kind::Invoke, _) => return Stopped::Ended,
            // Metadata, and what belongs to no call.
            _ => {}
        }
    }
}
