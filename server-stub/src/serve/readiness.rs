//! `GET /readyz`: whether the server can do its work, for load balancers and orchestrators.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::api_error::{ApiError, DISK_FULL};
use crate::state::AppState;
use crate::store::is_disk_full;

/// How long an answer is good for: anybody may ask, and each look writes to the disk.
const FRESH: Duration = Duration::from_secs(2);

/// Longest wait for the database: a load balancer asks every few seconds, and takes no answer for a no.
const PATIENCE: Duration = Duration::from_secs(2);

/// Less room than this counts as a full disk: the values of one user would not fit. A write of one page alone still finds room in the
/// log of the database, when a secret does not.
const LEAST_ROOM: u64 = 256 * 1024;

/// The last look at the database.
pub(super) struct Readiness {
    /// Where the database is, unless another server keeps it.
    disk: Option<PathBuf>,
    last: Mutex<Option<(Instant, Result<(), &'static str>)>>,
}

impl Readiness {
    pub(super) fn new(disk: Option<PathBuf>) -> Self {
        Self { disk, last: Mutex::default() }
    }

    /// `OK`, or 503 with the reason.
    pub(super) async fn answer(&self, state: &AppState) -> Result<&'static str, ApiError> {
        let unavailable = |why| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, why);
        if state.stopping.is_cancelled() {
            return Err(unavailable("The server is stopping."));
        }
        // Who comes meanwhile waits for the look that is under way.
        let mut last = self.last.lock().await;
        if let Some((at, ready)) = *last
            && at.elapsed() < FRESH
        {
            return ready.map(|()| "OK").map_err(unavailable);
        }
        let ready = if self.has_room() { probe(state).await } else { Err(DISK_FULL) };
        *last = Some((Instant::now(), ready));
        ready.map(|()| "OK").map_err(unavailable)
    }

    /// A disk that does not tell has room.
    fn has_room(&self) -> bool {
        let told = self.disk.as_ref().and_then(|disk| rustix::fs::statvfs(disk).ok());
        told.is_none_or(|told| told.f_bavail.saturating_mul(told.f_frsize) >= LEAST_ROOM)
    }
}

async fn probe(state: &AppState) -> Result<(), &'static str> {
    let Ok(probed) = timeout(PATIENCE, state.store.probe()).await else {
        tracing::error!("not ready: the database does not answer");
        return Err("The database of the server does not answer.");
    };
    probed.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "not ready");
        if is_disk_full(&error) { DISK_FULL } else { "The server cannot write to its database." }
    })
}
