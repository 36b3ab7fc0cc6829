//! Waiting for a condition with a bound; no test sleeps.

use std::time::{Duration, Instant};

/// Enough for anything that should happen at once, on a machine that is busy with other tests.
pub const SHORT: Duration = Duration::from_secs(20);
/// Enough for a whole boot, a back-off at its cap and a debug build on two shared cores.
pub const LONG: Duration = Duration::from_mins(1);

/// Polls `probe` until it answers; panics with `what` when `bound` has passed.
#[track_caller]
pub fn wait_for<T>(what: &str, bound: Duration, probe: impl FnMut() -> Option<T>) -> T {
    poll(bound, probe).unwrap_or_else(|| panic!("not within {bound:?}: {what}"))
}

/// Polls `condition` until it holds; panics with `what` when `bound` has passed.
#[track_caller]
pub fn wait_until(what: &str, bound: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, bound, || condition().then_some(()));
}

/// Polls `probe` until it answers or `bound` has passed.
pub(crate) fn poll<T>(bound: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let found = probe();
        let waited = start.elapsed();
        if found.is_some() || waited >= bound {
            return found;
        }
        // What is measured by waiting for it is measured to a few per cent.
        std::thread::sleep((waited / 20).clamp(Duration::from_micros(200), Duration::from_millis(5)));
    }
}
