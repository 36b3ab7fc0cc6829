//! What became of delivered files since, as `coder status` shows it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::{Value, json};
use tests::Agent;

use super::World;

fn targets(agent: &Agent) -> Vec<Value> {
    let status = agent.coder(["status", "-o", "json"]).run();
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    status["targets"].as_array().unwrap().clone()
}

#[test]
fn status_shows_what_was_done_to_files_since_they_were_delivered() {
    let world = World::new();
    let names = ["chmodded", "edited", "gone", "linked", "replaced", "same"];
    for name in names {
        world.alice.secret(name, &["--file", &format!("~/{name}")]);
    }
    let workspace = world.workspace(json!({}));
    let mut agent = world.agent(&workspace).start();
    workspace.wait_lifecycle("ready");
    assert!(targets(&agent).iter().all(|target| target["drift"].is_null()), "{:?}", targets(&agent));

    let path = |name: &str| agent.home().join(name);
    fs::set_permissions(path("chmodded"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path("edited"), "by hand").unwrap();
    fs::remove_file(path("gone")).unwrap();
    fs::remove_file(path("linked")).unwrap();
    symlink("nowhere", path("linked")).unwrap();
    fs::write(path("new"), "by an editor").unwrap();
    fs::rename(path("new"), path("replaced")).unwrap();
    let seen: Vec<_> = targets(&agent).iter().map(|target| target["drift"].clone()).collect();
    let drift = |kind: &str, detail: &str| json!({ "kind": kind, "detail": detail });
    let expected = [
        drift("chmodded", "chmodded from 0600 to 0644"),
        drift("edited", "edited"),
        drift("gone", "gone"),
        drift("gone", "gone"),
        drift("replaced", "replaced by another file"),
        Value::Null,
    ];
    assert_eq!(seen, expected);
    // A file that is gone is no workspace to rely on.
    let table = agent.coder(["status"]).run().exits(1);
    let _ = table.says("created; since then: chmodded from 0600 to 0644").says("created; since then: gone");

    // A reload leaves what the user did, and goes on to tell; only what is gone is written again.
    let _ = agent.coder(["agent", "reload"]).run().success();
    let seen: Vec<_> = targets(&agent).iter().map(|target| target["drift"].clone()).collect();
    let [chmodded, edited, _, _, replaced, same] = expected;
    assert_eq!(seen, [chmodded, edited, Value::Null, Value::Null, replaced, same]);
    assert!(agent.home().join("gone").is_file() && agent.home().join("nowhere").is_file());
    let _ = agent.coder(["status"]).run().success().says("delivered before, and left as it is; since then: edited");
    assert_eq!(agent.read("edited"), "by hand");
    // The next start delivers everything again.
    let home = agent.home().to_owned();
    agent.terminate();
    fs::remove_file(home.join("linked")).unwrap();
    let agent = world.agent(&workspace).home(&home).start().listening();
    let _ = agent.coder(["exec", "--wait", "1m", "true"]).run().success();
    assert!(targets(&agent).iter().all(|target| target["drift"].is_null()), "{:?}", targets(&agent));
}
