use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::{Timestamp, Zoned};
use protocol::agent_api::timing::Stage;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};
use uuid::Uuid;

use super::{Recurring, Runner};
use crate::manifest::Script;
use crate::report::Level;

/// The clock is looked at this often at least: it may be set, and it runs on while the machine sleeps.
const LOOK: Duration = Duration::from_mins(1);

/// Runs the scripts of the latest delivery that have a schedule, each at its times, for as long as it is polled. Runs are
/// tasks of `jobs` and are ended by `stop`.
///
/// A script is not started while its last run goes on; that time is left out. After a sleep of the machine it runs once,
/// however many times have passed.
pub async fn run_on_schedule(
    mut recurring: watch::Receiver<Option<Recurring>>,
    jobs: &TaskTracker,
    stop: &CancellationToken,
) -> Infallible {
    let mut timetable = Timetable::default();
    let running = Running::default();
    recurring.mark_changed();
    loop {
        tokio::select! {
            changed = recurring.changed() => {
                if changed.is_err() {
                    pending::<()>().await;
                }
            }
            () = timetable.pause() => {}
        }
        let Some(Recurring { runner, scripts, .. }) = recurring.borrow_and_update().clone() else { continue };
        timetable.update(&scripts, &runner);
        for script in timetable.due(&Zoned::now()) {
            start(script, &runner, &running, jobs, stop);
        }
    }
}

fn start(script: Script, runner: &Arc<Runner>, running: &Running, jobs: &TaskTracker, stop: &CancellationToken) {
    match running.begin(script.id) {
        Begin::Now(run) => {
            let (runner, stop) = (runner.clone(), stop.clone());
            jobs.spawn(async move {
                runner.run(&script, Stage::Cron, &stop).await;
                drop(run);
            });
        }
        Begin::Overlaps { first } => {
            debug!(script = %script.id, "not started: its last run goes on");
            // Once a run: a script that never ends, scheduled for every second, must not fill the log.
            if first {
                let text = b"(not started at its time: the run before it has not ended)";
                runner.reporter.line(script.log_source_id, Level::Warn, text);
            }
        }
    }
}

/// The scripts that run, and whether it was told that one would have had to run again meanwhile.
#[derive(Clone, Default)]
struct Running(Arc<Mutex<HashMap<Uuid, bool>>>);

enum Begin {
    Now(Run),
    Overlaps { first: bool },
}

/// One run, until dropped.
struct Run {
    id: Uuid,
    running: Running,
}

impl Running {
    fn begin(&self, id: Uuid) -> Begin {
        let mut all = self.lock();
        if let Some(told) = all.get_mut(&id) {
            return Begin::Overlaps { first: !std::mem::replace(told, true) };
        }
        all.insert(id, false);
        Begin::Now(Run { id, running: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.running.lock().remove(&self.id);
    }
}

/// When which script is next.
#[derive(Default)]
struct Timetable(Vec<Scheduled>);

struct Scheduled {
    script: Script,
    /// `None` where the schedule is none, or has no next time.
    next: Option<(Cron, Zoned)>,
}

impl Timetable {
    /// Takes over a new set of scripts. One that is scheduled as before keeps its next time.
    fn update(&mut self, scripts: &[Script], runner: &Runner) {
        let mut before = std::mem::take(&mut self.0);
        for script in scripts.iter().filter(|script| !script.cron.is_empty()) {
            let same = |entry: &Scheduled| entry.script.id == script.id && entry.script.cron == script.cron;
            let next = match before.iter().position(same) {
                Some(index) => before.swap_remove(index).next,
                None => first_time(script, runner),
            };
            self.0.push(Scheduled { script: script.clone(), next });
        }
    }

    /// The scripts whose time has come; each is scheduled anew.
    fn due(&mut self, now: &Zoned) -> Vec<Script> {
        let mut due = Vec::new();
        for entry in &mut self.0 {
            let Some((cron, next)) = entry.next.take() else { continue };
            if next <= *now {
                due.push(entry.script.clone());
            }
            // Also where it is not due: somebody may have set the clock back.
            entry.next = cron.find_next_occurrence(now, false).ok().map(|next| (cron, next));
        }
        due
    }

    /// Until it is worth looking again. Without a schedule that is never.
    async fn pause(&self) {
        let next = self.0.iter().filter_map(|entry| entry.next.as_ref()).map(|(_, next)| next.timestamp()).min();
        match next {
            Some(next) => {
                let left = Duration::try_from(next.duration_since(Timestamp::now())).unwrap_or_default();
                sleep(left.min(LOOK)).await;
            }
            None => pending().await,
        }
    }
}

fn first_time(script: &Script, runner: &Runner) -> Option<(Cron, Zoned)> {
    let found = parse(&script.cron).and_then(|cron| {
        let next = cron.find_next_occurrence(&Zoned::now(), false).map_err(|error| error.to_string())?;
        Ok((cron, next))
    });
    found
        .inspect_err(|reason| {
            let text = format!("script {:?} never runs: schedule {:?}: {reason}", script.display_name, script.cron);
            warn!("{text}");
            runner.reporter.own_line(Level::Error, &text);
        })
        .ok()
}

/// Six fields, the first of them seconds, in the time zone of the agent.
fn parse(schedule: &str) -> Result<Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build();
    parser.parse(schedule).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_has_six_fields_and_means_local_time() {
        let next = |schedule: &str, now: &str| {
            let now: Zoned = now.parse().unwrap();
            parse(schedule).unwrap().find_next_occurrence(&now, false).unwrap().to_string()
        };
        for (schedule, now, expected) in [
            ("*/5 * * * * *", "2026-11-21T12:00:03.7Z[UTC]", "2026-11-21T12:00:05+00:00[UTC]"),
            // The very second that has just passed is not the next one.
            ("5 * * * * *", "2026-11-21T12:00:05.001Z[UTC]", "2026-11-21T12:01:05+00:00[UTC]"),
            ("0 30 8 * * 1-5", "2026-11-21T12:00:00Z[UTC]", "2026-11-23T08:30:00+00:00[UTC]"),
            ("0 0 8 ? * MON", "2026-11-21T12:00:00[Europe/Berlin]", "2026-11-23T08:00:00+01:00[Europe/Berlin]"),
            // Either day field is enough where both are given.
            ("0 0 0 1 * 0", "2026-11-21T12:00:00Z[UTC]", "2026-11-22T00:00:00+00:00[UTC]"),
            // 02:30 does not exist on the day the clocks go forward.
            ("0 30 2 * * *", "2026-03-28T12:00:00[Europe/Berlin]", "2026-03-29T03:00:00+02:00[Europe/Berlin]"),
        ] {
            assert_eq!(next(schedule, now), expected, "{schedule} after {now}");
        }
        for bad in ["", "* * * * *", "* * * * * * 2026", "60 * * * * *", "a b c d e f"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    fn script(schedule: &str) -> Script {
        let text = String::new;
        Script {
            id: Uuid::from_u128(1),
            log_source_id: Uuid::nil(),
            display_name: text(),
            log_path: text(),
            script: text(),
            cron: schedule.into(),
            run_on_start: false,
            run_on_stop: false,
            start_blocks_login: false,
            timeout: None,
        }
    }

    #[test]
    fn a_script_is_due_once_a_time_and_once_after_a_long_sleep() {
        let at = |time: &str| format!("2026-11-21T{time}Z[UTC]").parse::<Zoned>().unwrap();
        let cron = parse("*/10 * * * * *").unwrap();
        let next = cron.find_next_occurrence(&at("12:00:01"), false).unwrap();
        let mut timetable = Timetable(vec![Scheduled { script: script("*/10 * * * * *"), next: Some((cron, next)) }]);
        for (now, due) in [
            ("12:00:09.999", 0),
            ("12:00:10", 1),
            ("12:00:10.5", 0),
            ("12:00:20.1", 1),
            ("15:00:00", 1),
            ("15:00:01", 0),
            // Somebody set the clock back: its times from then on count.
            ("12:00:01", 0),
            ("12:00:10", 1),
        ] {
            assert_eq!(timetable.due(&at(now)).len(), due, "{now}");
        }
    }

    #[test]
    fn a_run_keeps_the_next_from_starting_and_that_is_told_once() {
        let running = Running::default();
        let id = Uuid::from_u128(1);
        let Begin::Now(run) = running.begin(id) else { panic!("the first is refused") };
        for expected in [true, false] {
            assert!(matches!(running.begin(id), Begin::Overlaps { first } if first == expected));
        }
        assert!(matches!(running.begin(Uuid::from_u128(2)), Begin::Now(_)));
        drop(run);
        assert!(matches!(running.begin(id), Begin::Now(_)));
    }
}
