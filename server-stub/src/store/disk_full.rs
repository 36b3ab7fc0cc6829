//! Telling a full disk from every other failure.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::engine::{DatabaseError, Fault};

/// Whether `error`, or a source of it, says that the disk or the quota is full.
#[must_use]
pub fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source()).any(|error| {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        }
        let database = error.downcast_ref::<DatabaseError>();
        // Everybody who waited for one commit gets the same error.
        let database = database.or_else(|| error.downcast_ref::<Arc<DatabaseError>>().map(AsRef::as_ref));
        database.is_some_and(|error| error.fault() == Fault::Full)
    })
}
