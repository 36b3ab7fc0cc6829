//! The byte stream that yamux sees, made of WebSocket messages.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::io::{AsyncRead, AsyncWrite};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::held::Held;

/// The largest message we send. Peers may limit messages, and nothing is gained by larger ones.
pub const MAX_SENT_MESSAGE: usize = 64 * 1024 + 12;

/// A WebSocket message, neutral of the library that carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Part of the byte stream; where it is cut means nothing.
    Binary(Bytes),
    /// Text has no meaning here, so its content is not carried.
    Text,
    /// The library has answered it already.
    Ping(Bytes),
    /// The answer to our ping.
    Pong(Bytes),
    /// The close code.
    Close(u16),
}

/// A WebSocket connection after its handshake.
///
/// The library behind it answers pings and close frames and bounds what it receives; a message of 256 KiB and 12 bytes
/// must pass.
pub trait Transport:
    Stream<Item = io::Result<Message>> + Sink<Message, Error = io::Error> + Send + Unpin + 'static
{
}

impl<T> Transport for T where
    T: Stream<Item = io::Result<Message>> + Sink<Message, Error = io::Error> + Send + Unpin + 'static
{
}

/// When the peer was last heard of, and what we have sent to hear of it.
#[derive(Debug)]
pub(super) struct Life {
    start: Instant,
    last_seen_ms: AtomicU64,
    pings: watch::Sender<u64>,
}

impl Life {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), last_seen_ms: AtomicU64::new(0), pings: watch::Sender::new(0) }
    }

    pub(super) fn pinged(&self) {
        self.pings.send_modify(|pings| *pings += 1);
    }

    pub(super) fn pings(&self) -> watch::Receiver<u64> {
        self.pings.subscribe()
    }

    fn touch(&self) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_seen_ms.store(elapsed, Ordering::Relaxed);
    }

    pub(super) fn last_seen(&self) -> Instant {
        self.start + Duration::from_millis(self.last_seen_ms.load(Ordering::Relaxed))
    }
}

/// Close codes of RFC 6455.
pub(super) const NORMAL: u16 = 1000;
const UNACCEPTABLE_DATA: u16 = 1003;

/// A handle to the connection: yamux reads and writes through one, and the driver, in the same task, keeps another,
/// because yamux drops its own on every error and the close code must still get out.
pub(super) struct Wire<T>(Arc<Mutex<Socket<T>>>);

struct Socket<T> {
    transport: T,
    life: Arc<Life>,
    held: Arc<Held>,
    /// What is left of the last message received.
    incoming: Bytes,
    /// The message being filled; taken, not reused, so that an idle session holds no buffer.
    outgoing: Vec<u8>,
    ping_due: bool,
    /// Nothing waits here or in the transport.
    flushed: bool,
    /// Nothing more will come.
    ended: bool,
    refusal: Option<u16>,
}

impl<T> Clone for Wire<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Transport> Wire<T> {
    pub(super) fn new(transport: T, life: Arc<Life>, held: Arc<Held>) -> Self {
        Self(Arc::new(Mutex::new(Socket {
            transport,
            life,
            held,
            incoming: Bytes::new(),
            outgoing: Vec::new(),
            ping_due: false,
            flushed: true,
            ended: false,
            refusal: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Socket<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a ping with the next flush, which yamux does every time it is polled.
    pub(super) fn ping(&self) {
        self.lock().ping_due = true;
    }

    /// Whether the last flush got everything out.
    pub(super) fn is_flushed(&self) -> bool {
        self.lock().flushed
    }

    /// Sends a close frame, with `code` unless the peer broke a rule that has a code of its own, and waits for the
    /// peer to end the connection.
    pub(super) async fn close(&self, code: u16) -> io::Result<()> {
        let ended = self.lock().ended;
        if !ended {
            std::future::poll_fn(|cx| self.lock().transport.poll_ready_unpin(cx)).await?;
            let mut socket = self.lock();
            let code = socket.refusal.unwrap_or(code);
            socket.transport.start_send_unpin(Message::Close(code))?;
        }
        std::future::poll_fn(|cx| self.lock().transport.poll_flush_unpin(cx)).await?;
        while !self.lock().ended {
            // Reading to the end spares the peer a connection reset, which could overtake our close frame.
            std::future::poll_fn(|cx| self.lock().poll_message(cx)).await.ok();
        }
        std::future::poll_fn(|cx| self.lock().transport.poll_close_unpin(cx)).await
    }
}

impl<T: Transport> Socket<T> {
    /// The next message's bytes; `None` at the end, whatever ended it (trap 18).
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        while !self.ended {
            match ready!(self.transport.poll_next_unpin(cx)) {
                None | Some(Ok(Message::Close(_))) => self.ended = true,
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Err(error));
                }
                Some(Ok(Message::Text)) => {
                    self.refusal = Some(UNACCEPTABLE_DATA);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a text message")));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => self.life.touch(),
                Some(Ok(Message::Binary(bytes))) => {
                    self.life.touch();
                    if !bytes.is_empty() {
                        return Poll::Ready(Ok(Some(bytes)));
                    }
                }
            }
        }
        Poll::Ready(Ok(None))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ping_due {
            ready!(self.transport.poll_ready_unpin(cx))?;
            self.transport.start_send_unpin(Message::Ping(Bytes::new()))?;
            self.ping_due = false;
        }
        if !self.outgoing.is_empty() {
            ready!(self.transport.poll_ready_unpin(cx))?;
            let message = Bytes::from(std::mem::take(&mut self.outgoing));
            self.transport.start_send_unpin(Message::Binary(message))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Transport> AsyncRead for Wire<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut socket = self.lock();
        if socket.held.is_full(cx.waker()) {
            return Poll::Pending;
        }
        if socket.incoming.is_empty() {
            match ready!(socket.poll_message(cx))? {
                Some(bytes) => socket.incoming = bytes,
                None => return Poll::Ready(Ok(0)),
            }
        }
        let n = buf.len().min(socket.incoming.len());
        socket.incoming.copy_to_slice(&mut buf[..n]);
        socket.held.received(&buf[..n]);
        if socket.incoming.is_empty() {
            socket.incoming = Bytes::new();
        }
        Poll::Ready(Ok(n))
    }
}

impl<T: Transport> AsyncWrite for Wire<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut socket = self.lock();
        if socket.outgoing.len() == MAX_SENT_MESSAGE {
            ready!(socket.poll_send(cx))?;
        }
        socket.flushed = false;
        let n = buf.len().min(MAX_SENT_MESSAGE - socket.outgoing.len());
        socket.outgoing.extend_from_slice(&buf[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut socket = self.lock();
        ready!(socket.poll_send(cx))?;
        ready!(socket.transport.poll_flush_unpin(cx))?;
        socket.flushed = true;
        Poll::Ready(Ok(()))
    }

    /// Only flushes: the driver closes, with a code.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
