//! Values that the template wants shown on the server, each collected by a script of its own, once or again and again.
#![forbid(unsafe_code)]

mod collect;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use crate::manifest::Metadata;
use crate::scripts::Recurring;

/// Items that are collected at once: all are due together when the workspace starts.
const SIDE_BY_SIDE: usize = 8;
/// Longer than any workspace lives; more could not be added to a point in time.
const LONGEST_INTERVAL: Duration = Duration::from_hours(24 * 365);

/// Collects what the latest delivery asks for, for as long as it is polled. Where that is nothing, it only waits for the
/// next delivery.
///
/// An item that a new delivery describes as before keeps its rhythm, and sees the new environment from then on.
pub async fn run(mut recurring: watch::Receiver<Option<Recurring>>) -> Infallible {
    // Dropping a task ends its script as well.
    let mut tasks: BTreeMap<String, (Metadata, AbortOnDropHandle<()>)> = BTreeMap::new();
    let places = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    recurring.mark_changed();
    while recurring.changed().await.is_ok() {
        let wanted = recurring.borrow_and_update().as_ref().map(|it| it.metadata.clone()).unwrap_or_default();
        tasks.retain(|_, (item, _)| wanted.contains(item));
        for item in wanted.iter() {
            tasks.entry(item.key.clone()).or_insert_with(|| {
                let task = tokio::spawn(repeat(item.clone(), recurring.clone(), places.clone()));
                (item.clone(), AbortOnDropHandle::new(task))
            });
        }
    }
    pending().await
}

async fn repeat(item: Metadata, recurring: watch::Receiver<Option<Recurring>>, places: Arc<Semaphore>) {
    let mut ticks = interval(item.interval.unwrap_or(LONGEST_INTERVAL).min(LONGEST_INTERVAL));
    // A script that takes longer than its interval is not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        // Never closed, so a place always comes.
        let _place = places.acquire().await;
        let Some(runner) = recurring.borrow().as_ref().map(|it| it.runner.clone()) else { return };
        runner.reporter.metadata(collect::collect(&runner, &item).await);
        if item.interval.is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
