//! The key in the running agent: one request for all the ssh that one git starts.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::key::GitKey;

/// Without use. Long enough for git to come from a repository to its submodules, short enough that a regenerated key is
/// used at once as far as a person can tell.
const IDLE: Duration = Duration::from_secs(10);
/// However much it is used.
const LONGEST: Duration = Duration::from_mins(1);
/// Sixteen ssh must not wait for the same time-out one after another.
const FAILURE: Duration = Duration::from_secs(3);

type Outcome<E> = Result<Arc<GitKey>, Arc<E>>;
type Slot<E> = Mutex<Option<Held<E>>>;

/// What was fetched last.
#[derive(Debug)]
struct Held<E> {
    begun: Instant,
    until: Instant,
    outcome: Outcome<E>,
}

/// A key that is asked for when somebody needs it, kept in guarded memory while it is used and a few seconds more.
#[derive(Debug)]
pub struct KeyCache<E> {
    slot: Arc<Slot<E>>,
}

impl<E> Default for KeyCache<E> {
    fn default() -> Self {
        Self { slot: Arc::default() }
    }
}

impl<E: Send + Sync + 'static> KeyCache<E> {
    /// The key, by `fetch` where none is held, or, for `fresh`, none that was asked for since now. Who comes while one is
    /// fetched waits for that one. Needs a tokio runtime.
    pub async fn get<F: Future<Output = Result<GitKey, E>>>(
        &self,
        fresh: bool,
        fetch: impl FnOnce() -> F,
    ) -> Outcome<E> {
        let asked = Instant::now();
        let mut slot = self.slot.lock().await;
        if let Some(held) = slot.as_mut()
            && !(fresh && held.begun < asked)
            && held.is_valid()
        {
            return held.outcome.clone();
        }
        // Dropped before the next one is asked for, not after.
        *slot = None;
        let begun = Instant::now();
        let outcome = fetch().await.map(Arc::new).map_err(Arc::new);
        let until = Instant::now() + if outcome.is_ok() { IDLE } else { FAILURE };
        *slot = Some(Held { begun, until, outcome: outcome.clone() });
        tokio::spawn(forget(Arc::downgrade(&self.slot), begun, until));
        outcome
    }
}

impl<E> KeyCache<E> {
    /// Drops the key that is held. One that is being fetched is dropped when it is there.
    pub async fn clear(&self) {
        *self.slot.lock().await = None;
    }
}

impl<E> Held<E> {
    /// Whether it may still be used, which prolongs its time.
    fn is_valid(&mut self) -> bool {
        let now = Instant::now();
        let valid = now < self.until;
        if valid && self.outcome.is_ok() {
            self.until = self.until.max((now + IDLE).min(self.begun + LONGEST));
        }
        valid
    }
}

/// Empties the slot when its time has come, unless something newer is in it.
async fn forget<E>(slot: Weak<Slot<E>>, begun: Instant, mut until: Instant) {
    loop {
        sleep_until(until).await;
        let Some(slot) = slot.upgrade() else { return };
        let mut slot = slot.lock().await;
        match &*slot {
            Some(held) if held.begun == begun && held.until > until => until = held.until,
            Some(held) if held.begun == begun => return *slot = None,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use protocol::rest::AgentGitSshKey;
    use tokio::time::sleep;

    use super::*;

    /// Less than [`IDLE`].
    const NOT_YET: Duration = Duration::from_secs(9);

    /// Counts what it is asked for, and takes a second each time.
    #[derive(Default)]
    struct Server(AtomicU32);

    impl Server {
        async fn fetch(&self) -> Result<GitKey, u32> {
            self.0.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_secs(1)).await;
            let key = GitKey::new(AgentGitSshKey {
                public_key: include_str!("testdata/ed25519.pub").to_owned(),
                private_key: include_str!("testdata/ed25519").to_owned().into(),
            });
            Ok(key.unwrap())
        }

        fn requests(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_that_come_while_it_is_used_cost_one_request() {
        let (cache, server) = (KeyCache::default(), Server::default());
        let keys = futures_util::future::join_all((0..16).map(|_| cache.get(false, || server.fetch()))).await;
        assert!(keys.iter().all(Result::is_ok));
        for _ in 0..5 {
            sleep(NOT_YET).await;
            cache.get(false, || server.fetch()).await.unwrap();
        }
        assert_eq!(server.requests(), 1);
        // Used without a pause it is still not kept for ever.
        sleep(NOT_YET).await;
        cache.get(false, || server.fetch()).await.unwrap();
        sleep(NOT_YET).await;
        cache.get(false, || server.fetch()).await.unwrap();
        assert_eq!(server.requests(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_key_is_soon_gone_from_memory() {
        let (cache, server) = (KeyCache::default(), Server::default());
        let held = Arc::downgrade(&cache.get(false, || server.fetch()).await.unwrap());
        sleep(IDLE / 2).await;
        cache.get(false, || server.fetch()).await.unwrap();
        sleep(NOT_YET).await;
        assert!(held.upgrade().is_some());
        sleep(Duration::from_secs(2)).await;
        assert!(held.upgrade().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_the_present_key_gets_one_asked_for_since() {
        let (cache, server) = (KeyCache::default(), Server::default());
        cache.get(false, || server.fetch()).await.unwrap();
        futures_util::future::join_all((0..16).map(|_| cache.get(true, || server.fetch()))).await;
        assert_eq!(server.requests(), 2);
        cache.get(false, || server.fetch()).await.unwrap();
        assert_eq!(server.requests(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_shared_and_then_tried_again() {
        let cache = KeyCache::default();
        for _ in 0..2 {
            assert_eq!(*cache.get(false, || async { Err("first") }).await.unwrap_err(), "first");
            assert_eq!(*cache.get(false, || async { Err("second") }).await.unwrap_err(), "first");
            sleep(FAILURE).await;
        }
    }
}
