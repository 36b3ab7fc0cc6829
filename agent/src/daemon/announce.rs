use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::boot::Boot;
use super::notify;
use crate::control::Connection;

/// Tells the service manager when the agent is ready, and how it is from then on.
///
/// A server that is away must not make the start fail: after `ready_after` the agent is ready whatever has arrived.
pub(super) async fn announce(
    boot: &Boot,
    mut connection: watch::Receiver<Connection>,
    ready_after: Duration,
) -> Infallible {
    tokio::select! {
        never = beat(notify::pulse()) => never,
        never = announced(boot, &mut connection, ready_after) => never,
    }
}

/// Shows the service manager's watchdog that the one thread on which all of the agent runs is not stuck.
async fn beat(pulse: Option<Duration>) -> Infallible {
    let Some(pulse) = pulse else { return std::future::pending().await };
    let mut pulse = interval(pulse);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pulse.tick().await;
        notify::alive();
    }
}

async fn announced(boot: &Boot, connection: &mut watch::Receiver<Connection>, ready_after: Duration) -> Infallible {
    let mut phase = boot.life.subscribe();
    let settled = phase.wait_for(|phase| phase.is_settled());
    tokio::select! {
        // Both ends of the channel live as long as this future.
        _ = timeout(ready_after, settled) => {}
        // Whoever waits for the start may want to know what for.
        never = tell(boot, connection) => match never {},
    }
    notify::ready(&describe(boot, connection));
    tell(boot, connection).await
}

async fn tell(boot: &Boot, connection: &mut watch::Receiver<Connection>) -> Infallible {
    let mut deliveries = boot.deliveries.subscribe();
    loop {
        notify::status(&describe(boot, connection));
        tokio::select! {
            Ok(()) = deliveries.changed() => {}
            Ok(()) = connection.changed() => {}
            else => std::future::pending().await,
        }
    }
}

fn describe(boot: &Boot, connection: &watch::Receiver<Connection>) -> String {
    let delivered = boot.latest().map_or_else(|| "waiting for the secrets".to_owned(), |latest| latest.to_string());
    match &*connection.borrow() {
        Connection::Connected => delivered,
        Connection::Dialing => format!("{delivered}; connecting"),
        Connection::Failed(reason) => format!("{delivered}; no connection: {reason}"),
    }
}
