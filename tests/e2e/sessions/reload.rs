//! `agent reload` and `status`.

use tests::{LONG, wait_until};

use super::*;

#[test]
fn a_reload_brings_new_values_and_takes_deleted_ones_without_a_restart() {
    let world = World::with(DEV);
    let agent = world.agent().args(["--live", "off"]).start().listening();
    let _ = agent.coder(["exec", "--wait", "60s", "true"]).run().success();
    let mut running = agent.coder(["exec", "sh", "-c", "echo up; sleep 1000"]).spawn("before");
    let _ = running.line_with("up", LONG);

    let value = world.alice.secret("api-key", &["--env", "API_KEY"]);
    expect(&world, &value);
    let _ = agent.coder(["agent", "reload"]).run().success().complains("delivered 1 variable and 0 files");
    let _ = agent.coder(["exec", "sh", "-c", COMPARE]).run().success();

    let changed = world.env.canary("changed");
    let _ = world.alice.coder(["secret", "update", "api-key"]).stdin(&changed).run().success();
    expect(&world, &changed);
    let _ = agent.coder(["agent", "reload"]).run().success();
    let _ = agent.coder(["exec", "sh", "-c", COMPARE]).run().success();

    let _ = world.alice.coder(["secret", "delete", "api-key", "--yes"]).run().success();
    let _ = agent.coder(["agent", "reload", "--wait", "1m"]).run().success().complains("delivered 0 variables");
    let _ = agent.coder(["exec", "sh", "-c", "test -z \"${API_KEY+set}\""]).run().success();
    assert_eq!(running.try_exit(), None, "what runs is left alone");
    let status = agent.coder(["status", "--output", "json"]).run().success().json();
    assert_eq!(status["revision"]["number"], 4);
}

#[test]
fn a_reload_without_a_server_fails_and_changes_nothing() {
    let world = with_key();
    let proxy = Proxy::new(&world.server);
    let agent = world.env.agent(&proxy, &world.workspace).start().listening();
    let _ = agent.coder(["exec", "--wait", "1m", "true"]).run().success();
    proxy.set(Fault::Refuse);
    proxy.cut();
    wait_until("the loss of the connection", LONG, || {
        agent.coder(["status", "-o", "json"]).run().json()["connection"] != "connected"
    });
    let _ = agent.coder(["agent", "reload"]).run().exits(1).complains("nothing can be fetched now: ");
    let _ = agent.coder(["exec", "sh", "-c", COMPARE]).run().success();
}

#[test]
fn the_status_names_targets_scripts_and_problems_and_no_value() {
    let world = World::with(
        "owner: alice\nname: dev\nagent:\n  name: main\n  scripts:\n    - { display_name: Good, script: 'true', run_on_start: true }\n    - { display_name: Bad, script: exit 3, run_on_start: true }\n",
    );
    world.alice.secret("api-key", &["--env", "API_KEY"]);
    world.alice.secret("token", &["--env", "TOKEN", "--file", "~/.config/token"]);
    let agent = ready(&world);
    world.workspace.wait_lifecycle("start_error");
    let status = agent.coder(["status", "-o", "json"]).run().success().json();
    let file = agent.home().join(".config/token");
    assert_eq!(
        status["targets"],
        serde_json::json!([
            { "kind": "env", "name": "API_KEY", "delivered": true, "outcome": "set" },
            { "kind": "env", "name": "TOKEN", "delivered": true, "outcome": "set" },
            { "kind": "file", "name": file, "delivered": true, "outcome": "created" },
        ])
    );
    assert_eq!(
        status["scripts"],
        serde_json::json!([
            { "name": "Good", "state": "ok", "exit_code": 0 },
            { "name": "Bad", "state": "exit failure", "exit_code": 3 },
        ])
    );
    assert_eq!((&status["workspace"], &status["agent"]), (&"alice/dev".into(), &"main".into()));
    assert_eq!((&status["connection"], &status["pid"]), (&"connected".into(), &agent.pid().into()));
    let _ = agent.coder(["status"]).run().success().says("env     API_KEY").says("Bad     exit failure  3");

    std::fs::create_dir(agent.home().join("taken")).unwrap();
    world.alice.secret("blocked", &["--file", "~/taken"]);
    let _ = agent.coder(["agent", "reload"]).run().exits(1).complains("1 problem");
    let _ = agent.coder(["status"]).run().exits(1).says("taken").says("is a directory");
}
