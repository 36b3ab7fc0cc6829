//! What the control plane is told: lifecycle states, script results, log lines and metadata, queued until they are
//! acknowledged.
//!
//! Producers never wait: the queues are bounded, survive reconnections, and [`crate::control`] empties them.
#![forbid(unsafe_code)]

mod lines;
mod readings;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use protocol::agent_api::lifecycle::State;
use protocol::agent_api::{Lifecycle, Log, Startup, Timing, own_log_source};
use protocol::live::ReportRequest;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};
use uuid::Uuid;

pub use lines::Level;
use lines::{Due, LineQueue};
pub use readings::Reading;
use readings::Readings;

/// States come at most once each, so this bounds the results of scripts: more than any template starts before a
/// connection is back.
const MAX_EVENTS: usize = 1024;

/// Takes reports from anywhere in the agent; clones share the queues.
#[derive(Clone, Debug, Default)]
pub struct Reporter(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queues: Mutex<Queues>,
    /// There may be a new event; one waiter, the sender.
    events: Notify,
    /// There may be a new line, or a reason to hurry; one waiter, the sender.
    lines: Notify,
    /// There is a new reading; one waiter, the sender.
    readings: Notify,
    /// There is a report of a delivery; one waiter, the sender.
    delivery: Notify,
    /// Something was acknowledged.
    progress: Notify,
}

#[derive(Debug, Default)]
struct Queues {
    events: VecDeque<Event>,
    state: Option<State>,
    /// The last result of each script, by its id, for `coder status`; bounded by the scripts of the template.
    results: BTreeMap<Vec<u8>, Timing>,
    lines: LineQueue,
    readings: Readings,
    /// Of the last delivery, until the server has it. An older one is of no interest any more.
    delivery: Option<ReportRequest>,
    own_source: Option<Uuid>,
}

impl Queues {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.lines.is_empty()
    }
}

/// What must arrive in order and be acknowledged one by one.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Version and directory, after each manifest.
    Startup(Startup),
    /// A new state.
    Lifecycle(Lifecycle),
    /// A script has ended.
    Script(Timing),
}

impl Reporter {
    /// The agent has fetched a manifest and works in `directory`.
    pub fn startup(&self, version: String, directory: String) {
        let startup = Startup { version, expanded_directory: directory, subsystems: Vec::new() };
        let mut queues = self.lock();
        // The one in front may be on its way; any other that was not sent yet is outdated.
        let mut index = 0;
        queues.events.retain(|event| {
            index += 1;
            index == 1 || !matches!(event, Event::Startup(_))
        });
        queues.events.push_back(Event::Startup(startup));
        drop(queues);
        self.0.events.notify_one();
    }

    /// The lifecycle goes on to `state`. It only goes forward: a state that is behind the last one is ignored.
    pub fn lifecycle(&self, state: State) {
        let mut queues = self.lock();
        if queues.state.is_some_and(|last| last as i32 >= state as i32) {
            return;
        }
        info!(state = state.as_str_name(), "lifecycle");
        queues.state = Some(state);
        let changed_at = Some(SystemTime::now().into());
        queues.events.push_back(Event::Lifecycle(Lifecycle { state: state.into(), changed_at }));
        drop(queues);
        self.0.events.notify_one();
    }

    /// The state that was reported last.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        self.lock().state
    }

    /// A script has ended.
    pub fn script(&self, timing: Timing) {
        let mut queues = self.lock();
        queues.results.insert(timing.script_id.clone(), timing.clone());
        if queues.events.len() >= MAX_EVENTS {
            warn!("too many reports wait for the server; the result of a script is not reported");
            return;
        }
        queues.events.push_back(Event::Script(timing));
        drop(queues);
        self.0.events.notify_one();
    }

    /// How a script ended last, where it has.
    #[must_use]
    pub fn result(&self, script: Uuid) -> Option<Timing> {
        self.lock().results.get(script.as_bytes().as_slice()).cloned()
    }

    /// What was collected for a metadata item. Readings are not waited for when the agent ends.
    pub fn metadata(&self, reading: Reading) {
        self.lock().readings.put(reading);
        self.0.readings.notify_one();
    }

    /// How the last delivery went. Not waited for when the agent ends.
    pub fn delivery(&self, report: ReportRequest) {
        self.lock().delivery = Some(report);
        self.0.delivery.notify_one();
    }

    /// One line of output, already masked, without its newline.
    pub fn line(&self, source: Uuid, level: Level, line: &[u8]) {
        self.lock().lines.push(source, level, line, Instant::now());
        self.0.lines.notify_one();
    }

    /// One line of the agent's own in the startup log that the server keeps; ignored before the first manifest.
    pub fn own_line(&self, level: Level, line: &str) {
        let source = self.lock().own_source;
        if let Some(source) = source {
            self.line(source, level, line.as_bytes());
        }
    }

    /// The manifest has told which agent this is; its own lines go to a log source derived from that.
    pub fn set_agent(&self, agent: Uuid) {
        self.lock().own_source = Some(own_log_source(agent));
    }

    /// The log source of [`Reporter::own_line`].
    #[must_use]
    pub fn own_source(&self) -> Option<Uuid> {
        self.lock().own_source
    }

    /// Waits until everything is acknowledged; lines go out at once from now on. The caller bounds the wait.
    pub async fn flushed(&self) {
        self.lock().lines.hurry();
        self.0.lines.notify_one();
        loop {
            let progress = self.0.progress.notified();
            tokio::pin!(progress);
            // Registered before the look, or an acknowledgement in between would be missed.
            progress.as_mut().enable();
            if self.lock().is_empty() {
                return;
            }
            progress.await;
        }
    }

    /// The oldest event that is not acknowledged.
    pub(crate) async fn next_event(&self) -> Event {
        loop {
            let first = self.lock().events.front().cloned();
            match first {
                Some(event) => return event,
                None => self.0.events.notified().await,
            }
        }
    }

    /// The server has [`Reporter::next_event`], or will never take it.
    pub(crate) fn event_done(&self) {
        self.lock().events.pop_front();
        self.0.progress.notify_waiters();
    }

    /// The next lines of one source, when they are due. They stay queued.
    pub(crate) async fn next_lines(&self) -> (Uuid, Vec<Log>) {
        loop {
            let due = self.lock().lines.due();
            match due {
                Due::Now(source, lines) => return (source, lines),
                Due::At(instant) => tokio::select! {
                    () = sleep_until(instant) => {}
                    () = self.0.lines.notified() => {}
                },
                Due::Never => self.0.lines.notified().await,
            }
        }
    }

    /// The server has the first `count` lines of `source`, or will never take them.
    pub(crate) fn lines_done(&self, source: Uuid, count: usize) {
        self.lock().lines.remove(source, count, Instant::now());
        self.0.progress.notify_waiters();
    }

    /// The server takes no more lines of this agent.
    pub(crate) fn lines_refused(&self) {
        debug!(
            "the server has reached its limit of log lines for this agent; further lines are in the local log files"
        );
        self.lock().lines.close();
        self.0.progress.notify_waiters();
    }

    /// The readings that are not acknowledged, or the first of them. They stay queued.
    pub(crate) async fn next_readings(&self) -> Vec<Reading> {
        loop {
            let batch = self.lock().readings.batch();
            if !batch.is_empty() {
                return batch;
            }
            self.0.readings.notified().await;
        }
    }

    /// The report of the last delivery, if the server has not got it. It stays where it is.
    pub(crate) async fn next_delivery(&self) -> ReportRequest {
        loop {
            let report = self.lock().delivery.clone();
            match report {
                Some(report) => return report,
                None => self.0.delivery.notified().await,
            }
        }
    }

    /// The server has this report, or will never take it.
    pub(crate) fn delivery_done(&self, sent: &ReportRequest) {
        self.lock().delivery.take_if(|report| report == sent);
    }

    /// The server has these, or will never take them.
    pub(crate) fn readings_done(&self, sent: &[Reading]) {
        self.lock().readings.remove(sent);
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
