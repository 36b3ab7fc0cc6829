//! The server's side: one key pair a user, and who is told what of it.

use reqwest::Method;
use tests::{DEV, Env, Rest, World};

const OF_AGENT: &str = "/workspaceagents/me/gitsshkey";

#[test]
fn a_user_has_one_key_and_whatever_is_done_with_it_is_written_down() {
    let World { env, server, alice, workspace } = World::with(DEV);
    let public = || alice.rest().get("/users/me/gitsshkey").expect(200).json["public_key"].clone();
    let delivered = || {
        let key = Rest::new(server.url(), workspace.token()).get(OF_AGENT).expect(200).json;
        assert!(key["private_key"].as_str().unwrap().starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        key["public_key"].clone()
    };
    let first = public();
    assert!(first.as_str().unwrap().starts_with("ssh-ed25519 "));
    assert_eq!((public(), delivered()), (first.clone(), first.clone()));
    let _ = alice.rest().send(Method::PUT, "/users/me/gitsshkey", Some("{}".into())).expect(200);
    assert_ne!(public(), first);
    assert_eq!(delivered(), public());
    let audit = env.admin(["audit", "--json"]).run().success().json();
    let records = audit.as_array().unwrap().iter().filter(|record| record["resource"] == "git_ssh_key");
    let mut done: Vec<_> = records.map(|record| record["action"].as_str().unwrap()).collect();
    done.sort_unstable();
    assert_eq!(done, ["deliver", "deliver", "read", "read", "read", "read", "write"]);
}

#[test]
fn nobody_else_is_told_and_a_session_is_told_the_public_part_only() {
    let env = Env::new();
    let server = env.server();
    let (alice, bob) = (env.user("alice"), env.user("bob"));
    let shown = alice.rest().get("/users/alice/gitsshkey").expect(200);
    assert!(!shown.text.contains("private"), "{}", shown.text);
    let _ = bob.rest().get("/users/alice/gitsshkey").expect(404);
    let _ = bob.rest().send(Method::PUT, "/users/alice/gitsshkey", Some("{}".into())).expect(403);
    assert_eq!(alice.rest().get("/users/me/gitsshkey").expect(200).text, shown.text);
    let _ = alice.rest().get(OF_AGENT).expect(401);
    let _ = Rest::new(server.url(), "").get(OF_AGENT).expect(401);
}

#[test]
fn keys_are_of_the_kind_that_is_asked_for_and_never_rsa() {
    let env = Env::new();
    let server = env.server_with(["--ssh-keygen-algorithm", "ecdsa"]);
    let alice = env.user("alice");
    let public = || alice.coder(["publickey"]).run().success().stdout;
    assert!(public().starts_with("ssh-ed25519 "), "user create has its own flag");
    let _ = alice.coder(["publickey", "--reset", "--yes"]).run().success();
    assert!(public().starts_with("ecdsa-sha2-nistp256 "));
    let user = ["user", "create", "carol", "--ssh-keygen-algorithm", "rsa4096"];
    let _ = env.admin(user).run().exits(2).complains("RUSTSEC-2023-0071");
    drop(server);
}
