//! Handing agents over to other servers before a stop.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::config::Drain;
use crate::state::AppState;

/// How long a stop takes if other servers can take the agents: a load balancer looks every few seconds whether a server is ready, and
/// systemd's unit allows thirty seconds for everything.
const HANDOVER: Duration = Duration::from_secs(10);
/// Longest wait for the database to tell of them: without it the others cannot serve either.
const LOOK: Duration = Duration::from_secs(2);
/// Groups in which agents leave.
const GROUPS: u32 = 50;

/// Says that this server stops, waits until load balancers have seen it, and sends the agents away a few at a time: each dials again at
/// once, and all of them at once would be a stampede at the next server.
pub(super) async fn drain(state: &AppState, drain: Drain) {
    state.stopping.cancel();
    let agents = state.fleet.sessions_open();
    if agents == 0 {
        return;
    }
    let time = match drain {
        Drain::For(time) => time,
        Drain::Auto => automatic(state).await,
    };
    if time.is_zero() {
        return;
    }
    let half = time / 2;
    tracing::info!(agents, seconds = time.as_secs_f64(), "handing the agents over to other servers");
    sleep(half).await;
    state.fleet.close_the_door();
    let mut left = GROUPS;
    while left > 0 {
        let open = state.fleet.sessions_open();
        if open == 0 {
            return;
        }
        state.fleet.send_away(open.div_ceil(left as usize));
        sleep(half / GROUPS).await;
        left -= 1;
    }
}

/// Without another server, waiting would only keep the agents from the next start of this one.
async fn automatic(state: &AppState) -> Duration {
    match timeout(LOOK, state.store.servers().others()).await {
        Ok(Ok(true)) => HANDOVER,
        Ok(Ok(false)) => Duration::ZERO,
        Ok(Err(error)) => {
            let error: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(error, "cannot look for other servers; stopping at once");
            Duration::ZERO
        }
        Err(_) => {
            tracing::warn!("the database does not say whether there are other servers; stopping at once");
            Duration::ZERO
        }
    }
}
