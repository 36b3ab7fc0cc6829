//! Signals of the agent with COMMAND: all of them are the main process's.

use std::collections::BTreeSet;
use std::fs;

use nix::sys::signal::Signal::{self, *};
use serde_json::json;
use tests::{Agent, LONG, wait_until};

use super::{World, on_stop, states};

/// What a main process may give a meaning to.
const SIGNALS: [Signal; 13] =
    [SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGURG, SIGIO, SIGPWR, SIGWINCH];

#[track_caller]
fn wait_line(agent: &Agent, file: &str, line: &str) {
    let path = agent.home().join(file);
    let has = || fs::read_to_string(&path).is_ok_and(|text| text.lines().any(|seen| seen == line));
    wait_until(&format!("{line} in {file}"), LONG, has);
}

#[test]
fn each_signal_is_passed_on_and_sigterm_ends_it_in_its_own_way() {
    let world = World::new();
    let workspace = world.workspace(json!({ "scripts": [on_stop("Stop", "echo stopped >> ~/signals")] }));
    let main = "for name in $NAMES; do trap \"echo $name >> ~/signals\" $name; done
        trap 'echo TERM >> ~/signals; exit 42' TERM; echo up >> ~/signals; while :; do sleep 0.02; done";
    let names = SIGNALS.map(|signal| signal.as_str().trim_start_matches("SIG")).join(" ");
    let mut agent = world.agent(&workspace).env("NAMES", names).command(["sh", "-c", main]).start();
    wait_line(&agent, "signals", "up");
    for signal in SIGNALS {
        agent.signal(signal);
        wait_line(&agent, "signals", signal.as_str().trim_start_matches("SIG"));
    }
    agent.signal(SIGTERM);
    assert_eq!(agent.exit().code, Some(42), "{}", agent.stderr());
    let seen = agent.read("signals");
    assert!(seen.ends_with("TERM\nstopped\n"), "{seen}");
    // Each once.
    assert_eq!(seen.lines().count(), seen.lines().collect::<BTreeSet<_>>().len(), "{seen}");
    assert_eq!(seen.lines().count(), SIGNALS.len() + 3);
    assert_eq!(states(&workspace).last().map(String::as_str), Some("off"));
}

#[test]
fn a_main_process_that_a_signal_ends_gives_128_and_the_signal() {
    let world = World::new();
    let workspace = world.workspace(json!({}));
    for signal in [SIGTERM, SIGINT, SIGHUP, SIGUSR1] {
        let mut agent = world.agent(&workspace).command(["sh", "-c", "touch ~/up; exec sleep 1000"]).start();
        agent.wait_read("up");
        // `sleep` has no handlers, once it is there.
        agent.signal(signal);
        assert_eq!(agent.exit().code, Some(128 + signal as i32), "{signal}: {}", agent.stderr());
    }
}

/// With COMMAND there is no signal left for the agent: SIGHUP does not fetch.
#[test]
fn sighup_is_the_main_processs_and_fetches_nothing() {
    let world = World::new();
    world.alice.secret("key", &["--file", "~/key"]);
    let workspace = world.workspace(json!({}));
    let main = "trap 'echo HUP >> ~/signals' HUP; echo up >> ~/signals; while [ ! -e ~/stop ]; do sleep 0.02; done";
    let mut agent = world.agent(&workspace).command(["sh", "-c", main]).start();
    wait_line(&agent, "signals", "up");
    agent.signal(SIGHUP);
    wait_line(&agent, "signals", "HUP");
    fs::write(agent.home().join("stop"), "").unwrap();
    assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
    assert_eq!(super::deliveries(&agent), 1);
}
