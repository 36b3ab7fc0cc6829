//! Records beside those of the writes themselves: uses of tokens, and counts of what comes too often to be told one by one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::limits::{Lines, Repeats};
use crate::store::audit::{Actor, Kind, Record};
use crate::store::{Store, StoreError, TokenUse, now};

/// Uses are written once in this time, not once a request.
const FLUSH_INTERVAL: Duration = Duration::from_mins(1);
/// Records older than the retention are looked for this often.
const PURGE_INTERVAL: Duration = Duration::from_hours(1);
/// Records of one kind that one user or agent gets in a minute; the rest is one record with their number. Writes of secrets and deliveries
/// are not among them: each of these has its own, and is slowed by its rate.
const RECORDS: u32 = 60;
/// Records and uses of tokens of one transaction, so that others do not wait for all of them.
const BATCH: usize = 64;
/// Pairs of token and address remembered between two flushes; uses of further ones are counted as unrecorded.
const MAX_PENDING: usize = 16_384;

/// Who, with which session token, from where.
type Key = (Uuid, Option<String>, Option<IpAddr>);

/// Uses of tokens that are not written yet.
#[derive(Debug, Default)]
pub struct TokenUses {
    pending: Mutex<HashMap<Key, TokenUse>>,
    unrecorded: AtomicU64,
    /// Log lines of those who can cause them without end.
    pub lines: Lines,
    repeats: Repeats<Kind>,
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

    /// Writes a record of something that changed nothing else. When its kind comes too often it is counted instead.
    pub async fn record(&self, store: &Store, record: Record) -> Result<(), StoreError> {
        if self.repeats.keeps(record.kind(), RECORDS) { store.audit().write(record).await } else { Ok(()) }
    }

    /// Writes what is pending.
    pub async fn flush(&self, store: &Store) -> Result<(), StoreError> {
        let uses: Vec<_> =
            self.pending.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, used)| used).collect();
        let unrecorded = self.unrecorded.swap(0, Ordering::Relaxed);
        if unrecorded > 0 {
            tracing::warn!(count = unrecorded, "too many different uses of tokens to record; dropped some");
        }
        self.lines.report();
        let (more, elsewhere) = self.repeats.more();
        if elsewhere > 0 {
            tracing::warn!(count = elsewhere, "audit records of too many callers in a minute; dropped some");
        }
        let more: Vec<_> = more.into_iter().map(|(kind, count)| Record::more(kind, count)).collect();
        for batch in more.chunks(BATCH) {
            store.audit().write_all(batch.to_vec()).await?;
        }
        for batch in uses.chunks(BATCH) {
            store.tokens().record_uses(batch.to_vec()).await?;
        }
        Ok(())
    }
}

/// How much of the audit log is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// For how long; none for ever.
    pub age: Option<Duration>,
    /// How many bytes; none for as many as there are.
    pub bytes: Option<u64>,
}

/// Flushes and purges for as long as the server runs; the caller flushes once more after it has stopped.
pub async fn keep(store: Store, uses: &TokenUses, retention: Retention) {
    let mut flush = tokio::time::interval(FLUSH_INTERVAL);
    let mut purge = tokio::time::interval(PURGE_INTERVAL);
    loop {
        tokio::select! {
            _ = flush.tick() => {
                report(uses.flush(&store).await);
                let Some(bytes) = retention.bytes else { continue };
                report(store.audit().keep_within(bytes).await.map(|dropped| {
                    if dropped > 0 {
                        tracing::warn!(dropped, "the audit log is over --audit-max-size; dropped the oldest records");
                    }
                }));
            }
            _ = purge.tick() => {
                report(store.tokens().purge().await.map(drop));
                let Some(age) = retention.age else { continue };
                report(store.audit().purge(age).await.map(|purged| {
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
        Actor::User {
            id: Uuid::from_u128(id),
            name: "alice".into(),
            address: Some([10, 0, 0, host].into()),
            token: None,
        }
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
