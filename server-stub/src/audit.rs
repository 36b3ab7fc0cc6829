//! Records beside those of the writes themselves: uses of tokens, and counts of requests by unknown callers.

mod strangers;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

pub use strangers::Strangers;

use crate::store::audit::Actor;
use crate::store::{Store, StoreError, TokenUse, now};

/// Uses are written once in this time, not once a request.
const FLUSH_INTERVAL: Duration = Duration::from_mins(1);
/// Records older than the retention are looked for this often.
const PURGE_INTERVAL: Duration = Duration::from_hours(1);
/// Pairs of token and address remembered between two flushes; uses of further ones are counted as unrecorded.
const MAX_PENDING: usize = 16_384;

/// Who, with which session token, from where.
type Key = (Uuid, Option<String>, Option<IpAddr>);

/// Uses of tokens that are not written yet.
#[derive(Debug, Default)]
pub struct TokenUses {
    pending: Mutex<HashMap<Key, TokenUse>>,
    unrecorded: AtomicU64,
    /// Requests of callers nobody knows.
    pub strangers: Strangers,
}

impl TokenUses {
    /// A valid token was presented: a session token with its public id, or an agent's.
    pub fn note(&self, actor: &Actor, token_id: Option<&str>) {
        let Some(id) = actor.id() else { return };
        let key = (id, token_id.map(str::to_owned), actor.address());
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len() >= MAX_PENDING && !pending.contains_key(&key) {
            self.unrecorded.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let used = pending.entry(key).or_insert_with(|| TokenUse {
            actor: actor.clone(),
            token_id: token_id.map(str::to_owned),
            last: now(),
            requests: 0,
        });
        used.last = now();
        used.requests += 1;
    }

    /// Writes what is pending.
    pub async fn flush(&self, store: &Store) -> Result<(), StoreError> {
        let uses: Vec<_> =
            self.pending.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, used)| used).collect();
        let unrecorded = self.unrecorded.swap(0, Ordering::Relaxed);
        if unrecorded > 0 {
            tracing::warn!(count = unrecorded, "too many different uses of tokens to record; dropped some");
        }
        self.strangers.report();
        if uses.is_empty() { Ok(()) } else { store.tokens().record_uses(uses).await }
    }
}

/// Flushes and purges for as long as the server runs; the caller flushes once more after it has stopped.
pub async fn keep(store: Store, uses: &TokenUses, retention: Option<Duration>) {
    let mut flush = tokio::time::interval(FLUSH_INTERVAL);
    let mut purge = tokio::time::interval(PURGE_INTERVAL);
    loop {
        tokio::select! {
            _ = flush.tick() => report(uses.flush(&store).await),
            _ = purge.tick() => {
                let Some(retention) = retention else { continue };
                report(store.audit().purge(retention).await.map(|purged| {
                    if purged > 0 {
                        tracing::info!(purged, "purged old audit records");
                    }
                }));
            }
        }
    }
}

fn report(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::error!(error = &error as &dyn std::error::Error, "cannot write the audit log");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    fn actor(id: u128, host: u8) -> Actor {
        Actor::User { id: Uuid::from_u128(id), name: "alice".into(), address: Some([10, 0, 0, host].into()) }
    }

    #[tokio::test]
    async fn many_uses_are_one_record_for_each_token_and_address() {
        let (_dir, store) = testing::store().await;
        let uses = TokenUses::default();
        for n in 0..100 {
            uses.note(&actor(1, n % 2), Some("token"));
        }
        uses.note(&actor(2, 0), None);
        uses.flush(&store).await.unwrap();
        uses.flush(&store).await.unwrap();
        let entries = store.audit().newest(10).await.unwrap();
        let mut counts: Vec<_> = entries.iter().map(|entry| entry.diff["requests"].as_u64().unwrap()).collect();
        counts.sort_unstable();
        assert_eq!(counts, [1, 50, 50]);
    }

    #[test]
    fn what_waits_to_be_recorded_is_bounded() {
        let uses = TokenUses::default();
        for n in 0..MAX_PENDING + 10 {
            uses.note(&actor(n as u128, 0), None);
        }
        uses.note(&actor(0, 0), None);
        assert_eq!(uses.pending.lock().unwrap().len(), MAX_PENDING);
        assert_eq!(uses.unrecorded.load(Ordering::Relaxed), 10);
    }
}
