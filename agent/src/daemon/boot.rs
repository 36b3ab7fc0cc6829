use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::agent_api::lifecycle::State;
use protocol::agent_api::timing::Stage;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::FAILURE;
use super::delivery::{Delivery, Workspace};
use crate::control::{Fetched, Handle};
use crate::errors::chain;
use crate::manifest::Script;
use crate::metadata;
use crate::report::{Level, Reporter};
use crate::scripts::{Recurring, Runner, Summary, run_on_schedule};
use crate::sessions::{self, Sessions};

/// A manifest that cannot be used is asked for again, in case the server corrects it.
const RETRY_MANIFEST: Duration = Duration::from_secs(10);

/// How the delivery went, for people.
#[derive(Clone, Debug)]
pub(super) struct Status {
    /// The first boot has come to its end, good or bad; scripts may still run.
    pub(super) settled: bool,
    pub(super) text: String,
}

/// What became of the manifest that was fetched last.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    /// Of the [`Fetched`].
    pub(super) request: u64,
    /// How many were delivered since the start.
    pub(super) delivered: u64,
    /// What was delivered, in words, or why nothing was.
    pub(super) outcome: Result<String, String>,
}

impl Default for Settled {
    fn default() -> Self {
        Self { request: 0, delivered: 0, outcome: Err("nothing was fetched yet".to_owned()) }
    }
}

/// Delivers manifests: files, environment, and, with the first of them, startup scripts.
pub(super) struct Boot {
    workspace: Workspace,
    /// Whether a secret that cannot be delivered is a start error.
    strict: bool,
    /// Whether there is a main process.
    command: bool,
    pub(super) reporter: Reporter,
    pub(super) sessions: Arc<Sessions>,
    pub(super) status: watch::Sender<Status>,
    pub(super) settled: watch::Sender<Settled>,
    /// The startup scripts, while they run; closed when they have started.
    pub(super) startup: TaskTracker,
    /// The scripts that run on a schedule, while they do.
    pub(super) scheduled: TaskTracker,
    /// Ends both kinds.
    pub(super) stop: CancellationToken,
    /// The workspace was started, so there is something for stop scripts to end.
    started: AtomicBool,
    /// What runs again and again, once the workspace was started.
    recurring: watch::Sender<Option<Recurring>>,
    latest: Mutex<Option<Delivery>>,
}

impl Boot {
    pub(super) fn new(workspace: Workspace, strict: bool, command: bool, reporter: Reporter) -> Self {
        Self {
            workspace,
            strict,
            command,
            reporter,
            sessions: Arc::default(),
            status: watch::Sender::new(Status { settled: false, text: "waiting for the secrets".to_owned() }),
            settled: watch::Sender::default(),
            startup: TaskTracker::new(),
            scheduled: TaskTracker::new(),
            stop: CancellationToken::new(),
            started: AtomicBool::new(false),
            recurring: watch::Sender::default(),
            latest: Mutex::default(),
        }
    }

    /// Delivers each manifest that comes; the first one also starts the workspace, with `--strict` the first of which
    /// everything could be delivered. Ends only where the user wants no main process without all of its secrets.
    pub(super) async fn follow(&self, mut manifests: mpsc::Receiver<Fetched>, handle: &Handle) -> u8 {
        while let Some(Fetched { manifest, request }) = manifests.recv().await {
            let delivered = self.latest().as_ref().map(Delivery::delivered).unwrap_or_default();
            let delivery = match self.workspace.deliver(manifest, delivered, &self.reporter).await {
                Ok(delivery) => delivery,
                Err(error) => {
                    let reason = format!("the manifest cannot be used: {}", chain(&error));
                    error!("{reason}");
                    self.settled.send_modify(|it| *it = Settled { request, outcome: Err(reason), ..*it });
                    sleep(RETRY_MANIFEST).await;
                    handle.refetch();
                    continue;
                }
            };
            self.tell(&delivery);
            let started = self.started.load(Ordering::Relaxed);
            let refuse = self.strict && !started && !delivery.problems.is_empty();
            if refuse {
                self.reporter.lifecycle(State::StartError);
                if self.command {
                    error!("not every secret could be delivered (--strict): the main process is not started");
                    return FAILURE;
                }
            }
            let text = delivery.to_string();
            self.publish(delivery, refuse);
            self.settled.send_modify(|it| *it = Settled { request, delivered: it.delivered + 1, outcome: Ok(text) });
            if !started && !refuse {
                self.start_scripts();
            }
            if self.started.load(Ordering::Relaxed) {
                self.recurring.send_replace(self.latest().as_ref().map(|delivery| delivery.recurring.clone()));
            }
        }
        std::future::pending().await
    }

    /// What failed is in the agent's log, in the log that the server keeps, and in the status line.
    fn tell(&self, delivery: &Delivery) {
        for problem in &delivery.problems {
            warn!("{problem}");
            // The server keeps a limited log for the life of an agent: a connection that comes and goes must not fill it.
            if !self.latest().as_ref().is_some_and(|last| last.problems.contains(problem)) {
                self.reporter.own_line(Level::Error, problem);
            }
        }
        for stale in delivery.files.stale() {
            let text = stale.to_string();
            info!("{text}");
            self.reporter.own_line(Level::Info, &text);
        }
        let text = delivery.to_string();
        info!("{text}");
        self.status.send_replace(Status { settled: true, text });
    }

    fn publish(&self, delivery: Delivery, refused: bool) {
        let environment = delivery.recurring.runner.environment.clone();
        self.sessions.publish(if refused {
            sessions::Workspace::Degraded(environment, "not every secret could be delivered".to_owned())
        } else {
            sessions::Workspace::Ready(environment)
        });
        *self.latest() = Some(delivery);
    }

    /// Once in the life of the agent; a new manifest does not run them again.
    fn start_scripts(&self) {
        self.started.store(true, Ordering::Relaxed);
        let Some((runner, scripts)) = self.scripts(|script| script.run_on_start) else { return };
        let (reporter, stop) = (self.reporter.clone(), self.stop.clone());
        self.startup.spawn(async move {
            let summary = runner.run_all(&scripts, Stage::Start, &stop).await;
            info!("startup scripts ended: {summary}");
            reporter.lifecycle(start_state(summary));
        });
        self.startup.close();
    }

    /// Runs the scripts on a schedule, from the end of the startup scripts on.
    pub(super) async fn run_on_schedule(&self) -> Infallible {
        self.startup.wait().await;
        run_on_schedule(self.recurring.subscribe(), &self.scheduled, &self.stop).await
    }

    /// Collects metadata, from the first delivery on.
    pub(super) async fn collect_metadata(&self) -> Infallible {
        metadata::run(self.recurring.subscribe()).await
    }

    /// The stop scripts, unless nothing was started: `--strict` runs no script after a start error.
    pub(super) fn stop_scripts(&self) -> Option<(Arc<Runner>, Vec<Script>)> {
        self.started.load(Ordering::Relaxed).then(|| self.scripts(|script| script.run_on_stop)).flatten()
    }

    /// Scripts of the last manifest, with what runs them.
    fn scripts(&self, wanted: impl Fn(&Script) -> bool) -> Option<(Arc<Runner>, Vec<Script>)> {
        let latest = self.latest();
        let delivery = latest.as_ref()?;
        let Recurring { runner, scripts, .. } = &delivery.recurring;
        Some((runner.clone(), scripts.iter().filter(|script| wanted(script)).cloned().collect()))
    }

    /// Somebody wants the workspace to end. The server hears of it only where it has heard of the start.
    pub(super) fn ending(&self) {
        if self.reporter.state().is_some() {
            self.reporter.lifecycle(State::ShuttingDown);
        }
    }

    /// Whether somebody wants the workspace to end, rather than its main process being done.
    pub(super) fn is_ending(&self) -> bool {
        self.reporter.state() == Some(State::ShuttingDown)
    }

    /// The user's home, as far as it is known.
    pub(super) fn home(&self) -> PathBuf {
        self.workspace.own.home.clone().unwrap_or_else(|| "/".into())
    }

    /// After `after`, launches no longer wait for the secrets.
    pub(super) async fn give_up_waiting(&self, after: Option<Duration>) -> Infallible {
        if let Some(after) = after {
            sleep(after).await;
            if matches!(self.sessions.current(), sessions::Workspace::Booting) {
                let reason = format!("no secrets after {after:?}");
                warn!("{reason}: starting without them");
                let environment = self.workspace.without_secrets().into();
                self.sessions.publish(sessions::Workspace::Degraded(environment, reason));
            }
        }
        std::future::pending().await
    }

    /// The last manifest that was carried out.
    pub(super) fn latest(&self) -> MutexGuard<'_, Option<Delivery>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A failure weighs more than a timeout.
fn start_state(summary: Summary) -> State {
    match summary {
        Summary { failed: 1.., .. } => State::StartError,
        Summary { timed_out: 1.., .. } => State::StartTimeout,
        Summary { .. } => State::Ready,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_after_the_scripts_is_the_worst_of_them() {
        for (failed, timed_out, expected) in
            [(0, 0, State::Ready), (0, 1, State::StartTimeout), (1, 0, State::StartError), (2, 3, State::StartError)]
        {
            assert_eq!(start_state(Summary { count: 5, failed, timed_out }), expected);
        }
    }
}
