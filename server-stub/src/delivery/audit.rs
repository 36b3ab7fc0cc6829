//! The audit records of deliveries, written together and without holding up the deliveries.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;

use crate::metrics;
use crate::store::audit::Record;
use crate::store::{Store, StoreError};

/// Records on their way to the disk while their deliveries go on. An agent that fetches in a loop soon waits for its own.
const MAX_BACKGROUND: usize = 1024;
/// Records of one transaction, so that others do not wait for all of them.
const BATCH: usize = 64;

/// Whether deliveries reach the audit log.
///
/// A delivery does not wait for the commit of its record: the commit would take most of the time that a workspace needs to start. The
/// server's log has the delivery by then, so only a server killed within these milliseconds loses the record. After a record could not
/// be written (on a full disk, say), the next delivery waits until its record is on the disk.
///
/// What comes while one transaction commits is written by the next: ten thousand agents at boot are some hundred commits, whatever the
/// engine does with writes of its own accord.
#[derive(Debug, Default)]
pub struct DeliveryAudit {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Record>,
    /// Whether a task writes what waits.
    writing: bool,
    failing: bool,
}

impl DeliveryAudit {
    /// Writes `record` in the background, as a task of `tasks`. Waits for the write instead if the last write failed, or if too many
    /// records wait; only then can this fail.
    pub async fn write(self: &Arc<Self>, store: &Store, tasks: &TaskTracker, record: Record) -> Result<(), StoreError> {
        let record = {
            let mut queue = self.queue();
            if queue.failing || queue.waiting.len() >= MAX_BACKGROUND {
                Some(record)
            } else {
                queue.waiting.push(record);
                if !std::mem::replace(&mut queue.writing, true) {
                    tasks.spawn(Arc::clone(self).drain(store.clone()));
                }
                None
            }
        };
        match record {
            Some(record) => self.write_all(store, vec![record]).await,
            None => Ok(()),
        }
    }

    /// Writes until nothing waits.
    async fn drain(self: Arc<Self>, store: Store) {
        loop {
            let batch: Vec<_> = {
                let mut queue = self.queue();
                let batch = queue.waiting.len().min(BATCH);
                queue.writing = batch > 0;
                queue.waiting.drain(..batch).collect()
            };
            if batch.is_empty() {
                return;
            }
            let count = batch.len();
            if let Err(error) = self.write_all(&store, batch).await {
                tracing::error!(error = &error as &dyn std::error::Error, count, "cannot audit deliveries");
            }
        }
    }

    async fn write_all(&self, store: &Store, records: Vec<Record>) -> Result<(), StoreError> {
        let count = records.len();
        let written = store.audit().write_all(records).await;
        self.queue().failing = written.is_err();
        if written.is_err() {
            metrics::unaudited_deliveries(count);
        }
        written
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::audit::Actor;
    use crate::store::testing;

    #[tokio::test]
    async fn every_record_is_written_and_the_task_ends() {
        let (_dir, store) = testing::store().await;
        let (audit, tasks) = (Arc::new(DeliveryAudit::default()), TaskTracker::new());
        for n in 0..3 * BATCH {
            let record = Record::new(Actor::Administrator, "deliver", "user_secret").on(None, &n.to_string());
            audit.write(&store, &tasks, record).await.unwrap();
        }
        tasks.close();
        tasks.wait().await;
        let targets: Vec<_> = store.audit().newest(1000).await.unwrap().into_iter().map(|entry| entry.target).collect();
        assert_eq!(targets, (0..3 * BATCH).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(!audit.queue().writing);
    }

    #[tokio::test]
    async fn after_a_failure_a_delivery_waits_for_its_record() {
        let (_dir, store) = testing::store().await;
        let (audit, tasks) = (Arc::new(DeliveryAudit::default()), TaskTracker::new());
        store.close().await;
        let record = || Record::new(Actor::Administrator, "deliver", "user_secret");
        audit.write(&store, &tasks, record()).await.unwrap();
        tasks.close();
        tasks.wait().await;
        audit.write(&store, &tasks, record()).await.unwrap_err();
    }
}
