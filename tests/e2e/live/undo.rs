//! A wrong value is everywhere within milliseconds, and so is the one before it.

use serde_json::json;

use super::*;

#[test]
fn a_rollback_is_a_change_like_any_other() {
    let (world, first) = with_token();
    let agent = ready(&world);
    let second = change(&world, "second");
    wait_arrived(&agent, &second);
    let _ = world.alice.coder(["secret", "rollback", "token"]).run().success().says("Rolled back secret token");
    wait_arrived(&agent, &first);
    // And back again: the value that was rolled back is the former one now.
    let _ = world.alice.coder(["secret", "rollback", "token", "--to", "2"]).run().success().says("to value 2");
    wait_arrived(&agent, &second);

    let history = world.alice.coder(["secret", "history", "token", "-o", "json"]).run().success().json();
    let numbers: Vec<_> = history.as_array().unwrap().iter().map(|it| it["number"].as_i64().unwrap()).collect();
    assert_eq!(numbers, [4, 3, 2, 1]);
    let public = world.env.admin(["token", "list", "--json"]).run().success().json()[0]["id"].clone();
    assert!(history.as_array().unwrap().iter().all(|it| it["token_id"] == public), "{history}");
    assert_eq!(history[0]["replaced_at"], json!(null));
    let shown = world.alice.coder(["secret", "history", "token"]).run().success();
    let _ = shown.says("VALUE  STORED").says("current");
}

#[test]
fn former_values_are_few_and_forgotten_when_asked() {
    let (world, _) = with_token();
    let numbers = || {
        let history = world.alice.coder(["secret", "history", "token", "-o", "json"]).run().success().json();
        history.as_array().unwrap().iter().map(|it| it["number"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    let mut value = String::new();
    for n in 0..7 {
        value = change(&world, &format!("value {n}"));
    }
    set(&world, &value);
    assert_eq!(numbers(), [8, 7, 6, 5, 4, 3], "the same value again is none");
    let refused = world.alice.coder(["secret", "rollback", "token", "--to", "2"]).run().exits(1);
    let _ = refused.complains("There is no former value 2 of this secret");
    let _ = world.alice.coder(["secret", "update", "token", "--forget-old"]).run().success();
    assert_eq!(numbers(), [8]);
    let _ = world.alice.coder(["secret", "rollback", "token"]).run().exits(1).complains("no former value");
}

#[test]
fn a_server_can_be_told_to_keep_none() {
    let world = World::builder().server(["--keep-versions", "0"]).with(DEV);
    world.alice.secret("token", &["--env", "TOKEN"]);
    let _ = change(&world, "second");
    let _ = world.alice.coder(["secret", "rollback", "token"]).run().exits(1).complains("no former value");
}
