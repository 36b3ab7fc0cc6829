//! The key in the running agent: one request for all the ssh that git starts at once.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::key::GitKey;

/// Long enough for the sixteen ssh of a `git fetch --jobs=16`, short enough that a regenerated key is used at once as
/// far as a person can tell.
const LIFETIME: Duration = Duration::from_secs(3);

type Outcome<E> = Result<Arc<GitKey>, Arc<E>>;
/// What was fetched last, until when.
type Slot<E> = Mutex<Option<(Instant, Outcome<E>)>>;

/// A key that is asked for when somebody needs it, kept for three seconds in guarded memory, then dropped. A failure is
/// kept as long, so that sixteen do not wait for the same time-out one after another.
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
    /// The key, by `fetch` where none is held. Who comes while one is fetched waits for that one. Needs a tokio runtime.
    pub async fn get<F: Future<Output = Result<GitKey, E>>>(&self, fetch: impl FnOnce() -> F) -> Outcome<E> {
        let mut slot = self.slot.lock().await;
        if let Some((until, outcome)) = &*slot
            && Instant::now() < *until
        {
            return outcome.clone();
        }
        // Dropped before the next one is asked for, not after.
        *slot = None;
        let outcome = fetch().await.map(Arc::new).map_err(Arc::new);
        let until = Instant::now() + LIFETIME;
        *slot = Some((until, outcome.clone()));
        tokio::spawn(forget(Arc::downgrade(&self.slot), until));
        outcome
    }
}

/// Empties the slot when its time has come, unless something newer is in it.
async fn forget<E>(slot: Weak<Slot<E>>, until: Instant) {
    sleep_until(until).await;
    let Some(slot) = slot.upgrade() else { return };
    let mut slot = slot.lock().await;
    if slot.as_ref().is_some_and(|(current, _)| *current == until) {
        *slot = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use protocol::rest::AgentGitSshKey;

    use super::*;

    fn key() -> GitKey {
        GitKey::new(AgentGitSshKey {
            public_key: include_str!("testdata/ed25519.pub").to_owned(),
            private_key: include_str!("testdata/ed25519").to_owned().into(),
        })
        .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn sixteen_at_once_cost_one_request_and_the_key_is_soon_gone() {
        let (cache, requests) = (KeyCache::<()>::default(), AtomicU32::new(0));
        let get = || {
            cache.get(|| async {
                requests.fetch_add(1, Ordering::Relaxed);
                sleep_until(Instant::now() + Duration::from_secs(1)).await;
                Ok(key())
            })
        };
        let keys = futures_util::future::join_all((0..16).map(|_| get())).await;
        assert!(keys.iter().all(Result::is_ok));
        assert_eq!(requests.load(Ordering::Relaxed), 1);
        let held = Arc::downgrade(keys[0].as_ref().unwrap());
        drop(keys);
        assert!(held.upgrade().is_some());
        sleep_until(Instant::now() + LIFETIME + Duration::from_millis(10)).await;
        assert!(held.upgrade().is_none());
        get().await.unwrap();
        assert_eq!(requests.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_shared_and_then_tried_again() {
        let cache = KeyCache::default();
        for _ in 0..2 {
            assert_eq!(*cache.get(|| async { Err("first") }).await.unwrap_err(), "first");
            assert_eq!(*cache.get(|| async { Err("second") }).await.unwrap_err(), "first");
            sleep_until(Instant::now() + LIFETIME).await;
        }
    }
}
