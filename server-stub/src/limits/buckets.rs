//! Token buckets. Not a library's (governor): its store of callers has no bound, and its wait for many tokens at once no order.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::RetryAfter;

/// Callers remembered at a time. When more come than fit, those whose allowance is whole again are forgotten first.
const MAX_CALLERS: usize = 65_536;

/// A bucket of tokens for each caller: `burst` at once, refilled all the time.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    burst: f64,
    per_second: f64,
    callers: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Below zero when tokens were promised that are still to come.
    level: f64,
    at: Instant,
}

impl<K: Eq + Hash> Buckets<K> {
    pub(super) fn new(burst: u32, per_second: f64) -> Self {
        Self { burst: f64::from(burst), per_second, callers: Mutex::default() }
    }

    /// `rate` at once, refilled over a minute.
    pub(super) fn a_minute(rate: u32) -> Self {
        Self::new(rate, f64::from(rate) / 60.0)
    }

    /// Takes a token, or tells when there will be one.
    pub(super) fn take(&self, caller: K, now: Instant) -> Result<(), RetryAfter> {
        let full = RetryAfter(self.to_fill().as_secs());
        self.with(caller, now, |bucket| {
            if bucket.level >= 1.0 {
                bucket.level -= 1.0;
                return Ok(());
            }
            let wait = self.wait(1.0 - bucket.level);
            Err(RetryAfter(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)))
        })
        .unwrap_or(Err(full))
    }

    /// Takes tokens, and tells how long to wait until they are there; whoever claims next waits behind.
    pub(super) fn claim(&self, caller: K, tokens: u32, now: Instant) -> Duration {
        let claimed = self.with(caller, now, |bucket| {
            bucket.level -= f64::from(tokens);
            self.wait(-bucket.level)
        });
        claimed.unwrap_or_else(|| self.to_fill())
    }

    /// None if there are too many callers.
    fn with<T>(&self, caller: K, now: Instant, work: impl FnOnce(&mut Bucket) -> T) -> Option<T> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= MAX_CALLERS && !callers.contains_key(&caller) {
            callers.retain(|_, bucket| self.level(*bucket, now) < self.burst);
            if callers.len() >= MAX_CALLERS {
                return None;
            }
        }
        let bucket = callers.entry(caller).or_insert(Bucket { level: self.burst, at: now });
        *bucket = Bucket { level: self.level(*bucket, now), at: now };
        Some(work(bucket))
    }

    fn level(&self, bucket: Bucket, now: Instant) -> f64 {
        (now.duration_since(bucket.at).as_secs_f64() * self.per_second + bucket.level).min(self.burst)
    }

    fn wait(&self, tokens: f64) -> Duration {
        Duration::from_secs_f64(tokens.max(0.0) / self.per_second)
    }

    fn to_fill(&self) -> Duration {
        self.wait(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_tells_when_to_come_again_and_refills() {
        let (buckets, start) = (Buckets::a_minute(60), Instant::now());
        for _ in 0..60 {
            assert_eq!(buckets.take("alice", start), Ok(()));
        }
        assert_eq!(buckets.take("alice", start), Err(RetryAfter(1)));
        assert_eq!(buckets.take("bob", start), Ok(()));
        assert_eq!(buckets.take("alice", start + Duration::from_secs(1)), Ok(()));
        assert_eq!(buckets.take("alice", start + Duration::from_secs(1)), Err(RetryAfter(1)));
        assert_eq!(Buckets::a_minute(1).take("x", start), Ok(()));
    }

    #[test]
    fn claims_wait_behind_each_other() {
        let (buckets, start) = (Buckets::new(4, 2.0), Instant::now());
        let waits: Vec<_> = (0..7).map(|_| buckets.claim("agent", 1, start).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 500, 1000, 1500]);
        assert_eq!(buckets.claim("agent", 1, start + Duration::from_secs(1)).as_millis(), 1000);
        assert_eq!(buckets.claim("other", 4, start), Duration::ZERO);
    }

    #[test]
    fn callers_are_bounded_and_forgotten_when_their_allowance_is_whole() {
        let (buckets, start) = (Buckets::a_minute(60), Instant::now());
        for caller in 0..MAX_CALLERS {
            assert_eq!(buckets.take(caller, start), Ok(()));
        }
        assert_eq!(buckets.take(MAX_CALLERS, start), Err(RetryAfter(60)));
        assert_eq!(buckets.take(0, start), Ok(()));
        assert_eq!(buckets.take(MAX_CALLERS, start + Duration::from_mins(1)), Ok(()));
        assert_eq!(buckets.callers.lock().unwrap().len(), 1);
    }
}
