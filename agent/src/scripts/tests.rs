use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt;
use protocol::agent_api::Timing;
use protocol::secret::Secret;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::*;
use crate::environment::Options;
use crate::report::{Event, Level};
use crate::sys::memory::guard_one;

/// Only ends a test that hangs.
const LIMIT: Duration = Duration::from_secs(30);
const SOURCE: Uuid = Uuid::from_u128(0x50);

/// A runner whose log files are in `dir`, which is the home, too; its scripts see `GREETING`.
pub(crate) fn runner(dir: &Path, greeting: &str) -> Runner {
    let variable = |name: &str, value: String| (name.into(), Secret::from(value));
    let start = vec![variable("PATH", std::env::var("PATH").unwrap()), variable("GREETING", greeting.to_owned())];
    Runner {
        environment: Arc::new(Environment::without_secrets(start, Options::default())),
        masking: Arc::new(Masking::new(guard_one(Secret::from("masked-value".to_owned())).unwrap())),
        directory: String::new(),
        shell: "/bin/sh".into(),
        places: Places { log_dir: dir.to_owned(), home: Some(dir.to_owned()), variables: Vec::new() },
        data: None,
        reporter: Reporter::default(),
    }
}

fn script(text: &str) -> Script {
    Script {
        id: Uuid::from_u128(1),
        log_source_id: SOURCE,
        display_name: "test".into(),
        log_path: "script.log".into(),
        script: text.into(),
        cron: String::new(),
        run_on_start: true,
        run_on_stop: false,
        start_blocks_login: false,
        timeout: None,
    }
}

async fn run(runner: &Runner, script: Script) -> Outcome {
    let stop = CancellationToken::new();
    timeout(LIMIT, runner.run(&script, Stage::Start, &stop)).await.expect("the script ends")
}

fn timing(runner: &Runner) -> Timing {
    match runner.reporter.next_event().now_or_never() {
        Some(Event::Script(timing)) => timing,
        other => panic!("no result of a script: {other:?}"),
    }
}

/// Lines until one that is `last`.
async fn lines_to(runner: &Runner, last: &str) -> Vec<(Level, String)> {
    let mut all = Vec::new();
    while !all.iter().any(|(_, text): &(Level, String)| text == last) {
        let (source, lines) = timeout(LIMIT, runner.reporter.next_lines()).await.expect(last);
        assert_eq!(source, SOURCE);
        runner.reporter.lines_done(source, lines.len());
        all.extend(lines.into_iter().map(|log| (log.level(), log.output)));
    }
    all
}

fn log(dir: &Path) -> String {
    fs::read_to_string(dir.join("script.log")).unwrap()
}

#[tokio::test]
async fn a_script_sees_its_environment_and_its_output_goes_to_the_file_and_to_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), "hello");
    let outcome = run(&runner, script("echo \"$GREETING from $PWD\"; echo masked-value >&2; echo; printf end")).await;
    assert_eq!(outcome, Outcome { status: Status::Ok, exit_code: 0 });
    let timing = timing(&runner);
    assert_eq!((timing.stage(), timing.status(), timing.exit_code), (Stage::Start, Status::Ok, 0));
    assert_eq!(timing.script_id, Uuid::from_u128(1).as_bytes());
    let time = |time: Option<prost_types::Timestamp>| std::time::SystemTime::try_from(time.unwrap()).unwrap();
    assert!(time(timing.start) <= time(timing.end));

    let lines = lines_to(&runner, "end").await;
    let of = |level| lines.iter().filter(|line| line.0 == level).map(|line| line.1.as_str()).collect::<Vec<_>>();
    assert_eq!(of(Level::Info), [&format!("hello from {}", dir.path().display()), "", "end"]);
    let [error] = of(Level::Error)[..] else { panic!("{lines:?}") };
    assert!(!error.contains("masked-value"), "{error}");
    let log = log(dir.path());
    assert!(log.contains("hello from") && !log.contains("masked-value"), "{log}");
}

#[tokio::test]
async fn how_a_script_ends_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), "hello");
    for (text, status, exit_code) in [
        ("true", Status::Ok, 0),
        ("exit 7", Status::ExitFailure, 7),
        ("kill -KILL $$", Status::ExitFailure, 255),
        ("no-such-command-here", Status::ExitFailure, 127),
        ("#!/bin/sh -e\nfalse\necho not reached\n", Status::ExitFailure, 1),
        ("\n#!/usr/bin/env -S sh -e\nfalse\n", Status::ExitFailure, 1),
        ("#!/nonexistent/interpreter\n", Status::ExitFailure, 127),
    ] {
        assert_eq!(run(&runner, script(text)).await, Outcome { status, exit_code }, "{text}");
        assert_eq!((timing(&runner).status(), timing(&runner).exit_code), (status, exit_code), "{text}");
        runner.reporter.event_done();
    }
    let log = log(dir.path());
    assert!(!log.contains("not reached"), "{log}");
    assert!(log.contains("cannot run /nonexistent/interpreter"), "{log}");
}

#[tokio::test]
async fn a_script_of_any_length_runs() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), "hello");
    let long = format!("{}exit 3\n", "# a comment\n".repeat(20_000));
    assert_eq!(run(&runner, script(&long)).await.exit_code, 3);
    let named = format!("#!/bin/sh\n{long}");
    assert_eq!(run(&runner, script(&named)).await.exit_code, 3);
}

#[tokio::test]
async fn a_script_out_of_time_is_ended_with_all_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), "hello");
    let started = Instant::now();
    let limited = Script { timeout: Some(Duration::from_millis(100)), ..script("sleep 1000 & sleep 1000; echo no") };
    assert_eq!(run(&runner, limited).await.status, Status::TimedOut);
    // The pipes are only closed when the background process is gone too.
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert!(log(dir.path()).contains("timeout of 100ms"));
}

#[tokio::test]
async fn a_script_is_ended_when_the_agent_ends() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), "hello");
    let stop = CancellationToken::new();
    let endless = [script("trap 'echo asked; exit 4' TERM; echo up; while :; do sleep 0.01; done")];
    let running = runner.run_all(&endless, Stage::Start, &stop);
    let ended = async {
        lines_to(&runner, "up").await;
        stop.cancel();
    };
    let (summary, ()) = timeout(LIMIT, futures_util::future::join(running, ended)).await.unwrap();
    assert_eq!(summary, Summary { count: 1, failed: 1, timed_out: 0 });
    assert_eq!(timing(&runner).exit_code, 4);
}

#[tokio::test]
async fn a_background_process_does_not_hold_up_the_boot_and_is_still_heard() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), "hello");
    let gate = dir.path().join("gate");
    let text = format!("(while ! test -e {}; do sleep 0.01; done; echo late) & echo early", gate.display());
    assert_eq!(run(&runner, script(&text)).await.status, Status::PipesLeftOpen);
    fs::write(gate, "").unwrap();
    let lines = lines_to(&runner, "late").await;
    assert_eq!(lines[0].1, "early");
}

#[tokio::test]
async fn scripts_run_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), "hello");
    // Each waits for what the other makes.
    let wait = |mine: &str, other: &str| script(&format!("touch {mine}; while ! test -e {other}; do sleep 0.01; done"));
    let stop = CancellationToken::new();
    let pair = [wait("a", "b"), wait("b", "a")];
    let both = runner.run_all(&pair, Stage::Start, &stop);
    assert_eq!(timeout(LIMIT, both).await.unwrap(), Summary { count: 2, failed: 0, timed_out: 0 });
}

#[tokio::test]
async fn a_log_file_that_cannot_be_opened_does_not_keep_a_script_from_running() {
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(dir.path(), "hello");
    let unlogged = Script { log_path: "/proc/no/such.log".into(), ..script("echo hi") };
    assert_eq!(run(&runner, unlogged).await.status, Status::Ok);
    assert_eq!(lines_to(&runner, "hi").await.len(), 1);
}
