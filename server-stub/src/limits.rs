//! How much one caller may ask for.
//!
//! Who is known is counted by who they are, so that many people and ten thousand agents behind one address do not stand in each other's
//! way. An address is counted for failed authentication only.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// Default of `--rate-limit`: requests a minute and principal, as in Coder.
pub const DEFAULT_RATE: u32 = 512;
/// Failed authentications a minute and address. Tokens cannot be guessed; this bounds the work and the noise.
const FAILURES: u32 = 60;
/// Callers remembered at a time. When more come than fit, those whose allowance is whole again are forgotten first.
const MAX_CALLERS: usize = 65_536;
/// WebSocket dials in progress at a time: each holds a manifest's worth of memory soon after.
const DIALS: usize = 256;
/// Longest wait for one of these places. An agent gives up after thirty seconds and comes again later.
const DIAL_WAIT: Duration = Duration::from_secs(25);
/// Large request bodies in memory at a time.
const LARGE_BODIES: usize = 8;

const MINUTE: Duration = Duration::from_mins(1);

/// When a caller who asked for too much may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub u64);

/// The limits of one server.
#[derive(Debug)]
pub struct Limits {
    principals: Option<Buckets<Uuid>>,
    failures: Buckets<IpAddr>,
    dials: Arc<Semaphore>,
    large_bodies: Arc<Semaphore>,
}

impl Limits {
    /// `rate` is requests a minute and principal; 0 for no limit.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self {
            principals: (rate > 0).then(|| Buckets::new(rate)),
            failures: Buckets::new(FAILURES),
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

/// Token buckets: `rate` at once, refilled over a minute.
#[derive(Debug)]
struct Buckets<K> {
    rate: u32,
    callers: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: f64,
    at: Instant,
}

impl<K: Eq + Hash> Buckets<K> {
    fn new(rate: u32) -> Self {
        Self { rate, callers: Mutex::default() }
    }

    fn take(&self, caller: K, now: Instant) -> Result<(), RetryAfter> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= MAX_CALLERS && !callers.contains_key(&caller) {
            callers.retain(|_, bucket| now.duration_since(bucket.at) < MINUTE);
            if callers.len() >= MAX_CALLERS {
                return Err(RetryAfter(MINUTE.as_secs()));
            }
        }
        let full = f64::from(self.rate);
        let per_second = full / MINUTE.as_secs_f64();
        let bucket = callers.entry(caller).or_insert(Bucket { level: full, at: now });
        bucket.level = (now.duration_since(bucket.at).as_secs_f64() * per_second + bucket.level).min(full);
        bucket.at = now;
        if bucket.level >= 1.0 {
            bucket.level -= 1.0;
            return Ok(());
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between one and sixty seconds")]
        let seconds = ((1.0 - bucket.level) / per_second).ceil().max(1.0) as u64;
        Err(RetryAfter(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_tells_when_to_come_again_and_refills() {
        let (buckets, start) = (Buckets::new(60), Instant::now());
        for _ in 0..60 {
            assert_eq!(buckets.take("alice", start), Ok(()));
        }
        assert_eq!(buckets.take("alice", start), Err(RetryAfter(1)));
        assert_eq!(buckets.take("bob", start), Ok(()));
        assert_eq!(buckets.take("alice", start + Duration::from_secs(1)), Ok(()));
        assert_eq!(buckets.take("alice", start + Duration::from_secs(1)), Err(RetryAfter(1)));
        assert_eq!(Buckets::new(1).take("x", start), Ok(()));
    }

    #[test]
    fn callers_are_bounded_and_forgotten_when_their_allowance_is_whole() {
        let (buckets, start) = (Buckets::new(60), Instant::now());
        for caller in 0..MAX_CALLERS {
            assert_eq!(buckets.take(caller, start), Ok(()));
        }
        assert_eq!(buckets.take(MAX_CALLERS, start), Err(RetryAfter(60)));
        assert_eq!(buckets.take(0, start), Ok(()));
        assert_eq!(buckets.take(MAX_CALLERS, start + MINUTE), Ok(()));
        assert_eq!(buckets.callers.lock().unwrap().len(), 1);
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
