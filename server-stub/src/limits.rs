//! How much one caller may ask for.
//!
//! Users are refused over their rate and told when to come again. Agents are answered late instead: they drop what is refused, or end
//! the session. Everybody has a few [`Turn`]s at a time, so the queue of writes, which is first come first served, never holds more than
//! a few operations of one caller, and each operation is small.
//!
//! Who is known is counted by who they are, so that many people and ten thousand agents behind one address do not stand in each other's
//! way. An address is counted for failed authentication only.

mod buckets;
mod lines;
mod seats;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::drpc::Shares;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use uuid::Uuid;

use buckets::Buckets;
pub use lines::{Caller, Lines, Repeats};
use seats::Seats;

/// Default of `--rate-limit`: requests a minute and principal, as in Coder.
pub const DEFAULT_RATE: u32 = 512;
/// Failed authentications a minute and address. Tokens cannot be guessed; this bounds the work and the noise.
const FAILURES: u32 = 60;
/// Calls of an agent that are answered at once: one that comes back after an outage may have five hundred waiting.
const CALLS: u32 = 600;
/// Calls a second afterwards, in proportion to `--rate-limit`.
const CALLS_A_SECOND: f64 = 20.0;
/// A delivery counts as so many calls: it reads and decrypts everything, and is a record of the audit log.
const DELIVERY: u32 = 5;
/// Requests or calls of one user or agent that are worked on at a time; more wait for their turn.
const TURNS: usize = 4;
/// Packets over 64 KiB that are in memory for one agent at a time, all its sessions together.
const LARGE_PACKETS: usize = 2;
/// WebSocket dials in progress at a time: each holds a manifest's worth of memory soon after.
const DIALS: usize = 256;
/// Longest wait for one of these places. An agent gives up after thirty seconds and comes again later.
const DIAL_WAIT: Duration = Duration::from_secs(25);
/// Large request bodies in memory at a time.
const LARGE_BODIES: usize = 8;

/// When a caller who asked for too much may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub u64);

/// What a call of an agent costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// A report.
    Call,
    /// The manifest.
    Delivery,
    /// A stream that may stay open for as long as the session.
    Stream,
}

/// A request or call that is being worked on; the next one of the same caller may follow when it is dropped.
#[derive(Debug, Default)]
#[must_use]
pub struct Turn {
    _place: Option<OwnedSemaphorePermit>,
}

/// The limits of one server.
#[derive(Debug)]
pub struct Limits {
    principals: Option<Buckets<Uuid>>,
    failures: Buckets<IpAddr>,
    calls: Option<Buckets<Uuid>>,
    turns: Seats<Semaphore>,
    shares: Seats<Shares>,
    dials: Arc<Semaphore>,
    large_bodies: Arc<Semaphore>,
}

impl Limits {
    /// `rate` is requests a minute and principal; 0 for no limit.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self {
            principals: (rate > 0).then(|| Buckets::a_minute(rate)),
            failures: Buckets::a_minute(FAILURES),
            calls: (rate > 0).then(|| {
                let part = f64::from(rate) / f64::from(DEFAULT_RATE);
                Buckets::new(CALLS.max(rate), CALLS_A_SECOND * part)
            }),
            turns: Seats::default(),
            shares: Seats::default(),
            dials: Arc::new(Semaphore::new(DIALS)),
            large_bodies: Arc::new(Semaphore::new(LARGE_BODIES)),
        }
    }

    /// Counts a request of an authenticated user or agent.
    pub fn request(&self, principal: Uuid) -> Result<(), RetryAfter> {
        self.principals.as_ref().map_or(Ok(()), |buckets| buckets.take(principal, Instant::now()))
    }

    /// Counts a failed authentication.
    pub fn failed_authentication(&self, address: Option<IpAddr>) -> Result<(), RetryAfter> {
        self.failures.take(network(address.unwrap_or(Ipv6Addr::UNSPECIFIED.into())), Instant::now())
    }

    /// Waits for the turn of a user's or agent's request; refuses after a while, for clients give up as well.
    pub async fn turn(&self, principal: Uuid) -> Result<Turn, RetryAfter> {
        place(&self.turns_of(principal)).await.map(|place| Turn { _place: Some(place) })
    }

    /// Waits until an agent may make a call, for as long as it takes.
    pub async fn call(&self, agent: Uuid, call: Cost) -> Turn {
        let place = self.turns_of(agent).acquire_owned().await.ok();
        let cost = if call == Cost::Delivery { DELIVERY } else { 1 };
        if let Some(calls) = &self.calls {
            sleep(calls.claim(agent, cost, Instant::now())).await;
        }
        // A stream that stays open does nothing meanwhile.
        Turn { _place: place.filter(|_| call != Cost::Stream) }
    }

    /// What all sessions of an agent may hold together.
    pub fn shares(&self, agent: Uuid) -> Arc<Shares> {
        self.shares.of(agent, || Arc::new(Shares::new(LARGE_PACKETS)))
    }

    fn turns_of(&self, principal: Uuid) -> Arc<Semaphore> {
        self.turns.of(principal, || Arc::new(Semaphore::new(TURNS)))
    }

    /// A place to dial in, to be held until the session stands; waits rather than refuses, for agents start in crowds.
    pub async fn dial(&self) -> Result<OwnedSemaphorePermit, RetryAfter> {
        place(&self.dials).await
    }

    /// A place for a large request body, to be held while it is in memory.
    pub async fn large_body(&self) -> Result<OwnedSemaphorePermit, RetryAfter> {
        place(&self.large_bodies).await
    }
}

async fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, RetryAfter> {
    let busy = RetryAfter(5);
    tokio::time::timeout(DIAL_WAIT, Arc::clone(places).acquire_owned()).await.map_err(|_| busy)?.map_err(|_| busy)
}

/// What counts as one caller: an IPv4 address, or an IPv6 /64, which one host has to itself.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_over_the_rate_are_answered_late_and_each_agent_has_its_own() {
        let (limits, agent, start) = (Limits::new(DEFAULT_RATE), Uuid::from_u128(1), tokio::time::Instant::now());
        for _ in 0..CALLS {
            drop(limits.call(agent, Cost::Call).await);
        }
        assert!(start.elapsed() < Duration::from_millis(10));
        assert!(limits.call(agent, Cost::Call).now_or_never().is_none());
        drop(limits.call(Uuid::from_u128(2), Cost::Delivery).now_or_never().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_a_few_turns_at_a_time() {
        let limits = Limits::new(0);
        let turns: Vec<_> = (0..TURNS).map(|_| limits.turn(Uuid::nil()).now_or_never().unwrap().unwrap()).collect();
        assert_eq!(limits.turn(Uuid::nil()).await.unwrap_err(), RetryAfter(5));
        assert!(limits.call(Uuid::nil(), Cost::Stream).now_or_never().is_none());
        assert!(limits.turn(Uuid::from_u128(1)).now_or_never().unwrap().is_ok());
        drop(turns);
        let streams: Vec<_> =
            (0..=TURNS).map(|_| limits.call(Uuid::nil(), Cost::Stream).now_or_never().unwrap()).collect();
        drop(streams);
    }

    #[test]
    fn an_ipv6_host_is_its_network_and_a_mapped_one_is_ipv4() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }

    #[test]
    fn zero_is_no_limit() {
        let limits = Limits::new(0);
        assert!((0..10_000).all(|_| limits.request(Uuid::nil()).is_ok()));
    }
}
