//! A few of a kind in a minute for each caller, then a count: log lines and audit records that anybody can cause without end.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::limits::network;

/// Callers counted one by one in a minute. Further ones share one count.
const MAX_CALLERS: usize = 4096;

/// Who causes a log line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Someone without a valid token, by network; none if unknown.
    Address(Option<IpAddr>),
    /// A user or agent, by name.
    Known(String),
}

impl Caller {
    /// Lines a minute: of a stranger enough to see who knocks, and for the probe of a load balancer.
    fn lines(&self) -> u32 {
        match self {
            Self::Address(_) => 10,
            Self::Known(_) => 120,
        }
    }
}

/// Who was counted in a minute, and how much of each got nothing of its own.
#[derive(Debug)]
struct Counts<K> {
    callers: HashMap<K, Count>,
    elsewhere: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    kept: u32,
    more: u64,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self { callers: HashMap::new(), elsewhere: 0 }
    }
}

impl<K: Eq + Hash> Counts<K> {
    /// Counts one, and tells whether it is among the first `most` of `caller`.
    fn keeps(&mut self, caller: K, most: u32) -> bool {
        if self.callers.len() >= MAX_CALLERS && !self.callers.contains_key(&caller) {
            self.elsewhere += 1;
            return false;
        }
        let count = self.callers.entry(caller).or_default();
        if count.kept < most {
            count.kept += 1;
            return true;
        }
        count.more += 1;
        false
    }
}

/// Log lines since the last report.
#[derive(Debug, Default)]
pub struct Lines(Mutex<Counts<Caller>>);

impl Lines {
    /// Counts an event, and tells whether it gets a line of its own.
    pub fn may_log(&self, caller: Caller) -> bool {
        let caller = match caller {
            Caller::Address(address) => Caller::Address(address.map(network)),
            known @ Caller::Known(_) => known,
        };
        let most = caller.lines();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keeps(caller, most)
    }

    /// Logs one line for each caller that had more events than lines, and begins anew.
    pub fn report(&self) {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (caller, count) in counts.callers.iter().filter(|(_, count)| count.more > 0) {
            let count = count.more;
            match caller {
                Caller::Address(address) => tracing::warn!(
                    address = address.map(tracing::field::display),
                    count,
                    "more requests without a valid token, or over a limit, from one address"
                ),
                Caller::Known(name) => {
                    tracing::warn!(by = name, count, "more events of one user or agent than log lines");
                }
            }
        }
        if counts.elsewhere > 0 {
            tracing::warn!(count = counts.elsewhere, "requests from too many callers to list");
        }
    }
}

/// Audit records since the last count, by who caused which kind.
#[derive(Debug)]
pub struct Repeats<K>(Mutex<Counts<K>>);

impl<K> Default for Repeats<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Repeats<K> {
    /// Counts a record, and tells whether it is kept as itself: the first `most` in a minute are.
    pub fn keeps(&self, kind: K, most: u32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keeps(kind, most)
    }

    /// The kinds of which there were more, with their counts; and those of too many callers to tell apart. Begins anew.
    pub fn more(&self) -> (Vec<(K, u64)>, u64) {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let more = counts.callers.into_iter().filter(|(_, count)| count.more > 0);
        (more.map(|(kind, count)| (kind, count.more)).collect(), counts.elsewhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> Caller {
        Caller::Address(Some(IpAddr::from(n.to_be_bytes())))
    }

    #[test]
    fn each_caller_has_a_few_lines_a_minute() {
        let lines = Lines::default();
        let logged = |caller: Caller| (0..1000).filter(|_| lines.may_log(caller.clone())).count();
        assert_eq!((logged(address(1)), logged(address(2)), logged(address(1))), (10, 10, 0));
        assert_eq!((logged(Caller::Known("alice".into())), logged(Caller::Known("bob".into()))), (120, 120));
        lines.report();
        assert_eq!(logged(address(1)), 10);
    }

    #[test]
    fn the_callers_that_are_remembered_are_bounded() {
        let lines = Lines::default();
        let logged = (0..5000).filter(|n| lines.may_log(address(*n))).count();
        assert_eq!(logged, MAX_CALLERS);
        assert_eq!(lines.0.lock().unwrap().elsewhere, 5000 - MAX_CALLERS as u64);
    }

    #[test]
    fn the_rest_of_a_kind_is_told_once_with_its_count() {
        let repeats = Repeats::default();
        assert_eq!((0..100).filter(|_| repeats.keeps("connect", 30)).count(), 30);
        assert!(repeats.keeps("disconnect", 30));
        assert_eq!(repeats.more(), (vec![("connect", 70)], 0));
        assert_eq!(repeats.more(), (vec![], 0));
    }
}
