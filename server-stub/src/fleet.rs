//! Which agents are connected, and which sessions must end.
//!
//! A session tells of its own death: it pings, and gives up after thirty seconds of silence. What is left is the books: one statement a
//! beat for all agents together, because ten thousand of them must not be ten thousand transactions.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::session::Pulse;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::store::workspaces::{AgentIdentity, TokenHash};
use crate::store::{Change, Store, StoreError};

/// How long a revoked token lives on in a session. Admin commands are processes of their own, so nobody calls us.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Connected agents are written down every third check: 15 s, half of what makes one look disconnected.
const CHECKS_PER_BEAT: u32 = 3;
/// The lease of the server is renewed every second check: 10 s, a third of it.
const CHECKS_PER_LEASE: u32 = 2;
/// An agent that was silent for longer is not written down as seen, though its session may not have ended yet.
const SILENCE: Duration = Duration::from_secs(30);

/// Sessions of one agent: one in use, a log streamer, and a few whose connections broke without a word.
const MAX_SESSIONS: usize = 4;

/// The sessions of this server.
#[derive(Debug, Default)]
pub struct Fleet {
    sessions: Mutex<Sessions>,
    /// Whether agents that dial are to try another server.
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Sessions {
    next: u64,
    /// By agent first: ten thousand that leave at once must not each look through all the others.
    open: BTreeMap<(Uuid, u64), Open>,
}

#[derive(Debug)]
struct Open {
    token_hash: TokenHash,
    is_agent: bool,
    pulse: Pulse,
    /// What the agent says of itself; empty until then.
    version: String,
    end: watch::Sender<Option<End>>,
}

/// Why a session must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum End {
    /// Its token is not the agent's any more.
    #[error("the agent's token was revoked")]
    Revoked,
    /// The server stops, and others take its agents.
    #[error("the server stops")]
    Stopping,
    /// The agent has dialed again too often.
    #[error("the agent has more than {MAX_SESSIONS} sessions, and this is the oldest")]
    Replaced,
}

/// A session in the books; dropping it takes it out.
pub(crate) struct Watch {
    fleet: Arc<Fleet>,
    key: (Uuid, u64),
    end: watch::Receiver<Option<End>>,
}

impl Fleet {
    /// Puts a session into the books. Only one with `is_agent` makes its agent connected. When an agent has too many, its oldest ends:
    /// it is most likely one of a connection that broke, which nobody has noticed yet.
    pub(crate) fn watch(self: &Arc<Self>, agent: &AgentIdentity, is_agent: bool, pulse: Pulse) -> Watch {
        let (sender, end) = watch::channel(None);
        let open = Open { token_hash: agent.token_hash, is_agent, pulse, version: String::new(), end: sender };
        let mut sessions = self.sessions();
        let key = (agent.id, sessions.next);
        sessions.next += 1;
        sessions.open.insert(key, open);
        let of_agent = sessions.open.range((agent.id, 0)..=(agent.id, u64::MAX)).rev();
        for (_, oldest) in of_agent.skip(MAX_SESSIONS) {
            oldest.end.send_replace(Some(End::Replaced));
        }
        Watch { fleet: Arc::clone(self), key, end }
    }

    /// An agent has told its version.
    pub(crate) fn runs(&self, agent: Uuid, version: &str) {
        let mut sessions = self.sessions();
        for (_, open) in sessions.open.range_mut((agent, 0)..=(agent, u64::MAX)) {
            version.clone_into(&mut open.version);
        }
    }

    /// How many sessions there are of each version.
    pub(crate) fn versions(&self) -> BTreeMap<String, u64> {
        let mut versions = BTreeMap::new();
        for open in self.sessions().open.values().filter(|open| open.is_agent) {
            *versions.entry(open.version.clone()).or_default() += 1;
        }
        versions
    }

    /// Lets no more agents in.
    pub(crate) fn close_the_door(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether agents that dial are to try another server.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Ends so many sessions; those are told that the server stops.
    pub(crate) fn send_away(&self, count: usize) {
        let sessions = self.sessions();
        let staying = sessions.open.values().filter(|open| open.end.borrow().is_none());
        for open in staying.take(count) {
            open.end.send_replace(Some(End::Stopping));
        }
    }

    /// Number of open sessions.
    #[must_use]
    pub fn sessions_open(&self) -> usize {
        self.sessions().open.len()
    }

    /// Keeps the books for as long as the server runs.
    pub async fn keep(&self, store: Store) {
        let mut ticks = tokio::time::interval(CHECK_INTERVAL);
        // After a stall one check is enough.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = store.changes();
        let mut tick = 0_u32;
        loop {
            let change = tokio::select! {
                _ = ticks.tick() => None,
                Some(change) = changes.next() => Some(change),
            };
            let checked = async {
                match change {
                    Some(Change::Owner(_) | Change::Deployment) => return Ok(()),
                    Some(Change::Workspace(_) | Change::Any) => return self.check_tokens(&store).await,
                    Some(Change::Keys) => return store.servers().beat(env!("CARGO_PKG_VERSION")).await,
                    None => {}
                }
                tick = tick.wrapping_add(1);
                self.check_tokens(&store).await?;
                if tick % CHECKS_PER_LEASE == 1 {
                    store.servers().beat(env!("CARGO_PKG_VERSION")).await?;
                }
                if tick.is_multiple_of(CHECKS_PER_BEAT) { self.beat(&store).await } else { Ok(()) }
            };
            if let Err(error) = checked.await {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot keep watch on the agents");
            }
        }
    }

    /// Ends the sessions whose token is not the agent's any more.
    pub(crate) async fn check_tokens(&self, store: &Store) -> Result<(), StoreError> {
        if self.sessions_open() == 0 {
            return Ok(());
        }
        let shown: Vec<_> = self.sessions().open.values().map(|open| open.token_hash).collect();
        let lost = store.agents().lost_tokens(&shown).await?;
        for open in self.sessions().open.values().filter(|open| lost.contains(&open.token_hash)) {
            open.end.send_replace(Some(End::Revoked));
        }
        Ok(())
    }

    async fn beat(&self, store: &Store) -> Result<(), StoreError> {
        let seen: HashSet<Uuid> = {
            let sessions = self.sessions();
            let alive = |open: &Open| open.is_agent && open.pulse.last_seen().elapsed() < SILENCE;
            sessions.open.iter().filter(|(_, open)| alive(open)).map(|((agent, _), _)| *agent).collect()
        };
        if seen.is_empty() { Ok(()) } else { store.presence().seen(&Vec::from_iter(seen)).await }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Waits until the session must end.
    pub(crate) async fn ended(&self) -> End {
        let mut end = self.end.clone();
        let told = end.wait_for(Option::is_some).await.ok().and_then(|end| *end);
        // The sender lives as long as this.
        told.unwrap_or(End::Replaced)
    }

    /// Takes the session out of the books. True when its agent has no other one: an agent that dials again before its old session is
    /// found dead stays connected.
    pub(crate) fn leave(self) -> bool {
        let mut sessions = self.fleet.sessions();
        let Some(left) = sessions.open.remove(&self.key) else { return false };
        let (agent, _) = self.key;
        left.is_agent && !sessions.open.range((agent, 0)..=(agent, u64::MAX)).any(|(_, open)| open.is_agent)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.fleet.sessions().open.remove(&self.key);
    }
}
