//! Who is told, and when, that what an agent gets has changed.
//!
//! A session that wants to hear of changes is a [`Follower`]. [`Live::keep`] turns committed changes into generations of the agents
//! that they concern. A few agents are told at once. Many are told as fast as they fetch their manifests, so that a change of the whole
//! deployment is no stampede.

mod windows;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use crate::store::workspaces::AgentIdentity;
use crate::store::{Change, Current, Store, StoreError};
use windows::Windows;

/// A change that concerns more sessions than this is spread out: so many may have been told and not have fetched yet.
const AT_ONCE: usize = 100;
/// An agent that has not fetched by then, as one that does not want to, no longer keeps the next from being told.
const FETCH_LIMIT: Duration = Duration::from_secs(1);
/// The database is asked again after it failed.
const RETRY: Duration = Duration::from_secs(1);
/// The session of an agent without live delivery is ended at most once in this time: such an agent never resets its back-off.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// The sessions that hear of changes.
#[derive(Debug)]
pub struct Live {
    books: Mutex<Books>,
    places: Arc<Semaphore>,
    queued: Notify,
}

#[derive(Debug, Default)]
struct Books {
    next: u64,
    /// By agent first.
    followers: BTreeMap<Key, Entry>,
    /// Those who are told as soon as there is a place.
    queue: VecDeque<Key>,
    /// When the session of an agent was last ended because of a change.
    refreshed: HashMap<Uuid, Instant>,
}

type Key = (Uuid, u64);

#[derive(Debug)]
struct Entry {
    owner: Uuid,
    workspace: Uuid,
    /// The newest that is known here.
    known: Option<Current>,
    told: watch::Sender<Option<Current>>,
    is_queued: bool,
    place: Option<(Instant, OwnedSemaphorePermit)>,
}

/// A session that hears of changes; dropping it ends that.
#[derive(Debug)]
pub struct Follower {
    live: Arc<Live>,
    key: Key,
    told: watch::Receiver<Option<Current>>,
}

impl Default for Live {
    fn default() -> Self {
        Self { books: Mutex::default(), places: Arc::new(Semaphore::new(AT_ONCE)), queued: Notify::new() }
    }
}

impl Live {
    /// From now on a session of `agent` hears of each change.
    #[must_use]
    pub fn follow(self: &Arc<Self>, agent: &AgentIdentity) -> Follower {
        let (sender, told) = watch::channel(None);
        let mut books = self.books();
        let key = (agent.id, books.next);
        books.next += 1;
        let (owner, workspace) = (agent.owner_id, agent.workspace_id);
        let entry = Entry { owner, workspace, known: None, told: sender, is_queued: false, place: None };
        books.followers.insert(key, entry);
        Follower { live: Arc::clone(self), key, told }
    }

    /// The agent has fetched its manifest: the next one may be told.
    pub fn fetched(&self, agent: Uuid) {
        for (_, entry) in self.books().followers.range_mut((agent, 0)..=(agent, u64::MAX)) {
            entry.place = None;
        }
    }

    /// How long to wait until the session of an agent may be ended again because of a change; if that is now, it counts from now.
    pub(crate) fn refresh(&self, agent: Uuid) -> Option<Duration> {
        let now = Instant::now();
        let mut books = self.books();
        books.refreshed.retain(|_, last| now.duration_since(*last) < REFRESH_INTERVAL);
        if let Some(last) = books.refreshed.get(&agent) {
            return Some(REFRESH_INTERVAL.saturating_sub(now.duration_since(*last)));
        }
        books.refreshed.insert(agent, now);
        None
    }

    /// Tells followers of changes for as long as the server runs.
    pub async fn keep(&self, store: Store) -> Infallible {
        tokio::select! {
            never = self.follow_changes(&store) => never,
            never = self.spread() => never,
        }
    }

    async fn follow_changes(&self, store: &Store) -> Infallible {
        let mut changes = store.changes();
        let mut windows = Windows::default();
        loop {
            let wait = async {
                match windows.next() {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                change = changes.next() => match change {
                    Some(change) => windows.open(change, Instant::now()),
                    // The store is closed, so the server ends.
                    None => return std::future::pending().await,
                },
                () = wait => {}
            }
            let due = windows.due(Instant::now());
            if !due.is_empty()
                && let Err(error) = self.tell(store, &due).await
            {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot tell agents of a change; trying again"
                );
                for change in due {
                    windows.again(change, Instant::now() + RETRY);
                }
            }
        }
    }

    /// Tells those whom `changes` concern and whose generation has changed.
    async fn tell(&self, store: &Store, changes: &[Change]) -> Result<(), StoreError> {
        let concerned: HashSet<Uuid> = {
            let books = self.books();
            let followers = books.followers.iter().filter(|(_, entry)| changes.iter().any(|it| entry.concerns(*it)));
            followers.map(|((agent, _), _)| *agent).collect()
        };
        if concerned.is_empty() {
            return Ok(());
        }
        let agents: Vec<_> = concerned.into_iter().collect();
        let current = store.agents().current(&agents).await?;
        self.learn(&current);
        Ok(())
    }

    fn learn(&self, current: &HashMap<Uuid, Current>) {
        let mut books = self.books();
        let mut changed = Vec::new();
        for (agent, current) in current {
            for (key, entry) in books.followers.range_mut((*agent, 0)..=(*agent, u64::MAX)) {
                if entry.learn(*current) {
                    changed.push(*key);
                }
            }
        }
        // A change by a person does not wait behind one of the whole deployment.
        let is_crowd = changed.len() > AT_ONCE;
        for key in changed {
            let Some(entry) = books.followers.get_mut(&key) else { continue };
            if !is_crowd {
                entry.tell();
            } else if !std::mem::replace(&mut entry.is_queued, true) {
                books.queue.push_back(key);
            }
        }
        if is_crowd {
            self.queued.notify_one();
        }
    }

    /// Tells those in the queue, as fast as those before them fetch.
    async fn spread(&self) -> Infallible {
        loop {
            if self.books().queue.is_empty() {
                self.queued.notified().await;
                continue;
            }
            let place = self.place().await;
            let mut books = self.books();
            let Some(key) = books.queue.pop_front() else { continue };
            // One that has left meanwhile, or knows already, needs no place.
            if let Some(entry) = books.followers.get_mut(&key) {
                entry.is_queued = false;
                if entry.tell() {
                    entry.place = place.map(|place| (Instant::now(), place));
                }
            }
        }
    }

    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            match timeout(FETCH_LIMIT / 4, Arc::clone(&self.places).acquire_owned()).await {
                Ok(place) => return place.ok(),
                Err(_) => self.take_places_back(),
            }
        }
    }

    fn take_places_back(&self) {
        for entry in self.books().followers.values_mut() {
            entry.place.take_if(|(since, _)| since.elapsed() >= FETCH_LIMIT);
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn concerns(&self, change: Change) -> bool {
        match change {
            Change::Owner(owner) => owner == self.owner,
            Change::Workspace(workspace) => workspace == self.workspace,
            Change::Deployment | Change::Any => true,
            Change::Keys => false,
        }
    }

    /// Whether it is news. What was read before the last news may arrive after it.
    fn learn(&mut self, current: Current) -> bool {
        let new = current.generation;
        let is_news = self
            .known
            .is_none_or(|Current { generation: known, .. }| known.epoch != new.epoch || known.number < new.number);
        if is_news {
            self.known = Some(current);
        }
        is_news
    }

    /// Whether the session did not know it.
    fn tell(&self) -> bool {
        self.told.send_if_modified(|told| std::mem::replace(told, self.known) != self.known)
    }
}

impl Follower {
    /// Whose session it is.
    pub(crate) fn agent(&self) -> Uuid {
        self.key.0
    }

    /// What was told last.
    pub(crate) fn latest(&self) -> Option<Current> {
        *self.told.borrow()
    }

    /// The generation now: whatever changes afterwards, [`Follower::changed`] tells. None when the agent is gone.
    pub async fn current(&mut self, store: &Store) -> Result<Option<Current>, StoreError> {
        let (agent, _) = self.key;
        let Some(current) = store.agents().current(&[agent]).await?.remove(&agent) else { return Ok(None) };
        if let Some(entry) = self.live.books().followers.get_mut(&self.key) {
            entry.learn(current);
            entry.tell();
        }
        Ok(*self.told.borrow_and_update())
    }

    /// Waits for the next change.
    pub async fn changed(&mut self) -> Current {
        loop {
            // The sender lives as long as this.
            let _ = self.told.changed().await;
            if let Some(current) = *self.told.borrow_and_update() {
                return current;
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.live.books().followers.remove(&self.key);
    }
}

#[cfg(test)]
mod tests;
