//! `coder secret list` and `delete`.

use std::time::{Duration, Instant};

use tests::{Fault, Proxy};

use super::World;

fn rows(table: &str) -> Vec<Vec<String>> {
    let cells =
        |line: &str| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect();
    table.lines().map(cells).collect()
}

#[test]
fn table_output() {
    let world = World::new();
    world.alice.secret("b", &["--env", "BETA", "--file", "~/b", "--description", "For tools"]);
    world.alice.secret("a", &["--env", "ALPHA", "--file", "/a", "--description", "First", "--enabled=false"]);
    let out = world.alice.coder(["secret", "list"]).run().success();
    assert_eq!(
        rows(&out.stdout),
        [
            vec!["NAME", "CREATED", "UPDATED", "ENV", "FILE", "ENABLED", "DESCRIPTION"],
            vec!["a", "now", "now", "ALPHA", "/a", "false", "First"],
            vec!["b", "now", "now", "BETA", "~/b", "true", "For tools"],
        ]
    );
    assert_eq!(out.stderr, "");
    let out = world.alice.coder(["secrets", "ls", "-c", "file,name"]).run().success();
    assert_eq!(rows(&out.stdout), [["FILE", "NAME"], ["/a", "a"], ["~/b", "b"]]);
    // SingleSecretTableOutput
    let out = world.alice.coder(["secret", "list", "b", "--column", "name"]).run().success();
    assert_eq!(rows(&out.stdout), [["NAME"], ["b"]]);
}

#[test]
fn json_output() {
    let world = World::new();
    world.alice.secret("b", &["--env", "BETA"]);
    world.alice.secret("a", &["--env", "ALPHA"]);
    let all = world.alice.coder(["secret", "list", "-o", "json"]).run().success().json();
    assert_eq!(all, world.alice.rest().get("/users/me/secrets").expect(200).json);
    assert_eq!((&all[0]["name"], &all[1]["name"]), (&"a".into(), &"b".into()));
    let fields: Vec<_> = all[0].as_object().unwrap().keys().cloned().collect();
    assert!(!fields.contains(&"value".to_owned()), "{fields:?}");
    // SingleSecretJSONOutput
    let one = world.alice.coder(["secret", "list", "b", "--output", "json"]).run().success().json();
    assert_eq!(one, serde_json::json!([world.alice.stored("b")]));
}

#[test]
fn empty_state() {
    let world = World::new();
    let out = world.alice.coder(["secret", "list"]).run().success();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", "No secrets found.\n"));
    assert_eq!(world.alice.coder(["secret", "list", "-o", "json"]).run().success().json(), serde_json::json!([]));
    let _ = world.alice.coder(["secret", "list", "nope"]).run().exits(1).complains("get secret \"nope\": ");
}

#[test]
fn file_delivery_that_is_off_or_unknown_is_said_and_never_waited_for() {
    let world = World::new();
    let proxy = Proxy::new(&world.server);
    let list = || world.alice.coder(["--url", proxy.url(), "secret", "list"]).run().success();
    world.alice.secret("a", &["--env", "ALPHA"]);
    assert_eq!(list().stderr, "");
    assert_eq!(proxy.requests(), ["GET /api/v2/users/me/secrets"]);

    world.alice.secret("b", &["--file", "~/b"]);
    let unknown = "Could not check whether file path delivery is enabled.\n";
    for (fault, said) in [(Fault::None, ""), (Fault::Answer(404), ""), (Fault::Answer(500), unknown)] {
        proxy.set_for("/capabilities", fault);
        assert_eq!(list().stderr, said);
    }
    proxy.set_for("/capabilities", Fault::Stall);
    let start = Instant::now();
    assert_eq!(list().stderr, unknown);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn delete_asks_first() {
    let world = World::new();
    for answer in ["no\n", "\n", "", "yess\n"] {
        world.alice.secret("api-key", &["--env", "API_KEY"]);
        let run = world.alice.coder(["secret", "delete", "api-key"]).stdin(answer).run().exits(1);
        let _ = run.complains("Delete secret api-key?").complains("Canceled.");
        let out = world.alice.coder(["secret", "rm", "api-key", "--yes"]).run().success();
        // YesSkipsPrompt
        assert_eq!(out.stderr, "");
        assert!(out.stdout.starts_with("Deleted secret api-key at 20"), "{}", out.stdout);
    }
    world.alice.secret("api-key", &["--env", "API_KEY"]);
    let out = world.alice.coder(["secret", "delete", "api-key"]).terminal("yes\n").run().success();
    let _ = out.complains("Delete secret api-key?").says("Deleted secret api-key at 20");
    // NotFound
    let again = world.alice.coder(["secret", "remove", "-y", "api-key"]).run().exits(1);
    let _ = again.complains("delete secret \"api-key\": ");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let world = World::new();
    world.alice.secret("a", &["--env", "ALPHA"]);
    let coder = tests::binaries().coder.display().to_string();
    let script = format!("{{ '{coder}' secret list; echo \"exit $?\" >&2; }} | true");
    let run = world.env.program("/bin/sh").args(["-c", &script]);
    let out = run.env("CODER_URL", world.server.url()).env("CODER_SESSION_TOKEN", &world.alice.token).run().success();
    assert_eq!(out.stderr, "exit 0\n");
}

#[test]
fn a_narrow_terminal_loses_columns_and_wraps_no_name() {
    let world = World::new();
    let name = "database-password-of-the-team";
    world.alice.secret(name, &["--env", "PASS", "--description", "The password of the database"]);
    let coder = tests::binaries().coder.display().to_string();
    let header = |columns: u16, flags: &str| {
        let line = format!("stty cols {columns}; '{coder}' secret list {flags}");
        let run = world.env.program("/usr/bin/script").args(["-qec", &line, "/dev/null"]);
        let out =
            run.env("CODER_URL", world.server.url()).env("CODER_SESSION_TOKEN", &world.alice.token).run().success();
        assert!(out.stdout.contains(name), "{}", out.stdout);
        rows(&out.stdout)[0].join(" ")
    };
    assert_eq!(header(200, ""), "NAME CREATED UPDATED ENV FILE ENABLED DESCRIPTION");
    assert_eq!(header(90, ""), "NAME ENV FILE ENABLED DESCRIPTION");
    assert_eq!(header(60, ""), "NAME ENV FILE ENABLED");
    // What is asked for is shown.
    assert_eq!(header(60, "-c name,created,description"), "NAME CREATED DESCRIPTION");
}
