//! Telling a database that is away from every other failure.

use std::error::Error;
use std::sync::Arc;

use super::engine::{DatabaseError, Fault};

/// A database that is away, as callers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Nothing was done; it may work later.
    Unreachable,
    /// The connection was lost while a change was being committed, so nobody knows whether it was.
    Unknown,
}

/// Whether `error`, or a source of it, says that the database is away.
#[must_use]
pub fn outage(error: &(dyn Error + 'static)) -> Option<Outage> {
    std::iter::successors(Some(error), |error| (*error).source()).find_map(|error| {
        // Only a commit shares its error.
        if let Some(error) = error.downcast_ref::<Arc<DatabaseError>>() {
            return (error.fault() == Fault::Lost).then_some(Outage::Unknown);
        }
        let fault = error.downcast_ref::<DatabaseError>()?.fault();
        matches!(fault, Fault::Lost | Fault::Busy).then_some(Outage::Unreachable)
    })
}

#[cfg(test)]
mod tests {
    use super::super::StoreError;
    use super::*;

    fn lost() -> DatabaseError {
        sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()).into()
    }

    #[test]
    fn only_a_commit_leaves_it_open_whether_a_change_was_made() {
        let query = StoreError::Query { action: "write", source: lost() };
        assert_eq!(outage(&query), Some(Outage::Unreachable));
        assert_eq!(outage(&StoreError::Commit(Arc::new(lost()))), Some(Outage::Unknown));
        let full = StoreError::Query { action: "write", source: sqlx::Error::RowNotFound.into() };
        assert_eq!(outage(&full), None);
    }
}
