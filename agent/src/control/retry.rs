use std::time::Duration;

use backoff::SystemClock;
use backoff::backoff::Backoff as _;
use backoff::exponential::{ExponentialBackoff, ExponentialBackoffBuilder};

const FIRST: Duration = Duration::from_millis(100);
/// No pause is longer, jitter included.
const LONGEST: Duration = Duration::from_secs(10);
/// Pauses spread by a half each way: a thousand agents that lost the same server must not come back together.
const JITTER: f64 = 0.5;

/// How long to wait before the next attempt. The one place that knows the `backoff` crate, which nobody maintains.
pub(super) struct Retry(ExponentialBackoff<SystemClock>);

impl Retry {
    pub(super) fn new() -> Self {
        Self(
            ExponentialBackoffBuilder::new()
                .with_initial_interval(FIRST)
                .with_max_interval(LONGEST.div_f64(1.0 + JITTER))
                .with_randomization_factor(JITTER)
                .with_multiplier(1.6)
                // For ever: a workspace outlives any outage of its server.
                .with_max_elapsed_time(None)
                .build(),
        )
    }

    pub(super) fn pause(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(LONGEST).min(LONGEST)
    }

    /// The last attempt worked.
    pub(super) fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_a_tenth_of_a_second_to_ten_seconds_and_start_again_after_success() {
        let mut retry = Retry::new();
        let first = retry.pause();
        assert!((Duration::from_millis(50)..=Duration::from_millis(150)).contains(&first), "{first:?}");
        let pauses: Vec<_> = (0..100).map(|_| retry.pause()).collect();
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        assert!(pauses[50..].iter().all(|pause| *pause >= LONGEST / 4), "{pauses:?}");
        assert!(pauses[50..].iter().any(|pause| pause != &pauses[50]), "jitter: {pauses:?}");
        retry.reset();
        assert!(retry.pause() <= Duration::from_millis(150));
    }
}
