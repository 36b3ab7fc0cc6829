//! The directory that the template names.

use serde_json::json;
use tests::{LONG, World, wait_until};

use super::wait_startup_log;

fn with_script(script: &str) -> World {
    World::with(&format!(
        "owner: alice\nname: dev\nagent:\n  name: main\n  dir: ~/proj\n  scripts: [{{ display_name: S, run_on_start: true, script: {script:?} }}]\n"
    ))
}

#[test]
fn one_that_is_missing_is_told_once_everywhere_and_found_when_it_is_there() {
    let world = with_script("pwd > ~/started-in");
    let mut agent = world.agent().start().listening();
    let problem = format!(
        "cannot enter the workspace's directory {home}/proj: No such file or directory (os error 2); scripts and sessions start in {home}",
        home = agent.home().display()
    );
    let lines = wait_startup_log(&world.workspace, &problem);
    assert_eq!(lines.iter().filter(|line| line.contains("cannot enter")).count(), 1, "{lines:?}");
    let line = agent.line_with(&problem, LONG);
    assert!(line.contains("WARN"), "{line}");
    assert_eq!(agent.read("started-in"), format!("{}\n", agent.home().display()));
    let row = json!({ "kind": "dir", "name": "~/proj", "delivered": false, "outcome": problem });
    let status = agent.coder(["status", "-o", "json"]).run().exits(1).json();
    assert_eq!(status["targets"], json!([row]));
    let _ = agent.coder(["status"]).run().exits(1).says("dir     ~/proj");

    // Also what is no directory.
    std::fs::write(agent.home().join("proj"), "").unwrap();
    let _ = agent.coder(["status"]).run().exits(1).says("not a directory");
    std::fs::remove_file(agent.home().join("proj")).unwrap();
    std::fs::create_dir(agent.home().join("proj")).unwrap();
    let _ = agent.coder(["status"]).run().success();
    let session = agent.coder(["session"]).env("SSH_ORIGINAL_COMMAND", "pwd").run().success();
    assert_eq!(session.stdout, format!("{}/proj\n", agent.home().display()));
}

#[test]
fn one_that_a_startup_script_makes_is_no_news() {
    let world = with_script("mkdir ~/proj && touch ~/made");
    let agent = world.agent().start().listening();
    world.workspace.wait_lifecycle("ready");
    wait_until("the directory", LONG, || agent.home().join("made").exists());
    let _ = agent.coder(["status"]).run().success();
    assert!(!agent.stderr().contains("cannot enter"), "{}", agent.stderr());
}
