//! What runs in the workspace because the template says so: startup scripts, scripts on a schedule, metadata.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use protocol::agent_api::timing::Stage;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::phase::Life;
use crate::manifest::Script;
use crate::metadata;
use crate::scripts::{Recurring, Runner, run_on_schedule};

/// The scripts of the workspace while they run.
pub(super) struct Jobs {
    /// Closed when the startup scripts were started.
    startup: TaskTracker,
    scheduled: TaskTracker,
    /// Ends both kinds.
    stop: CancellationToken,
    /// What runs again and again; `None` until the workspace was started.
    recurring: watch::Sender<Option<Recurring>>,
}

impl Jobs {
    pub(super) fn new() -> Self {
        Self {
            startup: TaskTracker::new(),
            scheduled: TaskTracker::new(),
            stop: CancellationToken::new(),
            recurring: watch::Sender::default(),
        }
    }

    /// Runs the startup scripts.
    pub(super) fn start(&self, runner: Arc<Runner>, scripts: Vec<Script>, life: Life) {
        let stop = self.stop.clone();
        self.startup.spawn(async move {
            let summary = runner.run_all(&scripts, Stage::Start, &stop).await;
            info!("startup scripts ended: {summary}");
            life.scripts_ended(summary);
        });
        self.startup.close();
    }

    /// What runs again and again is this from now on.
    pub(super) fn repeat(&self, recurring: Recurring) {
        self.recurring.send_replace(Some(recurring));
    }

    /// Runs the scripts on a schedule, from the end of the startup scripts on.
    pub(super) async fn run_on_schedule(&self) -> Infallible {
        self.startup.wait().await;
        run_on_schedule(self.recurring.subscribe(), &self.scheduled, &self.stop).await
    }

    /// Collects metadata, from the start of the workspace on.
    pub(super) async fn collect_metadata(&self) -> Infallible {
        metadata::run(self.recurring.subscribe()).await
    }

    /// Asks everything to end.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until everything has ended; the startup scripts get `grace` to end by themselves.
    pub(super) async fn end(&self, grace: Duration) {
        self.startup.close();
        if !grace.is_zero() && timeout(grace, self.startup.wait()).await.is_err() {
            warn!("the startup scripts still run {grace:?} after the main process; ending them");
        }
        self.stop();
        self.startup.wait().await;
        self.scheduled.close();
        self.scheduled.wait().await;
    }
}
