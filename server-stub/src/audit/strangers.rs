//! Log lines about callers nobody knows: a few for each address, then a count.
//!
//! Anyone who reaches the port can ask for `/healthz` or send a wrong token ten thousand times a second. One log line for each would
//! fill the disk.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Lines a minute for each address: enough to see who knocks, and for the probe of a load balancer.
const LINES: u32 = 10;
/// Addresses counted one by one in a minute. Requests from further addresses share one count.
const MAX_ADDRESSES: usize = 1024;

/// Requests of unknown callers since the last report.
#[derive(Debug, Default)]
pub struct Strangers(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    addresses: HashMap<Option<IpAddr>, Count>,
    elsewhere: u64,
}

#[derive(Debug, Default)]
struct Count {
    lines: u32,
    unlogged: u64,
}

impl Strangers {
    /// Counts a request, and tells whether it gets a log line of its own.
    pub fn may_log(&self, address: Option<IpAddr>) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.addresses.len() >= MAX_ADDRESSES && !counts.addresses.contains_key(&address) {
            counts.elsewhere += 1;
            return false;
        }
        let count = counts.addresses.entry(address).or_default();
        if count.lines < LINES {
            count.lines += 1;
            return true;
        }
        count.unlogged += 1;
        false
    }

    /// Logs one line for each address that had more requests than lines, and begins anew.
    pub fn report(&self) {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (address, count) in counts.addresses.iter().filter(|(_, count)| count.unlogged > 0) {
            tracing::warn!(
                address = address.map(tracing::field::display),
                count = count.unlogged,
                "more requests without a valid token, or over a limit, from one address"
            );
        }
        if counts.elsewhere > 0 {
            tracing::warn!(count = counts.elsewhere, "requests without a valid token from too many addresses to list");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "callers have an address or none")]
    fn address(n: u32) -> Option<IpAddr> {
        Some(IpAddr::from(n.to_be_bytes()))
    }

    #[test]
    fn each_address_has_a_few_lines_a_minute() {
        let strangers = Strangers::default();
        let logged = |n| (0..1000).filter(|_| strangers.may_log(address(n))).count();
        assert_eq!((logged(1), logged(2), logged(1)), (10, 10, 0));
        strangers.report();
        assert_eq!(logged(1), 10);
    }

    #[test]
    fn the_addresses_that_are_remembered_are_bounded() {
        let strangers = Strangers::default();
        let logged = (0..5000).filter(|n| strangers.may_log(address(*n))).count();
        assert_eq!(logged, MAX_ADDRESSES);
        assert_eq!(strangers.0.lock().unwrap().elsewhere, 5000 - MAX_ADDRESSES as u64);
    }
}
