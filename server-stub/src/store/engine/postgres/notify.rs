//! Telling other servers of changes, and hearing of theirs.
//!
//! A server notifies after its commit: inside the transaction the notification would serialize all commits. So a notification can be
//! lost, with a crash in between or with the connection of its receiver. Each server therefore compares every few seconds as well.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::changes::{Change, Publisher};
use super::super::failure::{DatabaseError, Fault};
use super::super::native::pool::Pool;
use super::super::native::postgres::within;
use super::Channel;
use crate::metrics;
use crate::store::now;

/// Changes are notified together, at most this often.
const PAUSE: Duration = Duration::from_millis(5);
/// How often servers compare, whether or not they were notified.
const COMPARE: Duration = Duration::from_secs(5);
/// Pause before the next attempt to listen.
const RETRY: Duration = Duration::from_secs(1);
/// PostgreSQL takes payloads below 8000 bytes. A burst that does not fit is one word.
const MAX_WORDS: usize = 200;

impl Channel {
    fn name(self) -> String {
        format!("coder_{}", self.deployment.simple())
    }
}

/// Sends what is queued, and after `closed` what is left.
pub(super) async fn send(
    pool: Pool,
    channel: Channel,
    mut queue: mpsc::UnboundedReceiver<Change>,
    closed: CancellationToken,
) {
    let (name, sender) = (channel.name(), channel.own.simple());
    loop {
        let first = tokio::select! {
            biased;
            first = queue.recv() => first,
            () = closed.cancelled() => None,
        };
        let Some(first) = first else { return };
        let committed = now().as_microsecond();
        let _ = tokio::time::timeout(PAUSE, closed.cancelled()).await;
        let mut changes = HashSet::from([first]);
        while let Ok(more) = queue.try_recv() {
            changes.insert(more);
        }
        if changes.len() > MAX_WORDS {
            changes = HashSet::from([Change::Any]);
        }
        let words: Vec<String> = changes.into_iter().map(Change::encode).collect();
        let payload = format!("{sender} {} {}", words.join(","), committed);
        if let Err(error) = notify(&pool, &name, &payload).await {
            tracing::warn!(%error, "cannot notify other servers of a change; they compare every few seconds");
        }
    }
}

/// Once more if the connection was found dead.
async fn notify(pool: &Pool, name: &str, payload: &str) -> Result<(), DatabaseError> {
    for attempt in 0.. {
        let lease = pool.lease();
        let notify = sqlx::query("SELECT pg_notify($1, $2)").bind(name).bind(payload);
        match within(notify.execute(&lease.pool)).await.map_err(DatabaseError::from) {
            Err(error) if error.fault() == Fault::Lost => {
                lease.lost();
                if attempt > 0 {
                    return Err(error);
                }
            }
            done => return done.map(drop),
        }
    }
    Ok(())
}

/// Publishes what other servers send, and every few seconds that anything may have changed. Runs until it is dropped.
pub(super) async fn receive(pool: Pool, channel: Channel, publisher: Publisher) {
    tokio::join!(compare(&publisher), listen(&pool, channel, &publisher));
}

async fn compare(publisher: &Publisher) {
    let mut compare = tokio::time::interval(COMPARE);
    compare.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        compare.tick().await;
        publisher.publish([Change::Any]);
    }
}

async fn listen(pool: &Pool, channel: Channel, publisher: &Publisher) {
    let (channel, own) = (channel.name(), channel.own.simple().to_string());
    loop {
        if let Err(error) = hear(pool, &channel, &own, publisher).await {
            tracing::warn!(%error, "cannot listen for changes of other servers; comparing every few seconds");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn hear(pool: &Pool, channel: &str, own: &str, publisher: &Publisher) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(&pool.lease().pool).await?;
    listener.listen(channel).await?;
    // What happened before it listened.
    publisher.publish([Change::Any]);
    loop {
        let Some(heard) = listener.try_recv().await? else {
            // The connection was lost and is a new one.
            publisher.publish([Change::Any]);
            continue;
        };
        let mut parts = heard.payload().split(' ');
        let (sender, words) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if sender != own {
            if let Some(sent) = parts.next().and_then(|sent| sent.parse::<i64>().ok()) {
                // Clocks of two machines may differ.
                let lag = now().as_microsecond().saturating_sub(sent);
                metrics::change_heard(Duration::from_micros(u64::try_from(lag).unwrap_or(0)));
            }
            publisher.publish(words.split(',').map(Change::decode));
        }
    }
}
