//! Every command there is, failing with values at hand in every way that all of them can fail. Whoever runs a command
//! here also searches what it prints.

use std::time::Duration;

use tests::{Env, Fault, Proxy, Run};

/// Run for ever, or wait for what does not come; their failures have tests of their own.
const PATIENT: [&str; 4] = ["agent", "session", "serve", "gitssh"];

/// The commands that have none below them, as lists of words. A new one is found by the help that lists it.
fn commands(program: &impl Fn() -> Run) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![Vec::<String>::new()];
    while let Some(command) = open.pop() {
        let help = program().args(&command).arg("--help").run().success().stdout;
        let listed = help.split_once("\nCommands:\n").map(|(_, rest)| rest.split("\n\n").next().unwrap_or_default());
        let Some(listed) = listed else {
            found.push(command);
            continue;
        };
        let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
        let names = listed.lines().filter(is_name).filter_map(|line| line.split_whitespace().next());
        open.extend(names.filter(|name| *name != "help").map(|name| [&command[..], &[name.to_owned()]].concat()));
    }
    found
}

fn is_patient(command: &[String]) -> bool {
    command.first().is_some_and(|first| PATIENT.contains(&first.as_str()))
}

#[test]
fn no_command_of_coder_says_a_value_when_it_fails() {
    let env = Env::new();
    let server = env.server();
    let alice = env.user("alice");
    alice.secret("x", &["--env", "X"]);
    let broken = Proxy::new(&server);
    broken.set(Fault::Answer(500));
    let (value, token) = (env.canary("value"), env.canary("token"));
    let with_values = |url: &str| {
        let run = env.coder::<&str>([]).env("CODER_URL", url).env("CODER_SESSION_TOKEN", &token);
        let run = run.env("CODER_AGENT_URL", url).env("CODER_AGENT_TOKEN", &token).env("X", &value);
        run.env("CODER_AGENT_SOCKET", "/nonexistent/agent.sock").limit(Duration::from_secs(30)).stdin(&value)
    };
    let commands = commands(&|| env.coder::<&str>([]));
    assert!(commands.len() >= 15, "{commands:?}");
    for command in &commands {
        let exit = with_values(server.url()).args(command).arg("--no-such-flag").run().exit;
        assert!(exit.code.is_some_and(|code| code > 0), "{command:?}: {exit:?}");
        if is_patient(command) {
            continue;
        }
        // Unknown to the server, nobody there, a server that breaks; without what is needed, and with it.
        for url in [server.url(), "http://127.0.0.1:1", broken.as_ref()] {
            for argument in [&[][..], &["localhost:1"], &["localhost:1", "--value", "given"]] {
                let _ = with_values(url).args(command).args(argument).run();
            }
        }
    }
}

#[test]
fn no_command_of_the_server_says_a_key_when_it_fails() {
    let env = Env::new();
    drop(env.server());
    let key = env.canary("key");
    // A key that is none, one that is another, and one that is no text of this kind at all.
    let other = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &key[key.len() - 32..]);
    env.watch("another key", other.as_bytes());
    let commands = commands(&|| env.admin::<&str>([]));
    assert!(commands.len() >= 10, "{commands:?}");
    for command in &commands {
        for keys in [&key, &other, &format!("{other},{key}")] {
            let run = || env.admin(command).env("CODER_SERVER_ENCRYPTION_KEYS", keys).stdin(keys);
            let exit = run().arg("--no-such-flag").run().exit;
            assert!(exit.code.is_some_and(|code| code > 0), "{command:?}: {exit:?}");
            for argument in [&[][..], &["x"], &["x", "x"]] {
                // Also to serve: no port of a name.
                let listen: &[&str] = if is_patient(command) { &["--listen", "nowhere"] } else { &[] };
                let exit = run().args(argument).args(listen).run().exit;
                assert!(exit.code.is_some_and(|code| code > 0), "{command:?} {argument:?}: {exit:?}");
            }
        }
    }
}
