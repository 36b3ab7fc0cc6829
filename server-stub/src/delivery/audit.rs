//! The audit record of a delivery, written without holding up the delivery.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::store::audit::Record;
use crate::store::{Store, StoreError};

/// Records on their way to the disk while their deliveries go on. An agent that fetches in a loop soon waits for its own.
const MAX_BACKGROUND: usize = 1024;

/// Whether deliveries reach the audit log.
///
/// A delivery does not wait for the commit of its record: the commit would take most of the time that a workspace needs to start. The
/// server's log has the delivery by then, so only a server killed within these milliseconds loses the record. After a record could not
/// be written (on a full disk, say), the next delivery waits until its record is on the disk.
#[derive(Debug)]
pub struct DeliveryAudit {
    failing: AtomicBool,
    background: Arc<Semaphore>,
}

impl Default for DeliveryAudit {
    fn default() -> Self {
        Self { failing: AtomicBool::new(false), background: Arc::new(Semaphore::new(MAX_BACKGROUND)) }
    }
}

impl DeliveryAudit {
    /// Writes `record` in the background, as a task of `tasks`. Waits for the write instead if the last write failed, or if too many
    /// writes are under way; only then can this fail.
    pub async fn write(self: &Arc<Self>, store: &Store, tasks: &TaskTracker, record: Record) -> Result<(), StoreError> {
        let writing = {
            let (deliveries, store) = (Arc::clone(self), store.clone());
            async move {
                let written = store.audit().write(record).await;
                deliveries.failing.store(written.is_err(), Ordering::Relaxed);
                written
            }
        };
        match Arc::clone(&self.background).try_acquire_owned() {
            Ok(place) if !self.failing.load(Ordering::Relaxed) => {
                tasks.spawn(async move {
                    let _place = place;
                    if let Err(error) = writing.await {
                        tracing::error!(error = &error as &dyn std::error::Error, "cannot audit a delivery");
                    }
                });
                Ok(())
            }
            _ => writing.await,
        }
    }
}
