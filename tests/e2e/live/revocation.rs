//! The kill switch.

use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::peers::client::{Client, GO};

fn revoke(world: &World) {
    let reason = ["workspace", "revoke", "alice/dev", "--reason", "laptop lost"];
    let _ = world.env.admin(reason).run().success().says("Revoked workspace alice/dev.");
}

fn restore(world: &World) {
    let _ =
        world.env.admin(["workspace", "restore", "alice/dev"]).run().success().says("Restored workspace alice/dev.");
}

#[track_caller]
fn wait_confirmed(world: &World) -> Value {
    wait_until("the confirmation", LONG, || {
        let delivery = world.workspace.show_agent()["delivery"].take();
        delivery["revoked"] == true && delivery["current"] == true
    });
    world.workspace.show_agent()["delivery"].take()
}

#[test]
fn it_takes_away_what_was_delivered_and_confirms_it_and_gives_it_back() {
    let (world, value) = with_token();
    world.alice.secret("edited", &["--file", "~/edited"]);
    let agent = ready(&world);
    fs::write(agent.home().join("edited"), "by hand").unwrap();
    assert_eq!(exec(&agent), value);
    revoke(&world);
    let delivery = wait_confirmed(&world);
    assert_eq!(exec(&agent), "");
    assert!(!agent.home().join("token").exists());
    assert_eq!(agent.read("edited"), "by hand", "what the user has made of it stays");
    let stale = |name: &str| {
        let path = agent.home().join(name);
        let targets = delivery["targets"].as_array().unwrap().iter();
        targets
            .filter(|it| it["kind"] == "stale" && it["name"] == path.to_str().unwrap())
            .map(|it| it["outcome"].clone())
            .next()
    };
    assert_eq!((stale("token"), stale("edited")), (Some(json!("removed")), Some(json!("left: edited"))));
    let shown = world.env.admin(["workspace", "show", "alice/dev"]).run().success();
    let _ =
        shown.says(": laptop lost").says("revocation confirmed ").says("1 files deleted").says("edited left: edited");
    let _ = agent.coder(["status"]).run().exits(1).says("degraded: an administrator has revoked this workspace");
    // Sessions are open, without secrets.
    let _ = agent.coder(["exec", "true"]).run().success();

    let audit = world.env.admin(["audit", "--json"]).run().success().json();
    let told = audit.to_string();
    assert!(
        told.contains("\"revoke\"") && told.contains("\"confirm_revocation\"") && told.contains("laptop lost"),
        "{told}"
    );

    restore(&world);
    wait_arrived(&agent, &value);
    let _ = world.env.admin(["workspace", "restore", "alice/dev"]).run().success().says("not revoked");
}

#[test]
fn an_agent_that_was_away_learns_of_it_before_anything_else() {
    let (world, value) = with_token();
    let home = world.env.new_home("homes/prepared");
    let mut first = world.agent().home(&home).command(["true"]).start();
    assert_eq!(first.exit().code, Some(0), "{}", first.stderr());
    assert_eq!(fs::read_to_string(home.join("token")).unwrap(), value);
    revoke(&world);
    let shown = world.env.admin(["workspace", "show", "alice/dev"]).run().success();
    let _ = shown.says("revocation pending: the agent is away");

    let script = json!({ "display_name": "Start", "run_on_start": true, "script": "touch ~/ran" });
    let _ = world.env.workspace(
        &json!({ "owner": "alice", "name": "dev", "agent": { "name": "main", "scripts": [script] } }).to_string(),
    );
    let agent = delivered(world.agent().home(&home).start());
    let _ = wait_confirmed(&world);
    assert_eq!(exec(&agent), "");
    assert!(!home.join("token").exists() && !home.join("ran").exists(), "no file, and no script has run");
    restore(&world);
    wait_arrived(&agent, &value);
    assert_eq!(agent.wait_read("ran"), "");
}

#[test]
fn a_main_process_runs_without_secrets() {
    let (world, _) = with_token();
    revoke(&world);
    let mut agent = world.agent().command(["sh", "-c", "printf '<%s>' \"$TOKEN\" > ~/saw"]).start();
    assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
    assert_eq!(agent.read("saw"), "<>");
}

#[test]
fn a_coder_agent_is_shut_out() {
    let (world, value) = with_token();
    let coder = Client::dial(&world.server, world.workspace.token());
    assert_eq!(coder.secrets()[0].2, value);
    revoke(&world);
    wait_until("the end of the session", LONG, || !coder.is_open());
    let refused =
        Client::try_dial(&world.server, GO, &[("Coder-Session-Token", world.workspace.token())]).err().unwrap();
    assert_eq!((refused.status, &refused.body["message"]), (401, &json!("This workspace is revoked.")));
    let shown = world.env.admin(["workspace", "show", "alice/dev"]).run().success();
    let _ = shown.says("revocation cannot be confirmed");
    restore(&world);
    assert_eq!(Client::dial(&world.server, world.workspace.token()).secrets()[0].2, value);
}
