//! The hunt for values after everything was used, with every log at its fullest.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use tests::{Env, Fault, LONG, Proxy, Server, User, World, wait_until};

/// Says everything it knows wherever it can; `TEMPLATE` is put in.
const DEFINITION: &str = r#"
owner: alice
name: dev
agent:
  name: main
  env: { TEMPLATE_TOKEN: "TEMPLATE" }
  scripts:
    - display_name: Talkative
      run_on_start: true
      script: |
        env
        echo "$API_KEY" >&2
        echo "$API_KEY" | base64 -w0; echo
        printf '%s' "$API_KEY" | head -c 20; sleep 0.05; printf '%s\n' "$API_KEY" | tail -c +21
        cat ~/.config/tool ~/.ssh/key
        touch ~/done
    - display_name: Failing
      run_on_start: true
      script: "echo failing with $SERVICE_TOKEN; exit 3"
    - display_name: Goodbye
      run_on_stop: true
      script: "echo goodbye $API_KEY"
env:
  - { name: MERGED_TOKEN, value: "TEMPLATE", merge_strategy: append }
"#;

/// Every command line there is while it lives, each once.
struct CommandLines {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<Vec<u8>>>,
}

impl CommandLines {
    fn watch() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !stopping.load(Ordering::SeqCst) {
                let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
                seen.extend(processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok()));
            }
            seen
        });
        Self { stop, thread }
    }

    /// Puts them where the hunt goes.
    fn write(self, env: &Env) {
        self.stop.store(true, Ordering::SeqCst);
        let seen = self.thread.join().unwrap();
        assert!(seen.len() > 2, "no command line was seen");
        env.write("command-lines", seen.into_iter().collect::<Vec<_>>().join(&b'\n'));
    }
}

/// What other processes of the same user can read of one.
fn note_process(env: &Env, name: &str, pid: u32) {
    for file in ["environ", "cmdline", "comm", "status"] {
        // What cannot be read cannot leak.
        let content = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        env.write(&format!("proc-{name}-{file}"), content);
    }
}

/// Answers of the API that hold no value, whatever was asked for.
fn note_answers(env: &Env, alice: &User, server: &Server, value: &str) {
    let rest = alice.rest();
    let body = |json: serde_json::Value| Some(json.to_string());
    let secrets = "/users/me/secrets";
    let requests = [
        (Method::GET, secrets, None),
        (Method::GET, "/users/me/secrets/api-key", None),
        (Method::GET, "/users/me", None),
        (Method::GET, "/workspaces", None),
        (Method::GET, "/deployment/user-secrets/capabilities", None),
        (Method::POST, secrets, body(serde_json::json!({ "name": "via-rest", "value": value }))),
        (Method::POST, secrets, body(serde_json::json!({ "name": "a/b", "value": format!("{value}\0") }))),
        (Method::POST, secrets, body(serde_json::json!({ "name": "typo", "vallue": value }))),
        (Method::POST, secrets, body(serde_json::json!({ "name": { "not": value } }))),
        (Method::POST, secrets, Some(format!("{{\"name\": \"cut off\", \"value\": \"{value}"))),
        (Method::PATCH, "/users/me/secrets/api-key", body(serde_json::json!({ "value": [value] }))),
        (Method::PATCH, "/users/me/secrets/nope", body(serde_json::json!({ "value": value }))),
        (Method::POST, "/users/me/secrets/batch", body(serde_json::json!({ "format": "env", "content": value }))),
        (Method::POST, "/users/me/secrets/batch", body(serde_json::json!({ "format": value, "content": "A=1" }))),
        (Method::POST, "/users/bob/secrets", body(serde_json::json!({ "name": "x", "value": value }))),
        (Method::DELETE, "/users/me/secrets/via-rest", None),
    ];
    for (number, (method, path, body)) in requests.into_iter().enumerate() {
        let reply = rest.send(method, path, body);
        env.write(&format!("answer-{number}"), format!("{} {:?}\n{}", reply.status, reply.headers, reply.text));
    }
    // A token in the address, as old clients send it, and one that was cut and pasted there by mistake.
    for query in [format!("?coder_session_token={}", alice.token), format!("/secrets/{}", alice.token)] {
        let reply = tests::Rest::new(server.url(), "").get(&format!("/users/me{query}"));
        env.write(&format!("answer-query-{}", reply.status), reply.text);
    }
}

/// What somebody gets wrong with a value at hand; standard error is searched by whoever runs it.
fn fail_in_every_way(env: &Env, alice: &User, value: &str) {
    let create = |name: &str, flags: &[&str], input: &str| {
        let run = alice.coder(["secret", "create", name]).args(flags).stdin(input).run();
        assert_ne!(run.exit.code, Some(0), "{}", run.line);
    };
    create("api-key", &[], value);
    create("nul", &[], &format!("{value}\0"));
    create("reserved", &["--env", "LD_PRELOAD"], value);
    create("relative", &["--file", "key"], value);
    create("long", &[], &value.repeat(1_000));
    create("", &[], value);
    for (file, text) in [
        ("x.env", format!("A=1\n{value}\n")),
        ("x.json", format!("{{\"A\": [\"{value}\"]}}")),
        ("x.yaml", format!("A: [{value}]\n")),
    ] {
        let file = env.home().join(file);
        fs::write(&file, text).unwrap();
        assert_ne!(alice.coder(["secret", "import"]).arg(file).run().exit.code, Some(0));
    }
    let stranger = env.coder(["secret", "create", "x"]).env("CODER_URL", "http://127.0.0.1:1");
    assert_eq!(stranger.env("CODER_SESSION_TOKEN", value).stdin(value).run().exit.code, Some(1));
}

/// A server that keeps its keys in a home, where they may be, and a workspace with a value of its template.
fn world() -> World {
    let env = Env::new();
    let keys = env.home().join("encryption.key");
    env.admin_flag(format!("--encryption-key-file={}", keys.display()));
    let server = env.server();
    let key = fs::read_to_string(&keys).unwrap();
    let key = key.lines().rfind(|line| !line.starts_with('#')).unwrap();
    env.watch("encryption key", key.as_bytes());
    env.watch("encryption key, decoded", &STANDARD.decode(key).unwrap());
    let alice = env.user("alice");
    let template = env.canary("template");
    let workspace = env.workspace(&DEFINITION.replace("TEMPLATE\"", &format!("{template}\"")));
    World { env, server, alice, workspace }
}

/// Secrets of every kind; the value of one that goes into the environment.
fn secrets(World { env, alice, .. }: &World) -> String {
    let value = alice.secret("api-key", &["--env", "API_KEY"]);
    alice.secret("service", &["--env", "SERVICE_TOKEN", "--file", "~/.config/service"]);
    let odd = format!("{} \"q\" & <b>/+?=\té", env.canary("odd"));
    alice.secret_with("odd", odd, &["--env", "ODD", "--file", "~/.config/tool"]);
    let pem = format!("-----BEGIN-----\n{}\n{}\n-----END-----\n", env.canary("pem"), env.canary("pem"));
    alice.secret_with("pem", pem, &["--file", "~/.ssh/key"]);
    alice.secret_with("json", format!("{{\"token\": \"{}\"}}", env.canary("json")), &["--env", "JSON"]);
    value
}

#[test]
fn no_value_is_anywhere_after_everything_was_used() {
    let mut world = world();
    let env = world.env.clone();
    let lines = CommandLines::watch();
    let value = secrets(&world);
    let proxy = Proxy::new(&world.server);
    let mut agent = env.agent(&proxy, &world.workspace).start();
    // One of the scripts fails.
    world.workspace.wait_lifecycle("start_error");
    assert!(agent.home().join("done").exists());
    note_process(&env, "agent", agent.pid());
    note_process(&env, "server", world.server.pid());
    env.hunt();

    note_answers(&env, &world.alice, &world.server, &value);
    fail_in_every_way(&env, &world.alice, &value);
    proxy.set(Fault::GarbageAfter(600));
    proxy.cut();
    let _ = agent.line_with("trying again until it works", LONG);
    proxy.set(Fault::None);
    let updated = env.canary("updated");
    let _ = world.alice.coder(["secret", "update", "pem"]).stdin(&updated).run().success();
    proxy.cut();
    let key = agent.home().join(".ssh/key");
    wait_until("the new value", LONG, || fs::read_to_string(&key).is_ok_and(|text| text == updated));
    for command in [
        &["keys", "rotate"][..],
        &["audit", "--json"],
        &["audit"],
        &["token", "list"],
        &["workspace", "show", "alice/dev"],
    ] {
        let _ = env.admin(command).run().success();
    }
    if !env.is_on_postgres() {
        let _ = env.admin(["backup", "backup.db"]).run().success();
        // What is hunted in is there to be searched.
        assert!(fs::metadata(env.path("work/backup.db")).unwrap().len() > 4096);
    }
    let _ = world.alice.coder(["secret", "list", "-o", "json"]).run().success();
    env.hunt();

    assert_eq!(agent.terminate().code, Some(0));
    world.workspace.wait_lifecycle("off");
    env.hunt();
    assert_eq!(world.server.terminate().code, Some(0));
    lines.write(&env);
    // What was hunted in was there to be searched.
    assert!(agent.stderr().contains("DEBUG") && world.server.stderr().contains("DEBUG"), "a log is not at its fullest");
}

/// In every place and form; else the test above would pass whatever happened.
#[test]
fn a_planted_value_is_found_wherever_it_is() {
    let world = World::with(tests::DEV);
    let value = world.alice.secret("api-key", &["--env", "API_KEY"]);
    let agent = world.agent().start();
    world.workspace.wait_lifecycle("ready");
    let env = &world.env;
    env.hunt();
    let encoded = STANDARD.encode(format!("xy{value}z"));
    for (directory, text) in [
        (env.data_dir(), value.clone()),
        (agent.log_dir().to_owned(), encoded),
        (env.path("tmp"), hex::encode(&value)),
        (env.path("work"), format!("token=%22{value}%22")),
        (agent.home().join(".local/state/coder-agent"), format!("before\n{value}\nafter")),
    ] {
        fs::create_dir_all(&directory).unwrap();
        let planted = directory.join("planted");
        fs::write(&planted, text).unwrap();
        let leaks = env.take_leaks();
        assert!(
            leaks.iter().any(|leak| Path::new(&leak.place) == planted),
            "not found in {}: {leaks:?}",
            planted.display()
        );
        fs::remove_file(&planted).unwrap();
        assert_eq!(env.take_leaks(), []);
    }
}
