use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// The agent may be used now.
pub(super) fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What `systemctl status` shows.
pub(super) fn status(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// How often the service manager wants to hear that the agent is alive: twice in the time it allows.
pub(super) fn pulse() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|pulse| !pulse.is_zero())
}

/// The agent is alive.
pub(super) fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// The agent is about to end.
pub(super) fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Without a service manager there is nobody to tell.
fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "cannot notify the service manager");
    }
}
