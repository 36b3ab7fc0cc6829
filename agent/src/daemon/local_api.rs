//! What the agent tells over its local socket.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::agent_api::{Timing, timing};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::boot::{Boot, REVOKED};
use super::delivery::{Delivery, VERSION};
use super::phase::Phase;
use super::start::ProcessContext;
use crate::control::{Connection, Endpoint, Handle, Updates};
use crate::errors::chain;
use crate::files;
use crate::gitssh::{FetchError, GitKey, KeyCache};
use crate::manifest::Script;
use crate::plan::Drift;
use crate::sessions::status::{self, Revision, State, Status, Target, TargetKind};
use crate::sessions::{Host, ListenError, Listener, Sessions, Start, Workspace, place};
use crate::sys::threads;

/// Listens where the agents of this user do. An error only where another one does.
pub(super) fn listen(chosen: Option<&OsStr>, process: &ProcessContext) -> Result<Option<Listener>, ListenError> {
    let place = place::for_agent(chosen, process.account.as_ref());
    match place.map_err(ListenError::from).and_then(Listener::bind) {
        Err(error @ ListenError::Taken { .. }) => Err(error),
        // A directory that is full, or planted by somebody else, must not keep the workspace from its secrets.
        Err(error) => {
            tracing::error!("exec and sessions get no environment from this agent: {}", chain(&error));
            Ok(None)
        }
        Ok(listener) => Ok(Some(listener)),
    }
}

/// Serves sessions for ever, where there is a socket.
pub(super) async fn serve(listener: Option<Listener>, sessions: Arc<Sessions>, api: Arc<LocalApi>) {
    match listener {
        None => std::future::pending().await,
        Some(listener) => {
            let Err(error) = listener.serve(sessions, api).await;
            tracing::error!(%error, "cannot wait for sessions");
        }
    }
}

/// Answers for the whole agent.
pub(super) struct LocalApi {
    boot: Arc<Boot>,
    endpoint: Arc<Endpoint>,
    git_keys: KeyCache<FetchError>,
    handle: Handle,
    observed: Observed,
    /// One look at the files at a time: of those that hang on a disk there must not be more with every question.
    looking: Arc<Semaphore>,
    /// The same for the directory in which sessions start.
    entering: Arc<Semaphore>,
}

/// How the agent and its server stand to each other.
pub(super) struct Observed {
    pub(super) connection: watch::Receiver<Connection>,
    pub(super) updates: watch::Receiver<Updates>,
}

impl LocalApi {
    pub(super) fn new(boot: Arc<Boot>, endpoint: Arc<Endpoint>, handle: Handle, observed: Observed) -> Self {
        Self { boot, endpoint, git_keys: KeyCache::default(), handle, observed, looking: one(), entering: one() }
    }

    /// Drops the git key as soon as the workspace is revoked.
    pub(super) async fn guard_key(&self) -> Infallible {
        let mut deliveries = self.boot.deliveries.subscribe();
        loop {
            if self.boot.is_revoked() {
                self.git_keys.clear().await;
            }
            if deliveries.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    async fn key(&self, fresh: bool) -> Result<Arc<GitKey>, String> {
        if self.boot.is_revoked() {
            return Err(REVOKED.to_owned());
        }
        let fetch = || async { Ok(GitKey::new(self.endpoint.git_key().await.map_err(FetchError::Server)?)?) };
        self.git_keys.get(fresh, fetch).await.map_err(|error| chain(&*error))
    }

    async fn drifts(&self) -> Result<Vec<(PathBuf, Drift)>, String> {
        let latest = self.boot.latest().map(|delivery| (delivery.delivered(), delivery.key.clone()));
        let Some((delivered, key)) = latest else { return Ok(Vec::new()) };
        look(&self.looking, move || files::drifts(&delivered, &key)).await.ok_or_else(no_answer)
    }

    /// A row where the template's directory cannot be entered.
    async fn directory(&self) -> Option<Target> {
        let runner = self.boot.latest().map(|delivery| delivery.recurring.runner.clone())?;
        let name = runner.directory.clone();
        let found = look(&self.looking, move || runner.places.working_directory(&runner.directory)).await;
        let outcome = found.map_or_else(|| Some(no_answer()), |found| Some(found.problem?.to_string()))?;
        Some(Target { kind: TargetKind::Dir, name, delivered: false, outcome, drift: None })
    }

    fn status_with(&self, drifts: &Result<Vec<(PathBuf, Drift)>, String>) -> Status {
        let (state, reason) = match self.boot.sessions.current() {
            Workspace::Booting => (State::Booting, None),
            Workspace::Ready(_) => (State::Ready, None),
            Workspace::Degraded(_, reason) => (State::Degraded, Some(reason)),
        };
        let connection = match &*self.observed.connection.borrow() {
            Connection::Connected => "connected".to_owned(),
            Connection::Dialing => "connecting".to_owned(),
            Connection::Failed(reason) => reason.clone(),
        };
        let number = self.boot.deliveries.borrow().count;
        let latest = self.boot.latest();
        let latest = latest.as_deref();
        Status {
            version: VERSION.to_owned(),
            pid: std::process::id(),
            workspace: latest.map(|delivery| delivery.names.workspace.clone()),
            agent: latest.map(|delivery| delivery.names.agent.clone()),
            state,
            reason,
            connection,
            updates: updates(*self.observed.updates.borrow()),
            revision: latest.map(|delivery| Revision { number, fetched_at: delivery.fetched_at }),
            targets: latest.map(|delivery| targets(delivery, drifts)).unwrap_or_default(),
            scripts: latest
                .iter()
                .flat_map(|it| it.recurring.scripts.iter())
                .map(|script| self.script(script))
                .collect(),
        }
    }

    fn script(&self, script: &Script) -> status::Script {
        let result = self.boot.result(script.id);
        let state = match &result {
            Some(timing) => ended(timing),
            None if script.run_on_start && self.boot.life.phase() == Phase::Starting => "running",
            None => "not run",
        };
        let name = script.display_name.clone();
        status::Script { name, state: state.to_owned(), exit_code: result.map(|timing| timing.exit_code) }
    }
}

impl Host for LocalApi {
    async fn status(&self) -> Status {
        let drifts = self.drifts().await;
        let mut status = self.status_with(&drifts);
        status.targets.extend(self.directory().await);
        status
    }

    async fn start(&self) -> Start {
        let latest = self.boot.latest().map(|it| (it.recurring.runner.clone(), it.motd.clone()));
        let Some((runner, motd)) = latest else { return Start { directory: self.boot.home(), ..Start::default() } };
        let motd = runner.places.expand(&motd);
        let found = look(&self.entering, move || runner.places.working_directory(&runner.directory).path).await;
        Start { directory: found.unwrap_or_else(|| self.boot.home()), motd }
    }

    async fn reload(&self) -> Result<String, String> {
        let mut connection = self.observed.connection.clone();
        let mut deliveries = self.boot.deliveries.subscribe();
        let mine = self.handle.refetch();
        let unreachable = async {
            let failed = connection.wait_for(|state| matches!(state, Connection::Failed(_))).await;
            match failed.as_deref() {
                Ok(Connection::Failed(reason)) => reason.clone(),
                _ => "the agent ends".to_owned(),
            }
        };
        tokio::select! {
            answered = deliveries.wait_for(|it| it.request >= mine) => {
                answered.map_or_else(|_| Err("the agent ends".to_owned()), |it| it.outcome.clone())
            }
            reason = unreachable => Err(format!("nothing can be fetched now: {reason}")),
        }
    }

    async fn git_key(&self, fresh: bool) -> Result<String, String> {
        Ok(self.key(fresh).await?.public().line().to_owned())
    }

    async fn git_sign(&self, blob: &[u8], data: &[u8], flags: u32) -> Result<Vec<u8>, String> {
        let key = self.key(false).await?;
        if key.public().blob() != blob {
            return Err("your git key was replaced a moment ago; try again".to_owned());
        }
        key.sign(data, flags).map_err(|error| chain(&error))
    }
}

/// A disk that does not answer within this time must not keep the rest from being told.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks at a disk, on a thread of its own. `None` where the disk does not answer.
async fn look<T: Send + 'static>(at_a_time: &Arc<Semaphore>, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let looked = async {
        let permit = at_a_time.clone().acquire_owned().await.ok()?;
        Some(threads::run(move || (work(), permit)).await.0)
    };
    timeout(PATIENCE, looked).await.ok().flatten()
}

fn no_answer() -> String {
    format!("the disk has not answered within {PATIENCE:?}")
}

fn one() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1))
}

fn updates(updates: Updates) -> Option<status::Updates> {
    let (how, since, every) = match updates {
        Updates::Unknown => return None,
        Updates::Watching { since } => ("watching", Some(since), None),
        Updates::Polling { since, every } => ("polling", Some(since), Some(every.as_secs())),
        Updates::Off => ("off", None, None),
    };
    Some(status::Updates { how: how.to_owned(), since, every_seconds: every })
}

fn ended(timing: &Timing) -> &'static str {
    match timing.status() {
        timing::Status::Ok => "ok",
        timing::Status::ExitFailure => "exit failure",
        timing::Status::TimedOut => "timed out",
        timing::Status::PipesLeftOpen => "pipes left open",
    }
}

/// Variables by name, then what was refused, then files in the order of the secrets.
fn targets(delivery: &Delivery, drifts: &Result<Vec<(PathBuf, Drift)>, String>) -> Vec<Target> {
    let variable = |name: &String, problem: Option<String>| Target {
        kind: TargetKind::Env,
        name: name.clone(),
        delivered: problem.is_none(),
        outcome: problem.unwrap_or_else(|| "set".to_owned()),
        drift: None,
    };
    let left_out = |name: &String| delivery.left_out.iter().find(|it| it.name == **name).map(ToString::to_string);
    let mut names = delivery.variables.clone();
    names.sort_unstable();
    names.dedup();
    let mut targets: Vec<Target> = names.iter().map(|name| variable(name, left_out(name))).collect();
    targets.extend(delivery.refused.iter().map(|it| variable(&it.name, Some(it.reason.clone()))));
    let others = delivery.left_out.iter().filter(|it| !names.iter().any(|name| it.name == **name));
    targets.extend(others.map(|it| variable(&it.name.to_string_lossy().into_owned(), Some(it.to_string()))));
    targets.extend(delivery.files.outcomes().iter().map(|file| Target {
        kind: TargetKind::File,
        name: file.path.to_string_lossy().into_owned(),
        delivered: file.result.is_ok(),
        outcome: file.result.as_ref().map_or_else(|error| chain(&error.failure), ToString::to_string),
        drift: file.record.and_then(|_| drift(&file.path, drifts)),
    }));
    targets.extend(delivery.files.stale().iter().map(|stale| Target {
        kind: TargetKind::Stale,
        name: stale.path.to_string_lossy().into_owned(),
        delivered: true,
        outcome: stale.kept.as_ref().map_or_else(|| "removed".to_owned(), |reason| format!("left: {reason}")),
        drift: None,
    }));
    targets.extend(delivery.files.kept().iter().map(|(path, copy)| Target {
        kind: TargetKind::Replaced,
        name: path.to_string_lossy().into_owned(),
        delivered: true,
        outcome: format!("what was there before is kept in {}", copy.display()),
        drift: None,
    }));
    targets
}

fn drift(path: &Path, drifts: &Result<Vec<(PathBuf, Drift)>, String>) -> Option<status::Drift> {
    let (kind, detail) = match drifts {
        Ok(drifts) => drifts.iter().find(|(drifted, _)| drifted == path).map(|(_, it)| (it.word(), it.to_string()))?,
        Err(reason) => ("unknown", reason.clone()),
    };
    Some(status::Drift { kind: kind.to_owned(), detail })
}
