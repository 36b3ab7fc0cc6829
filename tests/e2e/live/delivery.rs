//! A change arrives where it belongs, and nothing else is touched.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::json;

use super::*;

#[test]
fn a_change_reaches_the_next_command_and_the_file_while_the_main_process_goes_on() {
    let (world, first) = with_token();
    let other = world.alice.secret("other", &["--file", "~/other"]);
    let edited = world.alice.secret("edited", &["--file", "~/edited"]);
    let main =
        "printf %s \"$TOKEN\" > ~/at-start; until [ -e ~/stop ]; do sleep 0.02; done; printf %s \"$TOKEN\" > ~/at-end";
    let mut agent = delivered(world.agent().command(["sh", "-c", main]).start());
    assert_eq!(agent.wait_read("at-start"), first);
    fs::write(agent.home().join("edited"), "by hand").unwrap();
    let untouched = fs::metadata(agent.home().join("other")).unwrap();

    let value = change(&world, "new");
    wait_arrived(&agent, &value);
    let after = fs::metadata(agent.home().join("other")).unwrap();
    assert_eq!((after.ino(), after.mtime_nsec()), (untouched.ino(), untouched.mtime_nsec()));
    assert_eq!((agent.read("other"), agent.read("edited")), (other, "by hand".to_owned()));
    assert_ne!(agent.read("edited"), edited);
    wait_reported(&world);
    let status = status(&agent);
    assert_eq!((&status["updates"]["how"], &status["connection"]), (&json!("watching"), &json!("connected")));
    assert!(status["updates"]["since"].is_string());
    let _ = agent.coder(["status"]).run().success().says("Changes     watching since ");

    fs::write(agent.home().join("stop"), "").unwrap();
    assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
    assert_eq!(agent.read("at-end"), first, "what runs keeps what it was started with");
}

#[test]
fn a_deleted_secret_leaves_new_commands_and_its_file_stays() {
    let (world, value) = with_token();
    let agent = ready(&world);
    assert_eq!(exec(&agent), value);
    let _ = world.alice.coder(["secret", "delete", "token", "--yes"]).run().success();
    wait_until("a command without the variable", LONG, || exec(&agent).is_empty());
    assert_eq!(agent.read("token"), value);
    // Whoever keeps an environment, as the user's service manager does, is told to empty the variable.
    let kept = agent.coder(["env", "--format", "systemd"]).run().success();
    assert!(kept.stdout.lines().any(|line| line == "TOKEN=\"\""), "{}", kept.stdout);
    let shell = agent.coder(["env"]).run().success();
    assert!(!shell.stdout.contains("TOKEN"), "{}", shell.stdout);
}

#[test]
fn a_target_that_fails_holds_up_no_other_and_the_server_is_told() {
    let (world, _) = with_token();
    let agent = ready(&world);
    fs::create_dir(agent.home().join("taken")).unwrap();
    world.alice.secret("blocked", &["--file", "~/taken"]);
    let value = change(&world, "new");
    wait_arrived(&agent, &value);
    wait_reported(&world);
    let delivery = world.workspace.show_agent()["delivery"].take();
    let targets = delivery["targets"].as_array().unwrap();
    let failed: Vec<_> = targets.iter().filter(|it| it["delivered"] == false).collect();
    assert_eq!(failed.len(), 1, "{delivery}");
    assert_eq!(failed[0]["name"], agent.home().join("taken").to_str().unwrap());
    let shown = world.env.admin(["workspace", "show", "alice/dev"]).run().success();
    let _ = shown.says("1 targets failed").says("is a directory");
}

#[test]
fn fifty_secrets_of_an_import_are_one_delivery_and_a_description_is_none() {
    let (world, value) = with_token();
    let agent = ready(&world);
    let before = status(&agent)["revision"]["number"].as_u64().unwrap();
    let lines: Vec<_> = (0..40).map(|n| format!("VAR_{n}={}", world.env.canary(&format!("v{n}")))).collect();
    let file = world.env.home().join("import.env");
    fs::write(&file, lines.join("\n")).unwrap();
    let _ = world.alice.coder(["secret", "import"]).arg(file).run().success();
    wait_until("the imported variables", LONG, || {
        agent.coder(["exec", "sh", "-c", "test -n \"$VAR_39\""]).run().exit.code == Some(0)
    });
    assert_eq!(status(&agent)["revision"]["number"], before + 1);
    let _ = world.alice.coder(["secret", "update", "token", "--description", "d"]).run().success();
    set(&world, &value);
    let last = change(&world, "last");
    wait_arrived(&agent, &last);
    assert_eq!(status(&agent)["revision"]["number"], before + 2);
}

#[test]
fn a_change_by_a_command_beside_the_server_arrives_too() {
    let world = World::new();
    let workspace = world.workspace_with(json!({}), &json!([{ "name": "STAGE", "value": "before" }]));
    let agent = delivered(world.agent(&workspace).start());
    let _ = world.workspace_with(json!({}), &json!([{ "name": "STAGE", "value": "after" }]));
    wait_until("the variable of the template", LONG, || {
        agent.coder(["exec", "sh", "-c", "test \"$STAGE\" = after"]).run().exit.code == Some(0)
    });
}

#[test]
fn without_live_delivery_a_change_waits_for_a_reload() {
    let (world, first) = with_token();
    let agent = delivered(world.agent().args(["--live", "off"]).start());
    assert_eq!(status(&agent)["updates"]["how"], "off");
    let value = change(&world, "new");
    // The server has told of it by the time that it tells a second agent.
    let second = ready(&world);
    wait_arrived(&second, &value);
    assert_eq!((exec(&agent), agent.read("token")), (first.clone(), first));
    let _ = agent.coder(["agent", "reload"]).run().success();
    assert_eq!((exec(&agent), agent.read("token")), (value.clone(), value));
}
