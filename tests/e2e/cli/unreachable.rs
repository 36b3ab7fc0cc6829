//! Servers that are not there, or are no servers.

use tests::{Env, Fault, Proxy};

use super::World;

#[test]
fn no_url_no_request() {
    let env = Env::new();
    for args in [&["secret", "list"][..], &["whoami"], &["secret", "delete", "x"], &["secret", "enable", "x"]] {
        let run = env.coder(args).run().exits(2);
        let _ = run.complains("You are not logged in. Try logging in using 'coder login <url>'.");
    }
    let _ = env.coder(["secret", "create", "x"]).stdin("v").run().exits(2).complains("You are not logged in.");
}

#[test]
fn a_server_that_is_absent_is_named_with_what_to_do() {
    let env = Env::new();
    let run = env.coder(["--url", "http://alice:hunter2-hunter2@127.0.0.1:1", "secret", "list"]).run().exits(1);
    assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
    assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    let _ = run
        .complains("error: list secrets: cannot reach http://127.0.0.1:1: Connection refused")
        .complains("Check the address");
}

#[test]
fn what_is_no_coder_server_is_told_apart() {
    let world = World::new();
    let proxy = Proxy::new(&world.server);
    let list = || world.alice.coder(["--url", proxy.url(), "secret", "list"]).run().exits(1);
    proxy.set(Fault::Garbage);
    let _ = list().complains("cannot reach http://127.0.0.1");
    proxy.set(Fault::Reset);
    let _ = list().complains("cannot reach http://127.0.0.1");
    proxy.set(Fault::CloseAfter(60));
    let _ = list().complains("cannot reach http://127.0.0.1");
    proxy.set(Fault::Answer(500));
    let _ = list().complains("list secrets: ");
}

#[test]
fn a_refused_token_says_how_to_get_in() {
    let world = World::new();
    let run = world.alice.coder(["secret", "list", "--token", "wrong"]).run().exits(1);
    let _ = run.complains("list secrets: ").complains(&format!("coder login {}", world.server.url()));
    // No token at all: the request goes out, and the server's refusal is shown.
    let run = world.env.coder(["--url", world.server.url(), "secret", "list"]).run().exits(1);
    let _ = run.complains(&format!("coder login {}", world.server.url()));
}
