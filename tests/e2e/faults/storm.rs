//! A fleet that boots at once, and whose server is killed under it.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;
use tests::fleet::Fleet;
use tests::{Env, LONG, User, wait_until};

pub const SECRETS: usize = 5;

#[test]
fn five_hundred_agents_boot_at_once_and_come_back_to_a_killed_server() {
    storm(500, 1, LONG);
}

#[test]
#[ignore = "long: ten thousand agents, a few minutes in a debug build"]
fn ten_thousand_agents_boot_at_once_and_come_back_to_a_killed_server() {
    storm(10_000, 2, Duration::from_mins(15));
}

/// Boots them, kills the server under them and starts it again, this often.
fn storm(agents: usize, kills: usize, limit: Duration) {
    let env = Env::quiet();
    let mut server = env.server();
    let tokens = tokens(&env, &env.user("alice"), agents);
    let fleet = Fleet::start(server.address(), tokens, SECRETS);
    let boot = fleet.served(limit);
    assert!(
        boot.failures.iter().all(|failure| is_of_patience(failure)),
        "nobody is refused or lost: {:?}",
        boot.kinds()
    );
    wait_until("the books to say that all are ready", limit, || ready(&env) == agents);

    for _ in 0..kills {
        fleet.next_wave();
        server.kill();
        server = env.server_with(["--listen", server.address()]);
        let back = fleet.served(limit);
        let lost = back.failures.iter().filter(|failure| is_of_a_kill(failure)).count();
        assert!(lost >= agents, "each has lost its session: {:?}", back.kinds());
        let refused = back.failures.iter().any(|failure| !is_of_a_kill(failure) && !is_of_patience(failure));
        assert!(!refused, "the new server refuses nobody: {:?}", back.kinds());
    }
    // The token limit of each principal and the one of failed authentications were never in the way.
    assert!(!server.stderr().contains("status=429") && !server.stderr().contains("ERROR"), "{}", server.stderr());
}

/// An agent waits for half a minute, and ten thousand may take longer with a debug build on a busy machine. It comes again.
fn is_of_patience(failure: &str) -> bool {
    failure.contains("no answer")
}

/// What an agent sees of a server that is killed: its session or its call breaks, then nobody listens until the next one does.
fn is_of_a_kill(failure: &str) -> bool {
    ["the session ended", "the connection ended", "connect: connection refused", "connect: connection reset"]
        .iter()
        .any(|kind| failure.starts_with(kind))
}

/// Gives the user secrets, and as many workspaces as agents.
pub fn tokens(env: &Env, alice: &User, agents: usize) -> Vec<String> {
    for number in 0..SECRETS {
        let (name, variable) = (format!("secret-{number}"), format!("SECRET_{number}"));
        let secret = json!({ "name": name, "value": env.canary(&name), "env_name": variable });
        let _ = alice.rest().post("/users/me/secrets", &secret).expect(201);
    }
    let mut definitions = String::new();
    for number in 0..agents {
        let _ = writeln!(definitions, "---\nowner: alice\nname: ws-{number}\nagent: {{ name: main }}");
    }
    let file = env.write("fleet.yaml", definitions);
    let applied =
        env.admin(["workspace", "apply", "--json"]).arg(file).limit(LONG * 5).reveals().run().success().json();
    let workspaces = applied["workspaces"].as_array().expect("workspaces").iter();
    workspaces.map(|workspace| workspace["agents"][0]["token"].as_str().expect("a token").to_owned()).collect()
}

/// How many agents the administrator sees as connected and ready.
fn ready(env: &Env) -> usize {
    let listed = env.admin(["workspace", "list"]).run().success().stdout;
    listed.lines().filter(|line| line.contains(" connected ") && line.contains(" ready ")).count()
}
