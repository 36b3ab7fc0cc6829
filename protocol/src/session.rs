//! WebSocket messages as a byte stream, and yamux over it.
//!
//! [`Session::start`] takes a WebSocket connection of any library and spawns one driver task, which alone reads and
//! writes it. What a session costs while it is idle is about 6 KiB, its task included: buffers exist only while
//! something is in them. What a hostile peer can make it hold is [`Options::max_held`] bytes and what is being read.

mod driver;
mod held;
mod stream;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use driver::Driver;
use held::Held;
use stream::Command;
pub use stream::Stream;
use transport::{Life, Wire};
pub use transport::{MAX_SENT_MESSAGE, Message, Transport};

/// Five hundred calls that wait have some kilobytes each; a call of megabytes is read as it comes.
const MAX_HELD: usize = 4 * 1024 * 1024;

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The workspace agent: the yamux client.
    Agent,
    /// The control plane: the yamux server.
    Server,
}

/// Limits of a session. [`Options::new`] has the ones that fit a real peer.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often a WebSocket ping goes out. Every peer answers them, so a healthy one is never silent for longer.
    pub ping_interval: Duration,
    /// A peer from which nothing came for this long is dead, and the session ends.
    pub silence_limit: Duration,
    /// Streams of ours in flight; more wait. The peer resets what exceeds its backlog of 256 (trap 16).
    pub max_outbound_streams: usize,
    /// Streams of the peer in flight; one more is reset, which fails that call and leaves the session alone (trap 17).
    pub max_inbound_streams: usize,
    /// Bytes of the peer's streams that wait to be read, all together. While there are more, nothing is taken from the connection.
    pub max_held: usize,
}

impl Options {
    /// What `role` needs: an agent gives a ping 10 s for its answer, a server allows 30 s of silence.
    #[must_use]
    pub fn new(role: Role) -> Self {
        let (interval, silence, inbound) = match role {
            Role::Agent => (30, 40, 16),
            // An agent that just came back may have 500 calls waiting.
            Role::Server => (15, 30, 640),
        };
        Self {
            ping_interval: Duration::from_secs(interval),
            silence_limit: Duration::from_secs(silence),
            max_outbound_streams: 64,
            max_inbound_streams: inbound,
            max_held: MAX_HELD,
        }
    }
}

/// The session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended")]
pub struct Closed;

/// The owner of a session: dropping it ends the session, as [`Session::close`] does but without waiting for it.
#[derive(Debug)]
pub struct Session {
    inbound: mpsc::UnboundedReceiver<Stream>,
    opener: Opener,
    pulse: Pulse,
    stop: CancellationToken,
    driver: Option<JoinHandle<()>>,
}

impl Session {
    /// Starts to drive `transport`, in a task of the current tokio runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(transport: impl Transport, role: Role, options: Options) -> Self {
        let life = Arc::new(Life::new());
        let ended = CancellationToken::new();
        let stop = CancellationToken::new();
        // Neither queue needs a bound of its own: each entry holds a permit of its stream.
        let (commands, requested) = mpsc::unbounded_channel();
        let (accepted, inbound) = mpsc::unbounded_channel();
        let permits = Arc::new(Semaphore::new(options.max_outbound_streams));
        let opener = Opener { commands: commands.clone(), permits: permits.clone() };
        let held = Held::new(options.max_held);
        let driver = Driver::new(
            Wire::new(transport, life.clone(), held.clone()),
            role,
            options,
            driver::Links {
                life: life.clone(),
                stop: stop.clone(),
                ended: ended.clone(),
                commands,
                requested,
                accepted,
                permits,
                held,
            },
        );
        let driver = Some(tokio::spawn(driver.run()));
        Self { inbound, opener, pulse: Pulse { life, ended }, stop, driver }
    }

    /// A handle that opens streams.
    #[must_use]
    pub fn opener(&self) -> Opener {
        self.opener.clone()
    }

    /// A handle that observes the session, for who must not own it.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// The next stream of the peer, already acknowledged to it; `None` when the session has ended.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.inbound.recv().await
    }

    /// When anything last came from the peer.
    #[must_use]
    pub fn last_seen(&self) -> Instant {
        self.pulse.last_seen()
    }

    /// Waits until the session has ended, whoever ended it and however.
    pub async fn closed(&self) {
        self.pulse.closed().await;
    }

    /// Sends what is queued, closes the WebSocket with 1000 and waits, a few seconds at most, for the peer to do so too.
    pub async fn close(mut self) {
        self.stop.cancel();
        if let Some(driver) = self.driver.take() {
            // A panic of the driver has ended the session as well, and the panic hook has told of it.
            let _ = driver.await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Opens streams of one session; it does not keep the session alive.
#[derive(Clone, Debug)]
pub struct Opener {
    commands: mpsc::UnboundedSender<Command>,
    permits: Arc<Semaphore>,
}

impl Opener {
    /// A new stream, once fewer than [`Options::max_outbound_streams`] are in flight.
    pub async fn open(&self) -> Result<Stream, Closed> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| Closed)?;
        let (reply, opened) = oneshot::channel();
        self.commands.send(Command::Open { permit, reply }).map_err(|_| Closed)?;
        opened.await.map_err(|_| Closed)
    }
}

/// Observes one session; it does not keep the session alive.
#[derive(Clone, Debug)]
pub struct Pulse {
    life: Arc<Life>,
    ended: CancellationToken,
}

impl Pulse {
    /// When anything last came from the peer: data, a ping or a pong.
    #[must_use]
    pub fn last_seen(&self) -> Instant {
        self.life.last_seen()
    }

    /// Waits until the session has ended.
    pub async fn closed(&self) {
        self.ended.cancelled().await;
    }

    /// Waits for the `count`th ping that goes out from now on. What is written then wakes the peer no more often than the ping does.
    pub async fn pinged(&self, count: u64) {
        let mut pings = self.life.pings();
        let last = pings.borrow().saturating_add(count);
        // The sender lives as long as this.
        let _ = pings.wait_for(|pings| *pings >= last).await;
    }
}
