//! What the server keeps. The hunt at the end of each test is half of it.

use tests::Env;

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
