use std::convert::Infallible;
use std::time::Duration;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};
use tokio::time::timeout;
use tracing::{info, warn};

use super::init::Orphans;
use crate::sys::orphans;

/// For what is left to end by itself; as in process 1.
const GRACE: Duration = Duration::from_secs(3);
/// For the kernel to end what was killed: a process that waits for a disk takes its time.
const KILL_LIMIT: Duration = Duration::from_secs(2);

/// What the main process and scripts leave running. `None` where it is not for us to end.
pub(super) struct Leftovers(Option<unix::Signal>);

impl Leftovers {
    /// Before anything is started.
    pub(super) fn new(orphans: Orphans) -> Self {
        if orphans == Orphans::Others {
            return Self(None);
        }
        match unix::signal(SignalKind::child()).and_then(|ends| orphans::adopt().map(|()| ends)) {
            Ok(ends) => Self(Some(ends)),
            Err(error) => {
                warn!(%error, "processes that outlive the main process will not be ended with it");
                Self(None)
            }
        }
    }

    /// Reaps orphans as they end: a main process may leave thousands in its life.
    pub(super) async fn reap(&mut self) -> Infallible {
        while let Some(ends) = &mut self.0 {
            orphans::reap();
            ends.recv().await;
        }
        std::future::pending().await
    }

    /// Ends all that still runs. Nothing of the agent's own does, so nobody waits for what is reaped here.
    pub(super) async fn end(self) {
        let Some(mut ends) = self.0 else { return };
        if !orphans::reap_all() {
            return;
        }
        info!("ending what the main process left running");
        orphans::signal_all(Signal::TERM);
        let ended = async {
            while orphans::reap_all() {
                ends.recv().await;
            }
        };
        if timeout(GRACE, ended).await.is_ok() {
            return;
        }
        let killed = async {
            while orphans::reap_all() {
                // Again for each that ends: its own children have come to us.
                orphans::signal_all(Signal::KILL);
                ends.recv().await;
            }
        };
        if timeout(KILL_LIMIT, killed).await.is_err() {
            warn!("some processes cannot be ended");
        }
    }
}
