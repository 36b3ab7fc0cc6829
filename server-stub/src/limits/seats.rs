//! Something that all requests of one caller share, for as long as any of them holds it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use uuid::Uuid;

/// Callers known at a time before those are forgotten who hold nothing.
const SWEEP: usize = 1024;

/// One `Arc` for each caller.
#[derive(Debug)]
pub(super) struct Seats<T>(Mutex<Callers<T>>);

#[derive(Debug)]
struct Callers<T> {
    held: HashMap<Uuid, Weak<T>>,
    sweep: usize,
}

impl<T> Default for Seats<T> {
    fn default() -> Self {
        Self(Mutex::new(Callers { held: HashMap::new(), sweep: SWEEP }))
    }
}

impl<T> Seats<T> {
    /// What `caller` shares; made if nobody holds it.
    pub(super) fn of(&self, caller: Uuid, make: impl FnOnce() -> Arc<T>) -> Arc<T> {
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = callers.held.get(&caller).and_then(Weak::upgrade) {
            return held;
        }
        if callers.held.len() >= callers.sweep {
            callers.held.retain(|_, held| held.strong_count() > 0);
            callers.sweep = SWEEP.max(callers.held.len() * 2);
        }
        let fresh = make();
        callers.held.insert(caller, Arc::downgrade(&fresh));
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_keeps_what_is_held_and_is_forgotten_afterwards() {
        let seats = Seats::default();
        let first = seats.of(Uuid::nil(), || Arc::new(1));
        assert_eq!(*seats.of(Uuid::nil(), || Arc::new(2)), 1);
        drop(first);
        for caller in 0..10 * SWEEP as u128 {
            assert_eq!(*seats.of(Uuid::from_u128(caller), || Arc::new(3)), 3);
        }
        assert!(seats.0.lock().unwrap().held.len() <= SWEEP);
    }
}
