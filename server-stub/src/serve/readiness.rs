//! `GET /readyz`: whether the server can do its work, for load balancers and orchestrators.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use tokio::sync::Mutex;

use crate::api_error::{ApiError, DISK_FULL};
use crate::state::AppState;
use crate::store::is_disk_full;

/// How long an answer is good for: anybody may ask, and each look writes to the disk.
const FRESH: Duration = Duration::from_secs(2);

/// The last look at the database.
#[derive(Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, Result<(), &'static str>)>>);

impl Readiness {
    /// `OK`, or 503 with the reason.
    pub(super) async fn answer(&self, state: &AppState) -> Result<&'static str, ApiError> {
        let unavailable = |why| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, why);
        if state.shutdown.is_cancelled() {
            return Err(unavailable("The server is stopping."));
        }
        // Who comes meanwhile waits for the look that is under way.
        let mut last = self.0.lock().await;
        if let Some((at, ready)) = *last
            && at.elapsed() < FRESH
        {
            return ready.map(|()| "OK").map_err(unavailable);
        }
        let ready = state.store.probe().await.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "not ready");
            if is_disk_full(&error) { DISK_FULL } else { "The server cannot write to its database." }
        });
        *last = Some((Instant::now(), ready));
        ready.map(|()| "OK").map_err(unavailable)
    }
}
