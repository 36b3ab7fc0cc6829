//! Which connections may hold a place, when there are fewer places than callers.
//!
//! A connection costs its place from the moment it is accepted, before anybody knows whether it is an agent or someone who opens
//! sockets to keep others out. An address cannot decide: ten thousand agents may share one. What tells them apart is that an agent
//! sends a request at once. So a connection without a complete request head counts as silent after [`PATIENCE`], and each address may
//! hold a few silent connections only. When no place is free, silent connections over the share lose theirs sooner.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::limits::network;

/// How long a new connection may take for a TLS handshake and the head of its first request before it counts as silent.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same when no place is free, for addresses that hold more than their share: a slow handshake takes less.
const SHORT_PATIENCE: Duration = Duration::from_millis(500);
/// Pause between two looks for a place to take back.
const PAUSE: Duration = Duration::from_millis(50);
/// The share of one address among all places, and its bounds.
const SHARE: usize = 32;
const MIN_SHARE: usize = 4;
const MAX_SHARE: usize = 256;

/// All places of a server.
pub(super) struct Places {
    permits: Arc<Semaphore>,
    share: usize,
    /// When fewer are free, callers without a valid token lose their connection with the answer.
    scarce: usize,
    waiting: Mutex<Waiting>,
}

/// Connections without a complete request head, in the order of their arrival.
#[derive(Default)]
struct Waiting {
    next: u64,
    connections: BTreeMap<u64, Headless>,
}

struct Headless {
    /// None for a trusted proxy, whose connections are those of many.
    network: Option<IpAddr>,
    since: Instant,
    closed: CancellationToken,
}

impl Places {
    pub(super) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(count)),
            share: (count / SHARE).clamp(MIN_SHARE, MAX_SHARE),
            scarce: count / 4,
            waiting: Mutex::default(),
        })
    }

    /// Waits for a free place, and takes places back from silent connections meanwhile. None when there will never be one.
    pub(super) async fn free(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            let acquired = Arc::clone(&self.permits).acquire_owned();
            tokio::select! {
                biased;
                permit = acquired => return permit.ok(),
                () = sleep(PAUSE) => self.take_back(),
            }
        }
    }

    /// Enters a connection from `address`, which holds `permit`.
    pub(super) fn enter(self: &Arc<Self>, permit: OwnedSemaphorePermit, address: Option<IpAddr>) -> Place {
        let closed = CancellationToken::new();
        let network = address.map(network);
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        waiting.connections.insert(number, Headless { network, since: Instant::now(), closed: closed.clone() });
        Place { places: Arc::clone(self), number, closed, _permit: permit }
    }

    /// Whether few places are free.
    pub(super) fn are_scarce(&self) -> bool {
        self.permits.available_permits() < self.scarce
    }

    /// Closes the oldest connections of addresses that hold more than their share and have had a moment.
    fn take_back(&self) {
        let waiting = self.waiting();
        let mut held: HashMap<IpAddr, usize> = HashMap::new();
        let networks = |headless: &Headless| headless.network.filter(|_| !headless.closed.is_cancelled());
        for network in waiting.connections.values().filter_map(networks) {
            *held.entry(network).or_default() += 1;
        }
        for headless in waiting.connections.values().filter(|headless| headless.since.elapsed() > SHORT_PATIENCE) {
            let Some(held) = networks(headless).and_then(|network| held.get_mut(&network)) else { continue };
            if *held > self.share {
                *held -= 1;
                headless.closed.cancel();
            }
        }
    }

    /// Whether more silent connections than the share of its address came before connection `number`.
    fn is_over_the_share(&self, number: u64) -> bool {
        let waiting = self.waiting();
        let Some(network) = waiting.connections.get(&number).and_then(|headless| headless.network) else {
            return false;
        };
        let earlier = waiting.connections.range(..number).filter(|(_, other)| other.network == Some(network));
        earlier.filter(|(_, other)| !other.closed.is_cancelled()).count() >= self.share
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection; free again when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    closed: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// What the connection tells its place by, and learns its end from.
    pub(super) fn handle(&self) -> Handle {
        Handle { places: Arc::clone(&self.places), number: self.number, closed: self.closed.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.waiting().connections.remove(&self.number);
    }
}

/// A connection as its place knows it.
#[derive(Clone)]
pub(super) struct Handle {
    places: Arc<Places>,
    number: u64,
    closed: CancellationToken,
}

impl Handle {
    /// The head of a request has arrived: the connection is silent no more.
    pub(super) fn heard(&self) {
        self.places.waiting().connections.remove(&self.number);
    }

    /// Whether few places are free.
    pub(super) fn is_scarce(&self) -> bool {
        self.places.are_scarce()
    }

    /// Comes back when the connection must give up its place; never for one that has been heard in time.
    pub(super) async fn lost(&self) {
        tokio::select! {
            () = self.closed.cancelled() => return,
            () = sleep(PATIENCE) => {}
        }
        if !self.places.is_over_the_share(self.number) {
            self.closed.cancelled().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn enter(places: &Arc<Places>, address: [u8; 4]) -> Place {
        let permit = Arc::clone(&places.permits).try_acquire_owned().unwrap();
        places.enter(permit, Some(address.into()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_keeps_its_share_of_silent_connections() {
        let places = Places::new(64);
        let silent: Vec<_> = (0..10).map(|_| enter(&places, [192, 0, 2, 1])).collect();
        let other = enter(&places, [192, 0, 2, 2]);
        let lost: Vec<_> = silent.iter().map(Place::handle).collect();
        let mut lost: Vec<_> = lost.iter().map(|handle| Box::pin(handle.lost())).collect();
        assert!(lost.iter_mut().all(|lost| lost.now_or_never().is_none()));
        tokio::time::advance(PATIENCE + Duration::from_millis(1)).await;
        let ended: Vec<_> = lost.iter_mut().map(|lost| lost.now_or_never().is_some()).collect();
        assert_eq!(ended, [false, false, false, false, true, true, true, true, true, true]);
        let handle = other.handle();
        assert!(handle.lost().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_heard_is_not_silent_and_a_proxy_has_no_share() {
        let places = Places::new(64);
        let places_of: Vec<_> = (0..10).map(|_| enter(&places, [192, 0, 2, 1])).collect();
        places_of.iter().take(6).for_each(|place| place.handle().heard());
        let permit = Arc::clone(&places.permits).try_acquire_owned().unwrap();
        let proxied = places.enter(permit, None);
        for place in places_of.iter().chain([&proxied]) {
            assert!(!places.is_over_the_share(place.number));
        }
    }
}
