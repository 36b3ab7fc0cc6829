//! The private call by which an agent hears of changes, and the end of sessions of agents that lack it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use protocol::drpc::{Call, Status};
use protocol::live::{self, WatchRequest, WatchResponse};
use protocol::session::Pulse;
use tokio::time::{Instant, sleep, timeout_at};

use super::deliver::{failed, may_log};
use crate::auth::Agent;
use crate::live::Follower;
use crate::state::AppState;
use crate::store::Generation;

/// The number is repeated with every fourth ping: a stream that hangs is noticed, and an idle agent wakes up no more often.
const PINGS: u64 = 4;
/// An agent without live delivery is left alone until there was no change for this long …
const QUIET: Duration = Duration::from_secs(1);
/// … or until changes have come for this long without a pause.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one session knows of changes.
pub(super) struct Watching {
    pulse: Pulse,
    is_watched: AtomicBool,
    delivered: Mutex<Option<Generation>>,
}

impl Watching {
    pub(super) fn new(pulse: Pulse) -> Self {
        Self { pulse, is_watched: AtomicBool::new(false), delivered: Mutex::default() }
    }

    /// This generation was delivered over the session.
    pub(super) fn fetched(&self, generation: Generation) {
        *self.delivered.lock().unwrap_or_else(PoisonError::into_inner) = Some(generation);
    }

    pub(super) fn delivered(&self) -> Option<Generation> {
        *self.delivered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current generation at once, then each new one, until the session ends.
    pub(super) async fn watch(&self, state: &AppState, agent: &Agent, call: &mut Call) -> Result<(), Status> {
        call.request::<WatchRequest>().await?;
        let _only = Only::of(&self.is_watched)?;
        // Before the look: no change can fall between both.
        let mut follower = state.live.follow(&agent.identity);
        let current = follower.current(&state.store).await.map_err(|error| failed(state, agent, &error))?;
        let mut current = current.ok_or_else(|| Status::new("the agent does not exist any more"))?;
        loop {
            let generation = Some(to_wire(current.generation));
            call.reply(&WatchResponse { generation, revoked: current.is_revoked }).await?;
            tokio::select! {
                changed = follower.changed() => current = changed,
                () = self.pulse.pinged(PINGS) => {}
            }
        }
    }
}

pub(super) fn to_wire(Generation { epoch, number }: Generation) -> live::Generation {
    live::Generation { epoch, number }
}

/// Waits until an agent without live delivery has to dial again to get what has changed since it fetched its manifest.
///
/// It then fetches, writes its files anew, and gives new sessions the new values. After a revocation its dial is refused.
pub(super) async fn outdated(state: &AppState, agent: &Agent, delivered: impl Fn() -> Option<Generation>) {
    let mut follower = state.live.follow(&agent.identity);
    wait_until_outdated(state, &mut follower, delivered).await;
    if may_log(state, agent) {
        let agent = agent.identity.path();
        tracing::info!(%agent, "closing a session: what the agent gets has changed, and it asks when it dials again");
    }
}

async fn wait_until_outdated(state: &AppState, follower: &mut Follower, delivered: impl Fn() -> Option<Generation>) {
    loop {
        if follower.changed().await.is_revoked {
            return;
        }
        let most = Instant::now() + PATIENCE;
        while let Ok(changed) = timeout_at(most.min(Instant::now() + QUIET), follower.changed()).await {
            if changed.is_revoked {
                return;
            }
        }
        // One that has not fetched yet will.
        let is_behind = |delivered| follower.latest().is_some_and(|latest| latest.generation != delivered);
        let is_outdated = || state.settings.refresh_coder_agents && delivered().is_some_and(is_behind);
        while is_outdated() {
            match state.live.refresh(follower.agent()) {
                Some(wait) => sleep(wait).await,
                None => return,
            }
        }
    }
}

/// The one watch of a session; a second one would cost what the first does and tell nothing else.
struct Only<'a>(&'a AtomicBool);

impl<'a> Only<'a> {
    fn of(taken: &'a AtomicBool) -> Result<Self, Status> {
        if taken.swap(true, Ordering::AcqRel) {
            return Err(Status::new("this session watches already"));
        }
        Ok(Self(taken))
    }
}

impl Drop for Only<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
