use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::agent_api::Timing;
use protocol::live::Generation;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use super::FAILURE;
use super::delivery::{Deliverer, Delivery, Outcome};
use super::jobs::Jobs;
use super::phase::Life;
use super::report;
use super::user_manager::UserManager;
use crate::control::{Fetched, Handle};
use crate::errors::chain;
use crate::manifest::{ManifestError, Script};
use crate::report::Level;
use crate::scripts::{Recurring, Runner};
use crate::sessions::{self, Sessions};

/// A manifest that cannot be used is asked for again, in case the server corrects it.
const RETRY_MANIFEST: Duration = Duration::from_secs(10);

/// Why launches get no secrets after a revocation.
pub(super) const REVOKED: &str = "an administrator has revoked this workspace: it gets no secrets";

/// What became of the manifests that were fetched.
#[derive(Clone)]
pub(super) struct Deliveries {
    /// The last one that was carried out.
    pub(super) latest: Option<Arc<Delivery>>,
    /// How many were carried out since the start.
    pub(super) count: u64,
    /// The last [`Fetched::request`] that was answered.
    pub(super) request: u64,
    /// What was delivered for it, or why nothing or not everything was.
    pub(super) outcome: Result<String, String>,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self { latest: None, count: 0, request: 0, outcome: Err("nothing was fetched yet".to_owned()) }
    }
}

/// When the workspace starts.
pub(super) struct StartRules {
    /// A secret that cannot be delivered is a start error.
    pub(super) strict: bool,
    /// There is a main process.
    pub(super) has_command: bool,
}

/// Delivers manifests: files, environment, and, with the first of them, startup scripts.
pub(super) struct Boot {
    deliverer: Deliverer,
    rules: StartRules,
    pub(super) life: Life,
    pub(super) deliveries: watch::Sender<Deliveries>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) jobs: Jobs,
    pub(super) user_manager: UserManager,
}

impl Boot {
    pub(super) fn new(deliverer: Deliverer, rules: StartRules) -> Self {
        Self {
            rules,
            life: Life::new(deliverer.reporter.clone()),
            user_manager: UserManager::new(&deliverer.process.inherited),
            deliverer,
            deliveries: watch::Sender::default(),
            sessions: Arc::default(),
            jobs: Jobs::new(),
        }
    }

    /// Delivers each manifest that arrives, unless it is what was delivered already. The first one also starts the workspace; with `--strict`, the first that is
    /// delivered completely. Returns only where the user wants no main process without all of its secrets.
    pub(super) async fn follow(&self, mut manifests: mpsc::Receiver<Fetched>, handle: &Handle) -> u8 {
        while let Some(Fetched { manifest, request }) = manifests.recv().await {
            let is_asked = request > self.deliveries.borrow().request;
            match self.deliverer.deliver(manifest, self.latest().as_deref(), is_asked, &self.life).await {
                Ok(Outcome::Delivered(delivery)) => {
                    if let Err(code) = self.take(*delivery, request) {
                        return code;
                    }
                }
                Ok(Outcome::Same(generation)) => self.take_same(generation, request),
                Err(error) => {
                    self.refuse(&error, request);
                    sleep(RETRY_MANIFEST).await;
                    handle.refetch();
                }
            }
        }
        std::future::pending().await
    }

    /// Publishes a delivery, and starts the workspace if it is the first. An error is the exit code of the agent.
    fn take(&self, delivery: Delivery, request: u64) -> Result<(), u8> {
        self.tell(&delivery);
        let is_incomplete = self.rules.strict && !delivery.problems.is_empty();
        let is_refused = (is_incomplete || delivery.revoked) && !self.life.phase().has_started();
        let is_first = self.life.delivered(is_refused);
        if is_refused && is_incomplete && self.rules.has_command {
            error!("not every secret could be delivered (--strict): the main process is not started");
            return Err(FAILURE);
        }
        let before = self.latest();
        self.publish(&delivery, is_refused);
        let delivery = Arc::new(delivery);
        self.deliveries.send_modify(|it| {
            *it = Deliveries {
                latest: Some(delivery.clone()),
                count: it.count + 1,
                request,
                outcome: delivery.outcome(),
            };
        });
        if is_first {
            let (runner, scripts) = delivery.scripts(|script| script.run_on_start);
            self.jobs.start(runner, scripts, self.life.clone());
        }
        if self.life.phase().has_started() {
            self.jobs.repeat(delivery.recurring.clone());
        }
        if before.is_some_and(|before| before.digest.variables != delivery.digest.variables) {
            self.user_manager.changed();
        }
        self.deliverer.reporter.delivery(report::of(&delivery, delivery.generation));
        Ok(())
    }

    /// What launches get from now on.
    fn publish(&self, delivery: &Delivery, is_refused: bool) {
        let environment = delivery.recurring.runner.environment.clone();
        self.sessions.publish(if delivery.revoked {
            sessions::Workspace::Degraded(environment, REVOKED.to_owned())
        } else if is_refused {
            sessions::Workspace::Degraded(environment, "not every secret could be delivered".to_owned())
        } else {
            sessions::Workspace::Ready(environment)
        });
    }

    /// What was fetched is what was delivered already.
    fn take_same(&self, generation: Option<Generation>, request: u64) {
        debug!("the manifest is what was delivered already");
        self.deliveries.send_if_modified(|it| {
            let is_other = it.request != request;
            it.request = request;
            is_other
        });
        if let Some(latest) = self.latest() {
            self.deliverer.reporter.delivery(report::of(&latest, generation));
        }
    }

    fn refuse(&self, error: &ManifestError, request: u64) {
        let reason = format!("the manifest cannot be used: {}", chain(error));
        error!("{reason}");
        self.deliveries.send_modify(|it| (it.request, it.outcome) = (request, Err(reason)));
    }

    /// What failed is in the agent's log, in the log that the server keeps, and in the status line.
    fn tell(&self, delivery: &Delivery) {
        let latest = self.latest();
        for problem in &delivery.problems {
            warn!("{problem}");
            // The server keeps a limited log for the life of an agent: a connection that comes and goes must not fill it.
            if !latest.as_ref().is_some_and(|last| last.problems.contains(problem)) {
                self.deliverer.reporter.own_line(Level::Error, problem);
            }
        }
        for stale in delivery.files.stale() {
            let text = stale.to_string();
            info!("{text}");
            self.deliverer.reporter.own_line(Level::Info, &text);
        }
        info!("{delivery}");
    }

    /// The last manifest that was carried out.
    pub(super) fn latest(&self) -> Option<Arc<Delivery>> {
        self.deliveries.borrow().latest.clone()
    }

    /// The workspace gets nothing any more.
    pub(super) fn is_revoked(&self) -> bool {
        self.deliveries.borrow().latest.as_ref().is_some_and(|latest| latest.revoked)
    }

    /// The stop scripts of the last manifest, with what runs them.
    pub(super) fn stop_scripts(&self) -> Option<(Arc<Runner>, Vec<Script>)> {
        Some(self.latest()?.scripts(|script| script.run_on_stop))
    }

    /// How a script ended last, where it has.
    pub(super) fn result(&self, script: Uuid) -> Option<Timing> {
        self.deliverer.reporter.result(script)
    }

    /// The user's home, as far as it is known.
    pub(super) fn home(&self) -> PathBuf {
        self.deliverer.process.home.clone().unwrap_or_else(|| "/".into())
    }

    /// After `after`, launches no longer wait for the secrets.
    pub(super) async fn give_up_waiting(&self, after: Option<Duration>) -> Infallible {
        if let Some(after) = after {
            sleep(after).await;
            if matches!(self.sessions.current(), sessions::Workspace::Booting) {
                let reason = format!("no secrets after {after:?}");
                warn!("{reason}: starting without them");
                let environment = self.deliverer.without_secrets().into();
                self.sessions.publish(sessions::Workspace::Degraded(environment, reason));
            }
        }
        std::future::pending().await
    }
}

impl Delivery {
    /// Scripts of the template, with what runs them.
    fn scripts(&self, is_wanted: impl Fn(&Script) -> bool) -> (Arc<Runner>, Vec<Script>) {
        let Recurring { runner, scripts, .. } = &self.recurring;
        (runner.clone(), scripts.iter().filter(|script| is_wanted(script)).cloned().collect())
    }
}
