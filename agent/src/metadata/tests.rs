use tokio::time::timeout;

use super::*;
use crate::report::{Reading, Reporter};
use crate::scripts::Runner;
use crate::scripts::tests::runner;

/// Only ends a test that hangs.
const LIMIT: Duration = Duration::from_secs(30);

fn item(key: &str, script: &str) -> Metadata {
    let (key, script) = (key.to_owned(), script.to_owned());
    Metadata { display_name: key.clone(), key, script, interval: None, timeout: Some(LIMIT) }
}

async fn read(script: &str) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let reading = collect::collect(&runner(dir.path(), "hello"), &item("a", script)).await;
    (reading.value, reading.error)
}

#[tokio::test]
async fn a_value_is_both_streams_in_order_with_the_environment_and_masked() {
    let (value, error) = read("echo \"$GREETING\"; echo problem >&2; echo masked-value; pwd").await;
    assert_eq!(error, "");
    let lines: Vec<_> = value.lines().collect();
    assert_eq!(lines[..2], ["hello", "problem"]);
    assert!(!value.contains("masked-value") && lines.len() == 4, "{value}");
}

#[tokio::test]
async fn what_went_wrong_is_said_beside_what_was_printed() {
    for (script, value, error) in [
        ("echo half; exit 3", "half\n", "exit code 3"),
        ("echo half; kill -KILL $$", "half\n", "ended by signal 9"),
        ("#!/nonexistent/interpreter\n", "", "cannot run /nonexistent/interpreter"),
    ] {
        let read = read(script).await;
        assert_eq!(read.0, value, "{script}");
        assert!(read.1.starts_with(error), "{}", read.1);
    }
}

#[tokio::test]
async fn long_output_is_cut_after_it_was_masked() {
    // The value lies across the cut: half of it must not stay.
    let script = "head -c 10235 /dev/zero | tr '\\0' x; printf masked-value; head -c 100000 /dev/zero | tr '\\0' y";
    let (value, error) = read(script).await;
    assert_eq!((value.len(), error.as_str()), (10 * 1024, "output of 110247 bytes, cut to 10240"));
    assert_eq!(value.trim_start_matches('x'), "*****");
}

#[tokio::test]
async fn a_script_out_of_time_is_killed_with_all_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let slow = "sleep 1000 & echo $$; wait";
    let limited = Metadata { timeout: Some(Duration::from_millis(300)), ..item("a", slow) };
    let reading = collect::collect(&runner(dir.path(), ""), &limited).await;
    assert_eq!(reading.error, "not done within 300ms");
    let group: i32 = reading.value.trim().parse().unwrap();
    let gone = async {
        while nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group), None).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, gone).await.unwrap();
}

#[tokio::test]
async fn a_process_left_behind_does_not_hold_up_the_value() {
    let (value, error) = read("sleep 5 & echo up").await;
    assert_eq!((value.as_str(), error.as_str()), ("up\n", ""));
}

/// The next reading of each key, as the server would get it.
async fn next(reporter: &Reporter) -> Vec<Reading> {
    let readings = timeout(LIMIT, reporter.next_readings()).await.expect("a reading");
    reporter.readings_done(&readings);
    readings
}

#[tokio::test]
async fn items_have_their_own_rhythm_which_a_new_delivery_does_not_disturb() {
    let dir = tempfile::tempdir().unwrap();
    let reporter = Reporter::default();
    let often = |key| Metadata { interval: Some(Duration::from_millis(20)), ..item(key, "echo \"$GREETING\"") };
    let once = item("once", "echo x >> once; echo done");
    let recurring = |greeting, metadata: &[Metadata]| {
        let runner = Arc::new(Runner { reporter: reporter.clone(), ..runner(dir.path(), greeting) });
        Some(Recurring { runner, scripts: Arc::default(), metadata: metadata.into() })
    };
    let sender = watch::Sender::new(None);
    let collecting = AbortOnDropHandle::new(tokio::spawn(run(sender.subscribe())));
    sender.send_replace(recurring("first", &[once.clone(), often("often"), often("gone")]));
    let mut seen = Vec::new();
    while !["once", "often", "gone"].iter().all(|key| seen.iter().any(|reading: &Reading| reading.key == *key)) {
        seen.extend(next(&reporter).await);
    }

    sender.send_replace(recurring("second", &[once, often("often")]));
    let mut latest = Vec::new();
    while !latest.iter().any(|reading: &Reading| reading.value == "second\n") {
        latest = next(&reporter).await;
    }
    for _ in 0..3 {
        let readings = next(&reporter).await;
        assert!(readings.iter().all(|it| it.key == "often" && it.value == "second\n"), "{readings:?}");
    }
    drop(collecting);
    assert_eq!(std::fs::read_to_string(dir.path().join("once")).unwrap(), "x\n");
}
