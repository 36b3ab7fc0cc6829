//! What the server keeps. The hunt at the end of each test is half of it.

use tests::{Env, Need, is_about_the_file, requires};

use crate::peers::client::Client;

#[test]
fn values_and_tokens_are_in_no_file_of_the_server() {
    let env = Env::new();
    let mut server = env.server();
    let alice = env.user("alice");
    let first = alice.secret("api-key", &["--env", "API_KEY"]);
    alice.secret("config", &["--file", "~/.config/tool.json"]);
    let second = env.canary("second value");
    assert_ne!(first, second);
    let _ = alice.coder(["secret", "update", "api-key"]).stdin(&second).run().success();
    let _ = alice.coder(["secret", "list"]).run().success().says("api-key").says("~/.config/tool.json");
    let _ = alice.coder(["secret", "delete", "config", "--yes"]).run().success();
    // While the write-ahead log still has everything, then after the checkpoint of an orderly stop.
    env.hunt();
    assert_eq!(server.terminate().code, Some(0), "{}", server.stderr());
}

#[test]
fn an_acknowledged_write_survives_sigkill() {
    let env = Env::new();
    let mut server = env.server();
    let alice = env.user("alice");
    for number in 0..5 {
        let name = format!("secret-{number}");
        alice.secret(&name, &["--env", &format!("SECRET_{number}")]);
        server.kill();
        server = env.server();
        let _ = alice.coder(["secret", "list", &name]).run().success().says(&name);
    }
    drop(server);
}

/// By hand, as somebody would who can write the database and has no key.
#[test]
fn a_value_in_a_row_that_is_not_its_own_is_not_delivered_and_the_others_are() {
    let name = "a_value_in_a_row_that_is_not_its_own_is_not_delivered_and_the_others_are";
    if !requires(name, &[Need::SqlClient]) {
        return;
    }
    let env = Env::new();
    let mut server = env.server();
    let (alice, bob) = (env.user("alice"), env.user("bob"));
    let kept = alice.secret("kept", &["--env", "KEPT"]);
    for (user, secret) in [(&alice, "first"), (&alice, "second"), (&alice, "third"), (&bob, "bobs")] {
        user.secret(secret, &["--env", &secret.to_uppercase()]);
    }
    let workspace =
        env.workspace("owner: alice\nname: dev\nagent: { name: main, env: { T: \"a value of the template\" } }\n");
    assert_eq!(server.terminate().code, Some(0));
    let value = |name: &str| format!("(SELECT value FROM user_secrets WHERE name = '{name}')");
    env.sql(&format!(
        "CREATE TEMP TABLE old AS SELECT name, value FROM user_secrets;
         UPDATE user_secrets SET value = (SELECT value FROM old WHERE name = 'second') WHERE name = 'first';
         UPDATE user_secrets SET value = (SELECT value FROM old WHERE name = 'first') WHERE name = 'second';
         UPDATE user_secrets SET value = {} WHERE name = 'third';",
        value("bobs")
    ));
    let server = env.server();
    let delivered = Client::dial(&server, workspace.token()).secrets();
    assert_eq!(delivered, [("KEPT".to_owned(), String::new(), kept)]);
    let log = workspace.show_agent()["startup_log"].to_string();
    for name in ["first", "second", "third"] {
        assert!(log.contains(&format!("secret {name} was not delivered")), "{log}");
    }
    // Its owner mends it by giving the value again.
    let again = env.canary("again");
    let _ = alice.coder(["secret", "update", "first"]).stdin(&again).run().success();
    assert!(Client::dial(&server, workspace.token()).secrets().iter().any(|(_, _, value)| *value == again));
}

/// Neither what was deleted nor what was replaced, not even encrypted: a key may leak later. PostgreSQL keeps old rows
/// until it vacuums, and its own log of writes.
#[test]
fn what_was_deleted_or_replaced_is_overwritten() {
    let name = "what_was_deleted_or_replaced_is_overwritten";
    if !is_about_the_file(name) || !requires(name, &[Need::SqlClient]) {
        return;
    }
    let env = Env::new();
    let mut server = env.server();
    let alice = env.user("alice");
    for name in ["deleted", "replaced", "kept"] {
        alice.secret(name, &["--env", name]);
    }
    let sealed = env.sql("SELECT hex(value) FROM user_secrets ORDER BY name");
    let sealed: Vec<_> = sealed.lines().map(|line| hex::decode(line).unwrap()).collect();
    let _ = alice.coder(["secret", "delete", "deleted", "--yes"]).run().success();
    let _ = alice.coder(["secret", "update", "replaced"]).stdin(env.canary("new")).run().success();
    // With the stop comes a checkpoint, and the write-ahead log goes.
    assert_eq!(server.terminate().code, Some(0));
    let files = std::fs::read_dir(env.data_dir()).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let files: Vec<u8> = files.flatten().collect();
    let is_there = |value: &Vec<u8>| files.windows(value.len()).any(|window| window == value);
    assert_eq!(sealed.iter().map(is_there).collect::<Vec<_>>(), [false, true, false]);
}
