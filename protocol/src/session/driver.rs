//! The one task of a session: it alone moves bytes between yamux and the WebSocket.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::io::AsyncWrite;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use yamux::{Connection, Mode};

use super::held::{Held, Part};
use super::stream::{Command, Place};
use super::transport::{Life, NORMAL, Transport, Wire};
use super::{Options, Role, Stream};

/// How long a peer may take to let us say goodbye.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);
/// Streams that yamux still counts though their owners have dropped them; at its own limit it ends the session.
const LINGERING_STREAMS: usize = 256;

/// The driver's ends of what connects it to the handles.
pub(super) struct Links {
    pub(super) life: Arc<Life>,
    pub(super) stop: CancellationToken,
    pub(super) ended: CancellationToken,
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) requested: mpsc::UnboundedReceiver<Command>,
    pub(super) accepted: mpsc::UnboundedSender<Stream>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) held: Arc<Held>,
}

/// Why the connection is no longer polled.
enum State {
    /// The next look at the clock has a later time.
    Later,
    Ended,
}

pub(super) struct Driver<T> {
    wire: Wire<T>,
    connection: Connection<Wire<T>>,
    options: Options,
    links: Links,
    inbound_permits: Arc<Semaphore>,
    next_ping: Instant,
    opening: Option<(OwnedSemaphorePermit, oneshot::Sender<Stream>)>,
    finishing: Vec<(Box<yamux::Stream>, Place)>,
}

impl<T: Transport> Driver<T> {
    pub(super) fn new(wire: Wire<T>, role: Role, options: Options, links: Links) -> Self {
        let mode = match role {
            Role::Agent => Mode::Client,
            Role::Server => Mode::Server,
        };
        Self {
            connection: Connection::new(wire.clone(), limits(&options), mode),
            wire,
            inbound_permits: Arc::new(Semaphore::new(options.max_inbound_streams)),
            next_ping: Instant::now() + options.ping_interval,
            options,
            links,
            opening: None,
            finishing: Vec::new(),
        }
    }

    pub(super) async fn run(mut self) {
        self.drive().await;
        let Self { wire, connection, links, opening, finishing, .. } = self;
        // Ends every stream, every caller who waits for one, and `accept`, before the close handshake, which may take long.
        drop((connection, opening, finishing, links.requested, links.accepted));
        links.permits.close();
        links.ended.cancel();
        match timeout(CLOSE_LIMIT, wire.close(NORMAL)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "closing the session"),
            Err(_) => debug!("the peer did not end the session in time"),
        }
    }

    /// Returns when the session is over.
    async fn drive(&mut self) {
        let stop = self.links.stop.clone();
        loop {
            let wake = self.next_ping.min(self.dead_at());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(wake) => {
                    if self.dead_at() <= Instant::now() {
                        warn!(limit = ?self.options.silence_limit, "nothing came from the peer: ending the session");
                        return;
                    }
                    if self.next_ping <= Instant::now() {
                        self.wire.ping();
                        self.links.life.pinged();
                        self.next_ping = Instant::now() + self.options.ping_interval;
                    }
                }
                state = std::future::poll_fn(|cx| self.poll_until_later(wake, cx)) => match state {
                    State::Later => {}
                    State::Ended => return,
                },
            }
        }
        // A peer that does not read must not hold us up.
        if timeout(CLOSE_LIMIT, std::future::poll_fn(|cx| self.poll_drained(cx))).await.is_err() {
            debug!("the peer did not take what was queued");
        }
    }

    /// When the peer counts as dead, should nothing come until then.
    fn dead_at(&self) -> Instant {
        self.links.life.last_seen() + self.options.silence_limit
    }

    /// Ready when the connection has ended, or when `wake` has become too early: an idle process should not wake for the
    /// end of a silence that is over.
    fn poll_until_later(&mut self, wake: Instant, cx: &mut Context<'_>) -> Poll<State> {
        match self.poll(cx) {
            Poll::Ready(()) => Poll::Ready(State::Ended),
            Poll::Pending if wake < self.next_ping.min(self.dead_at()) => Poll::Ready(State::Later),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Ready when all that the streams have queued is sent. Not `Connection::poll_close`: it forgets to wake the readers
    /// of its streams, and the `GoAway` it sends is more than Go says when it ends a session.
    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll(cx) {
            Poll::Pending if !self.wire.is_flushed() => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Ready when the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Err(error) = self.poll_requested(cx) {
                debug!(%error, "the session can open no stream");
                return Poll::Ready(());
            }
            self.finishing.retain_mut(|(stream, _)| Pin::new(stream).poll_close(cx).is_pending());
            match self.connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => self.accept(stream, cx),
                Poll::Ready(Some(Err(error))) => {
                    debug!(%error, "the session ended");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_requested(&mut self, cx: &mut Context<'_>) -> Result<(), yamux::ConnectionError> {
        loop {
            if let Some((permit, reply)) = self.opening.take() {
                match self.connection.poll_new_outbound(cx) {
                    Poll::Ready(stream) => {
                        let stream = Stream::new(stream?, Place { permit, part: None }, self.links.commands.clone());
                        // Whoever asked may be gone; the stream then finishes itself.
                        let _ = reply.send(stream);
                    }
                    Poll::Pending => {
                        self.opening = Some((permit, reply));
                        return Ok(());
                    }
                }
            }
            match self.links.requested.poll_recv(cx) {
                Poll::Ready(Some(Command::Open { reply, .. })) if reply.is_closed() => {}
                Poll::Ready(Some(Command::Open { permit, reply })) => self.opening = Some((permit, reply)),
                Poll::Ready(Some(Command::Finish { stream, place })) => self.finishing.push((stream, place)),
                Poll::Ready(None) | Poll::Pending => return Ok(()),
            }
        }
    }

    fn accept(&mut self, mut stream: yamux::Stream, cx: &mut Context<'_>) {
        let part = Some(Part::new(self.links.held.clone(), stream.id().val()));
        let Ok(permit) = self.inbound_permits.clone().try_acquire_owned() else {
            warn!(limit = self.options.max_inbound_streams, "too many streams at once: resetting one");
            return;
        };
        // The crate acknowledges a stream with its first write, which may be minutes away; the peer ends the session
        // when none comes in 75 s. Nothing written is acknowledgement enough (trap 5). A new stream takes it at once.
        if let Poll::Ready(Ok(_)) = Pin::new(&mut stream).poll_write(cx, &[]) {
            // Nobody accepts any more: the session is about to stop.
            let _ = self.links.accepted.send(Stream::new(stream, Place { permit, part }, self.links.commands.clone()));
        }
    }
}

fn limits(options: &Options) -> yamux::Config {
    let streams = options.max_inbound_streams + options.max_outbound_streams + LINGERING_STREAMS;
    let mut config = yamux::Config::default();
    config
        // The crate panics when the window, at any moment, is too small for the streams (trap 17).
        .set_max_connection_receive_window(None)
        .set_max_num_streams(streams)
        // Exactly the guaranteed windows: the crate has nothing left to grow a window with, so 256 KiB is the most that a
        // stream can make us hold.
        .set_max_connection_receive_window(Some(streams * yamux::DEFAULT_CREDIT as usize));
    config
}
