use std::convert::Infallible;
use std::time::Duration;

use protocol::agent_api::lifecycle::State;
use protocol::agent_api::timing::Stage;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::boot::Boot;
use super::notify;
use super::phase::{Ending, Phase};
use super::signals::{Signals, is_stop};
use crate::control::Handle;
use crate::scripts::Summary;

/// A main process may be done before the startup scripts are; they get this long.
const STARTUP_GRACE: Duration = Duration::from_secs(10);
/// All stop scripts together. Service managers kill after a minute or a minute and a half.
const STOP_LIMIT: Duration = Duration::from_secs(40);
/// For the last states and lines to reach the server.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);
/// For the WebSocket to close as it should.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Ends the workspace: startup scripts, stop scripts, the last state, the connection. A second request to end cuts the
/// scripts short. Returns `code`.
pub(super) async fn shut_down(
    boot: &Boot,
    signals: &mut Signals,
    handle: &Handle,
    mut connection: JoinHandle<()>,
    code: u8,
) -> u8 {
    notify::stopping();
    let hurry = CancellationToken::new();
    tokio::select! {
        () = end_scripts(boot, &hurry) => {}
        () = cut_short(boot, signals, &hurry) => {}
    }
    // Where nothing was ever fetched the server knows nothing of this run, and need not.
    let is_known = matches!(boot.life.phase(), Phase::Ending(Ending { is_reported: true, .. }));
    if is_known && timeout(FLUSH_LIMIT, boot.life.flushed()).await.is_err() {
        warn!("the server was not told of the end within {FLUSH_LIMIT:?}");
    }
    handle.close();
    if timeout(CLOSE_LIMIT, &mut connection).await.is_err() {
        debug!("the connection did not close in time");
    }
    info!(code, "agent ends");
    code
}

async fn end_scripts(boot: &Boot, hurry: &CancellationToken) {
    // A main process may be done before the startup scripts are; whoever asks for the end does not wait for them.
    let is_asked = matches!(boot.life.phase(), Phase::Ending(Ending { is_asked: true, .. }));
    boot.jobs.end(if is_asked { Duration::ZERO } else { STARTUP_GRACE }).await;
    // Only now: the server takes no state of the start any more once it was told of the end.
    let ending = boot.life.end(is_asked);
    if !ending.is_reported {
        return;
    }
    // `--strict` runs no script after a start error.
    let state = match boot.stop_scripts().filter(|_| ending.has_started) {
        Some((runner, scripts)) => {
            let out_of_time = async {
                sleep(STOP_LIMIT).await;
                hurry.cancel();
                std::future::pending::<Infallible>().await
            };
            tokio::select! {
                summary = runner.run_all(&scripts, Stage::Stop, hurry) => stop_state(summary, hurry.is_cancelled()),
                never = out_of_time => match never {},
            }
        }
        None => State::Off,
    };
    boot.life.stopped(state);
}

async fn cut_short(boot: &Boot, signals: &mut Signals, hurry: &CancellationToken) {
    loop {
        let signal = signals.next().await;
        if is_stop(signal) {
            info!(%signal, "asked to end once more");
            boot.jobs.stop();
            hurry.cancel();
        }
    }
}

fn stop_state(summary: Summary, cut: bool) -> State {
    match summary {
        _ if cut => State::ShutdownTimeout,
        Summary { failed: 1.., .. } => State::ShutdownError,
        Summary { timed_out: 1.., .. } => State::ShutdownTimeout,
        Summary { .. } => State::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_state_is_the_worst_of_the_stop_scripts() {
        for (failed, timed_out, cut, expected) in [
            (0, 0, false, State::Off),
            (0, 1, false, State::ShutdownTimeout),
            (1, 1, false, State::ShutdownError),
            (1, 0, true, State::ShutdownTimeout),
        ] {
            assert_eq!(stop_state(Summary { count: 3, failed, timed_out }, cut), expected);
        }
    }
}
