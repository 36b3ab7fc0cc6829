//! A change goes out at once. Further ones of the same thing within a short time go out together when that time ends.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::store::Change;

/// How long changes of one thing wait for each other after one went out.
const WINDOW: Duration = Duration::from_millis(50);

/// What went out a moment ago, and what waits.
#[derive(Debug, Default)]
pub(super) struct Windows(HashMap<Change, Window>);

#[derive(Clone, Copy, Debug)]
struct Window {
    ends: Instant,
    is_due: bool,
}

impl Windows {
    /// A change has come.
    pub(super) fn open(&mut self, change: Change, now: Instant) {
        self.0.entry(change).or_insert(Window { ends: now, is_due: true }).is_due = true;
    }

    /// What could not be told is due at `at`.
    pub(super) fn again(&mut self, change: Change, at: Instant) {
        self.0.insert(change, Window { ends: at, is_due: true });
    }

    /// When to look next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|window| window.ends).min()
    }

    /// What is to go out now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Change> {
        let mut due = Vec::new();
        self.0.retain(|change, window| {
            if window.ends > now {
                return true;
            }
            if window.is_due {
                due.push(*change);
            }
            std::mem::replace(window, Window { ends: now + WINDOW, is_due: false }).is_due
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_first_change_is_due_at_once_and_those_that_follow_it_together() {
        let (mut windows, start) = (Windows::default(), Instant::now());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let (alice, bob) = (Change::Owner(Uuid::from_u128(1)), Change::Owner(Uuid::from_u128(2)));
        windows.open(alice, at(0));
        assert_eq!(windows.due(at(0)), [alice]);
        windows.open(alice, at(10));
        windows.open(alice, at(20));
        windows.open(bob, at(20));
        assert_eq!(windows.due(at(20)), [bob]);
        assert_eq!(windows.next(), Some(at(50)));
        assert_eq!(windows.due(at(50)), [alice]);
        windows.open(alice, at(60));
        assert_eq!(windows.due(at(70)), []);
        assert_eq!(windows.due(at(100)), [alice]);
        assert_eq!(windows.due(at(150)), []);
        assert_eq!(windows.next(), None);
        windows.open(alice, at(160));
        assert_eq!(windows.due(at(160)), [alice]);
    }

    #[test]
    fn what_failed_is_due_later() {
        let (mut windows, start) = (Windows::default(), Instant::now());
        windows.open(Change::Any, start);
        assert_eq!(windows.due(start), [Change::Any]);
        windows.again(Change::Any, start + WINDOW * 2);
        assert_eq!(windows.due(start + WINDOW), []);
        assert_eq!(windows.due(start + WINDOW * 2), [Change::Any]);
    }
}
