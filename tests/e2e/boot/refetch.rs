//! What changes while a workspace runs without live delivery: SIGHUP, a connection that comes back, an agent that is killed.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::{Agent, Proxy};

use super::{World, deliveries, names, on_start, on_stop, snapshot, states, wait_deliveries};

#[track_caller]
fn reload(agent: &Agent) {
    let count = deliveries(agent);
    agent.signal(Signal::SIGHUP);
    wait_deliveries(agent, count + 1);
}

#[test]
fn sighup_brings_new_values_and_keeps_edits_of_secrets_that_did_not_change() {
    let world = World::new();
    world.alice.secret("changed", &["--file", "~/changed"]);
    world.alice.secret("edited", &["--file", "~/edited"]);
    world.alice.secret("removed", &["--file", "~/removed"]);
    world.alice.secret("moved", &["--file", "~/before"]);
    let deleted = world.alice.secret("deleted", &["--file", "~/deleted"]);
    let workspace = world.workspace(json!({ "scripts": [on_start("Start", "echo run >> ~/runs")] }));
    let mut agent = world.agent(&workspace).args(["--live", "off"]).start();
    workspace.wait_lifecycle("ready");

    let new = world.env.canary("new");
    let _ = world.alice.coder(["secret", "update", "changed"]).stdin(&new).run().success();
    let _ = world.alice.coder(["secret", "update", "moved", "--file", "~/after"]).run().success();
    let _ = world.alice.coder(["secret", "delete", "deleted", "--yes"]).run().success();
    let added = world.alice.secret("added", &["--file", "~/dir/added"]);
    fs::write(agent.home().join("edited"), "by hand").unwrap();
    fs::write(agent.home().join("changed"), "by hand too").unwrap();
    fs::remove_file(agent.home().join("removed")).unwrap();
    reload(&agent);
    assert_eq!((agent.read("changed"), agent.read("dir/added")), (new, added));
    // Until the next boot a user's edit is a user's decision. Who asks for a reload wants what is gone.
    assert_eq!(agent.read("edited"), "by hand");
    assert!(agent.home().join("removed").is_file());
    // What is deleted or goes elsewhere leaves its file.
    assert_eq!((agent.read("deleted"), agent.read("before")), (deleted, agent.read("after")));
    let before = snapshot(agent.home());
    reload(&agent);
    assert_eq!(snapshot(agent.home()), before);

    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(agent.read("runs"), "run\n");
    assert_eq!(states(&workspace), ["starting", "ready", "shutting_down", "off"]);
}

/// A new environment is for what starts from then on: here for the stop script.
#[test]
fn variables_change_for_what_starts_later() {
    let world = World::new();
    let stop = on_stop("Keep", "printf '<%s> <%s> <%s>' \"$STAGE\" \"$CHANGED\" \"$DELETED\" > ~/saw");
    let apply = |stage: &str| {
        let env = json!([{ "name": "STAGE", "value": stage }]);
        world.workspace_with(json!({ "scripts": [stop] }), &env)
    };
    world.alice.secret("changed", &["--env", "CHANGED"]);
    world.alice.secret("deleted", &["--env", "DELETED"]);
    let workspace = apply("before");
    let mut agent = world.agent(&workspace).args(["--live", "off"]).start();
    workspace.wait_lifecycle("ready");

    // The agent and its token stay the same.
    assert_eq!(apply("after").token(), "");
    let new = world.env.canary("new");
    let _ = world.alice.coder(["secret", "update", "changed"]).stdin(&new).run().success();
    let _ = world.alice.coder(["secret", "delete", "deleted", "--yes"]).run().success();
    reload(&agent);
    assert_eq!(agent.terminate().code, Some(0), "{}", agent.stderr());
    assert_eq!(agent.read("saw"), format!("<after> <{new}> <>"));
}

#[test]
fn a_connection_that_comes_back_brings_new_values_and_leaves_the_main_process_alone() {
    let world = World::new();
    let key = world.alice.secret("key", &["--env", "KEY", "--file", "~/key"]);
    let workspace = world.workspace(json!({ "scripts": [on_start("Start", "echo run >> ~/runs")] }));
    let proxy = Proxy::new(world.server.url());
    let main = "echo start >> ~/starts; while [ ! -e ~/stop ]; do sleep 0.02; done; printf %s \"$KEY\" > ~/saw; exit 5";
    let mut agent = world.env.agent(&proxy, &workspace).args(["--live", "off"]).command(["sh", "-c", main]).start();
    agent.wait_read("starts");
    workspace.wait_lifecycle("ready");

    let new = world.env.canary("new");
    let _ = world.alice.coder(["secret", "update", "key"]).stdin(&new).run().success();
    proxy.cut();
    wait_deliveries(&agent, 2);
    assert_eq!(agent.read("key"), new);
    fs::write(agent.home().join("stop"), "").unwrap();
    assert_eq!(agent.exit().code, Some(5), "{}", agent.stderr());
    assert_eq!((agent.read("starts").as_str(), agent.read("runs").as_str()), ("start\n", "run\n"));
    assert_eq!(agent.read("saw"), key);
    assert_eq!(states(&workspace), ["starting", "ready", "shutting_down", "off"]);
}

/// The server is another process on another day; scripts that run report their end to it.
#[test]
fn a_server_that_is_restarted_hears_what_happened_meanwhile() {
    let world = World::new();
    let address = world.server.address().to_owned();
    let workspace = world.workspace(json!({ "scripts": [
        on_start("Start", "touch ~/up; until [ -e ~/go ]; do sleep 0.02; done; echo while it was away; touch ~/done"),
    ] }));
    let World { env, mut server, alice, workspace: () } = world;
    let mut agent = env.agent(&server, &workspace).start();
    agent.wait_read("up");
    super::wait_deliveries(&agent, 1);
    server.kill();
    fs::write(agent.home().join("go"), "").unwrap();
    agent.wait_read("done");
    let _server = env.server_with(["--listen", &address]);
    workspace.wait_lifecycle("ready");
    super::wait_log(&workspace, "Start: while it was away");
    assert_eq!(super::result(&workspace, "Start"), "ok 0");
    assert_eq!(agent.terminate().code, Some(0));
    drop(alice);
}

/// Killed at any time, and started again: the same files, and nothing left over.
#[test]
fn an_agent_that_is_killed_converges_when_it_is_started_again() {
    let world = World::new();
    let largest = world.env.canary("large").repeat(1000)[..20_000].to_owned();
    let values: Vec<_> = (0..6)
        .map(|n| {
            let value = format!("{n} {largest}");
            world.alice.secret_with(&format!("s{n}"), &value, &["--file", &format!("~/dir{n}/secret")]);
            value
        })
        .collect();
    let workspace = world.workspace(json!({ "scripts": [on_start("Start", "echo run > ~/runs")] }));
    let home = world.home();
    let link = home.join("elsewhere");
    fs::create_dir(home.join("dir5")).unwrap();
    fs::write(&link, "x".repeat(30_000)).unwrap();
    // Written in place, so a kill may tear it; the next start completes it.
    fs::hard_link(&link, home.join("dir5/secret")).unwrap();
    for milestone in ["agent starts", "connected to", "lifecycle", "main process started"] {
        let mut agent = world.agent(&workspace).home(&home).command(["sleep", "10"]).start();
        agent.line_with(milestone, tests::LONG);
        agent.kill();
    }
    let agent = world.boot_in(&workspace, &home);
    for (n, value) in values.iter().enumerate() {
        assert!(agent.read(&format!("dir{n}/secret")) == *value, "{n}");
    }
    assert!(agent.read("elsewhere") == values[5]);
    assert_eq!(agent.read("runs"), "run\n");
    let mut expected: Vec<_> = (0..6).flat_map(|n| [format!("dir{n}"), format!("dir{n}/secret")]).collect();
    expected.extend(["elsewhere".into(), "runs".into()]);
    assert_eq!(names(&home), expected);
}
