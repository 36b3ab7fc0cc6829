//! Every answer: what it may be kept by, what it tells, and what is said when nothing can be stored.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use reqwest::Method;
use serde_json::json;
use tests::{DEV, Env, LONG, Need, Rest, World, is_about_the_file, requires, wait_for};

use super::connections::ask;
use crate::peers::client::Client;

#[test]
fn no_answer_may_be_kept_or_guessed() {
    let World { server, alice, workspace, .. } = World::with(DEV);
    let (user, nobody) = (alice.rest(), Rest::new(server.url(), ""));
    let agent = Rest::new(server.url(), workspace.token());
    for reply in [
        user.get("/users/me/secrets"),
        user.get("/users/me/secrets/none"),
        user.send(Method::PUT, "/users/me/secrets", None),
        user.post("/users/me/secrets", &json!([])),
        agent.get("/workspaceagents/me/gitsshkey"),
        nobody.get("/buildinfo"),
        nobody.get("/users/me"),
        nobody.get("/nowhere"),
    ] {
        assert_eq!(reply.headers["cache-control"], "no-store", "{}", reply.text);
        assert_eq!(reply.headers["x-content-type-options"], "nosniff", "{}", reply.text);
    }
}

fn ready(url: &str) -> (u16, String) {
    let answer = ask(url.trim_start_matches("http://"), "/readyz");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
}

#[test]
fn a_full_disk_is_named_to_users_agents_and_probes() {
    let name = "a_full_disk_is_named_to_users_agents_and_probes";
    if !is_about_the_file(name) {
        return;
    }
    if !requires(name, &[Need::Root, Need::Program("mount", "mount"), Need::Program("unshare", "util-linux")]) {
        return;
    }
    let env = Env::new();
    let data = env.data_dir();
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    // A disk of its own, in a mount namespace that ends with the server. The test reaches it by the server's root.
    let script = format!("mount -t tmpfs -o size=8m,mode=0700 none {} && exec \"$@\"", data.display());
    let mut server = env
        .admin(["serve", "--listen", "127.0.0.1:0", "--rate-limit", "0"])
        .under("/usr/bin/unshare", ["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
        .spawn("server");
    let line = server.line_with("listening on ", LONG);
    let url = line.split("listening on ").nth(1).unwrap().trim().to_owned();
    env.server_at(&url);
    let inside = |args: &[&str]| {
        let pid = server.pid().to_string();
        let flags = ["--mount", "--target", pid.as_str()];
        env.admin(args).under("/usr/bin/nsenter", flags).reveals().run().success().json()
    };
    let token = inside(&["user", "create", "alice", "--json"])["session_token"].as_str().unwrap().to_owned();
    let alice = env.user_with_token("alice", &token);
    assert_eq!(ready(&url), (200, "OK".to_owned()));

    let disk = format!("/proc/{}/root{}", server.pid(), data.display());
    // Whatever room is left, to the last block.
    let filler = format!("{disk}/filler");
    let _ = fs::write(&filler, vec![0; 16 * 1024 * 1024]);
    let value = "x".repeat(20_000);
    let create = |n: u32| alice.rest().post("/users/me/secrets", &json!({ "name": format!("s{n}"), "value": value }));
    // The log of the database has some room of its own.
    let mut n = 0;
    let refused = wait_for("a write that finds no room", LONG, || {
        n += 1;
        Some(create(n)).filter(|reply| reply.status != 201)
    });
    assert_eq!(refused.status, 507, "{}", refused.text);
    assert_eq!(refused.json["message"], "The server's disk is full; tell your administrator.");
    let (status, why) = wait_for("not ready", LONG, || Some(ready(&url)).filter(|(status, _)| *status != 200));
    assert!(status == 503 && why.contains("disk is full"), "{status} {why}");
    for word in ["sqlite", "database", "encryption", disk.as_str(), "coder.db"] {
        assert!(!refused.text.contains(word) && !why.contains(word), "{word:?} in {} {why}", refused.text);
    }

    fs::remove_file(&filler).unwrap();
    wait_for("ready again", LONG, || Some(ready(&url)).filter(|(status, _)| *status == 200));
    assert_eq!(create(1000).status, 201);
}

/// Key ids, files and tables are the administrator's business.
#[test]
fn a_failure_of_the_server_tells_its_callers_no_details() {
    if !requires("a_failure_of_the_server_tells_its_callers_no_details", &[Need::SqlClient]) {
        return;
    }
    let World { env, server, alice, workspace, .. } = World::with(DEV);
    alice.secret("kept", &["--env", "KEPT"]);
    let zeros = if env.is_on_postgres() { "decode(repeat('00', 60), 'hex')" } else { "zeroblob(60)" };
    env.sql(&format!("UPDATE user_secrets SET value = {zeros}"));
    let client = Client::dial(&server, workspace.token());
    assert!(client.secrets().is_empty());
    let log = workspace.show_agent()["startup_log"].to_string();
    assert!(log.contains("secret kept was not delivered") && log.contains("ask your administrator"), "{log}");
    assert!(!log.contains("user_secrets") && !log.contains("key "), "{log}");
    env.sql("ALTER TABLE user_secrets RENAME TO gone");
    let refused = alice.rest().get("/users/me/secrets").expect(500);
    assert_eq!(refused.json["message"], "Internal error listing secrets.");
    let reply = client.call(crate::peers::control_plane::MANIFEST, &[]);
    let answers = format!("{}{:?}", refused.text, reply);
    for word in ["sqlite", "postgres", "user_secrets", "no such table", "relation", "coder.db"] {
        assert!(!answers.contains(word), "{word:?} in {answers}");
    }
}
