//! How far the workspace is. There is one such value, it only moves forward, and the rest of the daemon asks it.

use std::sync::Arc;

use protocol::agent_api::lifecycle::State;
use tokio::sync::watch;

use crate::report::Reporter;
use crate::scripts::Summary;

/// How far the workspace is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// No manifest has arrived yet. The server knows nothing of this run.
    Waiting,
    /// The first manifest is being delivered.
    Delivering,
    /// `--strict`: a secret could not be delivered, so no script ran. A later delivery may be complete.
    Refused,
    /// The startup scripts run.
    Starting,
    /// The startup scripts have ended.
    Running,
    /// The workspace is to end.
    Ending(Ending),
}

/// What the way to the end depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ending {
    /// Somebody asked for it; otherwise the main process is done.
    pub(super) is_asked: bool,
    /// The server was told of the start, so it is told of the end too.
    pub(super) is_reported: bool,
    /// Scripts were started, so there is something for stop scripts to end.
    pub(super) has_started: bool,
}

impl Phase {
    /// A manifest has arrived that can be delivered.
    fn fetched(self) -> Self {
        match self {
            Self::Waiting => Self::Delivering,
            Self::Ending(ending) => Self::Ending(Ending { is_reported: true, ..ending }),
            later => later,
        }
    }

    /// A manifest was delivered. `is_refused`: not completely, and the user wants all or nothing.
    fn delivered(self, is_refused: bool) -> Self {
        match self {
            Self::Waiting | Self::Delivering | Self::Refused if is_refused => Self::Refused,
            Self::Waiting | Self::Delivering | Self::Refused => Self::Starting,
            later => later,
        }
    }

    fn scripts_ended(self) -> Self {
        if self == Self::Starting { Self::Running } else { self }
    }

    fn end(self, is_asked: bool) -> Self {
        Self::Ending(match self {
            Self::Ending(before) => Ending { is_asked: before.is_asked || is_asked, ..before },
            phase => Ending { is_asked, is_reported: phase != Self::Waiting, has_started: phase.has_started() },
        })
    }

    /// The first delivery has come to its end, good or bad.
    pub(super) fn is_settled(self) -> bool {
        match self {
            Self::Waiting | Self::Delivering => false,
            Self::Refused | Self::Starting | Self::Running => true,
            Self::Ending(ending) => ending.has_started,
        }
    }

    /// Scripts were started.
    pub(super) fn has_started(self) -> bool {
        match self {
            Self::Waiting | Self::Delivering | Self::Refused => false,
            Self::Starting | Self::Running => true,
            Self::Ending(ending) => ending.has_started,
        }
    }
}

/// Moves the [`Phase`] on, and tells the server of it. Clones share both.
#[derive(Clone)]
pub(super) struct Life {
    phase: Arc<watch::Sender<Phase>>,
    reporter: Reporter,
}

impl Life {
    pub(super) fn new(reporter: Reporter) -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Waiting)), reporter }
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// A manifest has arrived that can be delivered.
    pub(super) fn fetched(&self) {
        self.advance(Phase::fetched);
        self.reporter.lifecycle(State::Starting);
    }

    /// A manifest was delivered. Returns whether the startup scripts are to run now; that is so once.
    pub(super) fn delivered(&self, is_refused: bool) -> bool {
        let (before, now) = self.advance(|phase| phase.delivered(is_refused));
        if now == Phase::Refused {
            self.reporter.lifecycle(State::StartError);
        }
        before != now && now == Phase::Starting
    }

    /// The startup scripts have ended.
    pub(super) fn scripts_ended(&self, summary: Summary) {
        self.advance(Phase::scripts_ended);
        self.reporter.lifecycle(start_state(summary));
    }

    /// The workspace is to end: because somebody asked, or because its main process is done.
    pub(super) fn end(&self, is_asked: bool) -> Ending {
        let ending = match self.advance(|phase| phase.end(is_asked)).1 {
            Phase::Ending(ending) => ending,
            // `Phase::end` makes nothing else.
            _ => Ending { is_asked, is_reported: false, has_started: false },
        };
        if ending.is_reported {
            self.reporter.lifecycle(State::ShuttingDown);
        }
        ending
    }

    /// The stop scripts have ended, and this is how.
    pub(super) fn stopped(&self, state: State) {
        self.reporter.lifecycle(state);
    }

    /// Waits until the server has everything. The caller bounds the wait.
    pub(super) async fn flushed(&self) {
        self.reporter.flushed().await;
    }

    fn advance(&self, step: impl FnOnce(Phase) -> Phase) -> (Phase, Phase) {
        let before = self.phase();
        let now = step(before);
        self.phase.send_if_modified(|phase| std::mem::replace(phase, now) != now);
        (before, now)
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

    #[test]
    fn startup_scripts_run_once_and_only_after_a_delivery_that_counts() {
        let life = Life::new(Reporter::default());
        assert!(!life.phase().is_settled());
        life.fetched();
        assert_eq!(life.phase(), Phase::Delivering);
        assert!(!life.delivered(true));
        assert!(life.phase().is_settled() && !life.phase().has_started());
        assert!(life.delivered(false));
        assert!(!life.delivered(false) && !life.delivered(true));
        assert_eq!(life.phase(), Phase::Starting);
        life.scripts_ended(Summary::default());
        assert!(!life.delivered(false));
        assert_eq!(life.phase(), Phase::Running);
    }

    #[test]
    fn an_end_remembers_how_far_the_workspace_was_and_is_final() {
        let ending = |is_asked, is_reported, has_started| Ending { is_asked, is_reported, has_started };
        for (phase, expected) in [
            (Phase::Waiting, ending(true, false, false)),
            (Phase::Delivering, ending(true, true, false)),
            (Phase::Refused, ending(true, true, false)),
            (Phase::Starting, ending(true, true, true)),
            (Phase::Running, ending(true, true, true)),
            (Phase::Ending(ending(false, true, true)), ending(true, true, true)),
        ] {
            let ended = phase.end(true);
            assert_eq!(ended, Phase::Ending(expected), "{phase:?}");
            assert_eq!(ended.end(false).delivered(false).scripts_ended(), ended, "{phase:?}");
        }
        // The server hears of the end of a run whose first manifest came late.
        assert_eq!(Phase::Waiting.end(true).fetched(), Phase::Ending(ending(true, true, false)));
    }
}
