//! What a main process leaves running, where the agent is not process 1.

use serde_json::json;
use tests::LONG;

use super::{World, on_stop};

/// Forgotten by the shell that started them: one ends when asked, one must be killed, and its child with it.
const DAEMONS: &str = "
    setsid sh -c 'trap \"echo asked > ~/asked; exit\" TERM; echo $$ > ~/polite; while :; do sleep 0.02; done' &
    setsid sh -c 'trap \"\" TERM; sh -c \"echo \\$\\$ > ~/child; exec sleep 1000\" & echo $$ > ~/stubborn; wait' &
    while ! test -s ~/polite || ! test -s ~/stubborn || ! test -s ~/child; do sleep 0.02; done";

fn runs(pid: &str) -> bool {
    std::path::Path::new("/proc").join(pid.trim()).exists()
}

#[test]
fn it_ends_with_the_main_process_and_nothing_else_does() {
    let world = World::new();
    let still_runs = "kill -0 $(cat ~/polite) && touch ~/ran-until-stopped";
    let workspace = world.workspace(json!({ "scripts": [on_stop("Look", still_runs)] }));
    let go = world.env.path("work/go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!("{DAEMONS}; read -r line < {}; exit 5", go.display());
    let mut agent = world.agent(&workspace).command(["sh", "-c", &script]).start().listening();
    let _ = agent.wait_read("child");
    let mut exec = agent.coder(["exec", "sh", "-c", "echo up; exec sleep 1000"]).spawn("exec");
    let _ = exec.line_with("up", LONG);
    let mut stranger = world.env.program("/bin/sleep").arg("1000").spawn("stranger");

    std::fs::write(&go, "go\n").unwrap();
    assert_eq!(agent.exit().code, Some(5), "{}", agent.stderr());
    assert_eq!(agent.read("asked"), "asked\n");
    assert!(agent.home().join("ran-until-stopped").exists(), "ended before the stop scripts");
    for daemon in ["polite", "stubborn", "child"] {
        assert!(!runs(&agent.read(daemon)), "{daemon}");
    }
    assert_eq!((exec.try_exit(), stranger.try_exit()), (None, None), "ended a process that is not ours");
    workspace.wait_lifecycle("off");
}

#[test]
fn its_orphans_are_reaped_as_they_end() {
    let world = World::new();
    let workspace = world.workspace(json!({}));
    let script = "
        setsid sh -c 'sleep 1000 & echo $! > ~/orphan'
        until grep -q \"^PPid:[[:space:]]*$PPID$\" /proc/$(cat ~/orphan)/status; do sleep 0.02; done
        for i in $(seq 30); do setsid sh -c 'sleep 0.01 &'; done
        while grep -l \"^PPid:[[:space:]]*$PPID$\" /proc/[0-9]*/status 2>/dev/null | xargs grep -l '^State:.Z' 2>/dev/null |
            grep -q .; do sleep 0.02; done
        exit 5";
    let mut agent = world.agent(&workspace).command(["sh", "-c", script]).start();
    assert_eq!(agent.exit().code, Some(5), "{}", agent.stderr());
    assert!(!runs(&agent.read("orphan")));
}
