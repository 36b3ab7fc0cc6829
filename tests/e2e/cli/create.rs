//! `coder secret create`, and what a person gets wrong.

use tests::Env;

use super::{World, recorder};

#[test]
fn missing_value() {
    let none = "secret value must be provided by exactly one of --value or non-interactive stdin (pipe or redirect)";
    let recorder = recorder();
    let env = Env::new();
    let create = || env.coder(["--url", recorder.url(), "secret", "create", "x", "--env", "X"]);
    let _ = create().run().exits(2).complains(none);
    // EmptyStdinIsNotProvided
    let empty = "error: standard input was empty: is the variable set, does the file exist?";
    let _ = create().stdin("").run().exits(2).complains(empty);
    let _ = create().args(["--value", ""]).run().exits(2).complains("is the variable set?");
    // A value has to be typed, and can be refused.
    let _ = create().terminal("\r").run().exits(2).complains("no value was typed");
    recorder.saw_nothing();
}

#[test]
fn a_value_is_typed_unseen_on_a_terminal() {
    let recorder = recorder();
    let env = Env::new();
    let value = env.canary("typed");
    let on_terminal =
        |args: &[&str]| env.coder(["--url", recorder.url(), "secret"]).args(args).terminal(format!("{value}\r"));
    let out = on_terminal(&["create", "x", "--env", "X"]).run().success();
    assert_eq!(out.stdout, "Created secret x.\n");
    assert_eq!(out.stderr, "Value of x (not shown; for several lines use < FILE): \n");
    assert_eq!(recorder.body()["value"], *value);
    let _ = on_terminal(&["update", "x"]).run().success().complains("Value of x (not shown");
    assert_eq!(recorder.body(), serde_json::json!({ "value": value }));
    // Nobody is asked for the value of a secret that cannot be stored.
    for args in [&["create", "a/b"][..], &["create", "x", "--env", "PATH"], &["create", "x", "--file", "relative"]] {
        let out = on_terminal(args).run().exits(2);
        assert!(!out.stderr.contains("Value of"), "{}", out.stderr);
    }
    let _ = env.coder(["secret", "create", "x"]).terminal("typed\r").run().exits(2).complains("You are not logged in");
    recorder.saw_nothing();
}

#[test]
fn what_a_program_will_not_read_is_warned_about() {
    let world = World::new();
    let create = |name: &str, value: &str, flags: &[&str]| {
        world.alice.coder(["secret", "create", name]).args(flags).stdin(value).run().success().stderr
    };
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----";
    assert!(create("pem", key, &["--file", "~/.ssh/k1"]).contains("PEM block without a line break at its end"));
    assert_eq!(create("whole-pem", &format!("{key}\n"), &["--file", "~/.ssh/k2"]), "");
    assert_eq!(create("pem-variable", key, &["--env", "KEY"]), "");
    assert!(create("crlf", "a\r\nb\r\n", &["--file", "~/c"]).contains("Windows line ends (CRLF)"));
    assert!(create("bom", "\u{feff}a", &["--file", "~/b"]).contains("byte order mark (BOM)"));
    let update = world.alice.coder(["secret", "update", "pem"]).stdin(key).run().success();
    let _ = update.complains("PEM block");
}

#[test]
fn targets_that_shells_keep_or_run_are_warned_about() {
    let world = World::new();
    let create = |name: &str, flags: &[&str]| {
        world.alice.coder(["secret", "create", name]).args(flags).stdin("v").run().success().stderr
    };
    assert!(create("uid", &["--env", "UID"]).contains("these shells keep UID for themselves"));
    assert!(create("prompt", &["--env", "PROMPT_COMMAND"]).contains("PROMPT_COMMAND can run commands"));
    assert!(create("rc", &["--file", "~/.bashrc"]).contains("~/.bashrc can run commands"));
    assert!(create("keys", &["--file", "~/.ssh/authorized_keys"]).contains("log in"));
    let update = world.alice.coder(["secret", "update", "uid", "--env", "OPTIND"]).run().success();
    let _ = update.complains("keep OPTIND");
    world.env.write("x.env", "EUID=1\nFINE=2\n");
    let import = world.alice.coder(["secret", "import", "x.env"]).run().success();
    let _ = import.complains("keep EUID");
}

#[test]
fn value_flag_conflicts_with_stdin() {
    let recorder = recorder();
    let env = Env::new();
    for command in ["create", "update"] {
        let run = env.coder(["--url", recorder.url(), "secret", command, "x", "--value", "one"]).stdin("two").run();
        let _ = run.exits(2).complains("secret value may be provided by only one source, got --value, stdin");
    }
    recorder.saw_nothing();
}

#[test]
fn success_with_value_flag() {
    let world = World::new();
    let flags = ["--value", "one", "--description", "For tools", "--env", "API_KEY", "--file", "~/.key"];
    let out = world.alice.coder(["secret", "create", "api-key"]).args(flags).run().success();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("Created secret api-key.\n", ""));
    let stored = world.alice.stored("api-key");
    assert_eq!(stored["description"], "For tools");
    assert_eq!(stored["env_name"], "API_KEY");
    assert_eq!(stored["file_path"], "~/.key");
    assert_eq!(stored["enabled"], true);
}

#[test]
fn success_with_stdin_byte_for_byte() {
    let recorder = recorder();
    let env = Env::new();
    let longest = "x".repeat(24_576);
    for value in ["one", " two\twords ", "-----BEGIN-----\nx\n-----END-----\n", "é\r\nb", &longest] {
        let run = env.coder(["--url", recorder.url(), "secret", "create", "x", "--env", "X"]).stdin(value).run();
        assert_eq!(run.success().stderr, "");
        let body = recorder.body();
        assert_eq!(body["value"], value);
        // `enabled` is sent only if it is given.
        assert_eq!(body.get("enabled"), None);
    }
}

#[test]
fn stdin_trailing_newline_warns_and_preserves_value() {
    let recorder = recorder();
    let env = Env::new();
    for value in ["one\n", "one\r\n", "one\r"] {
        let run = env.coder(["--url", recorder.url(), "secret", "create", "x", "--env", "X"]).stdin(value).run();
        let _ = run.success().complains("secret value from stdin ends with a trailing newline");
        assert_eq!(recorder.body()["value"], value);
    }
}

#[test]
fn a_value_that_no_server_takes_is_not_sent() {
    let recorder = recorder();
    let env = Env::new();
    let over = "x".repeat(24_577);
    for (value, complaint) in [
        (over.as_bytes(), "secret value must not exceed 24576 bytes"),
        (b"a\0b", "secret value must not contain null bytes"),
        (b"\xff\xfe", "secret value must be valid UTF-8"),
    ] {
        let run = env.coder(["--url", recorder.url(), "secret", "create", "x", "--env", "X"]).stdin(value).run();
        let _ = run.exits(2).complains(complaint);
    }
    recorder.saw_nothing();
}

#[test]
fn enabled_is_sent_as_given() {
    let world = World::new();
    for (name, flag, enabled) in
        [("a", "--enabled", true), ("b", "--enabled=true", true), ("c", "--enabled=false", false)]
    {
        let env_name = name.to_uppercase();
        let _ = world.alice.coder(["secret", "create", name, flag, "--env", &env_name]).stdin("v").run().success();
        assert_eq!(world.alice.stored(name)["enabled"], enabled);
    }
}

#[test]
fn without_a_target_it_is_stored_and_not_injected() {
    let world = World::new();
    let out = world.alice.coder(["secret", "create", "bare"]).stdin("v").run().success();
    let _ = out.says("Created secret bare.").complains("stored, and not injected");
    assert_eq!(world.alice.stored("bare")["enabled"], true);
}

#[test]
fn a_path_that_the_shell_expanded_gets_a_hint() {
    let world = World::new();
    let expanded = world.env.home().join(".config/tool").to_string_lossy().into_owned();
    let run = world.alice.coder(["secret", "create", "tool", "--file", &expanded]).stdin("v").run().success();
    let _ = run.says("Created secret tool.").complains("--file '~/.config/tool'");
    let run = world.alice.coder(["secret", "create", "quoted", "--file", "~/.config/tool"]).stdin("v").run().success();
    assert_eq!(run.stderr, "");
}

#[test]
fn every_fault_is_told() {
    let world = World::new();
    let flags = ["--env", "path", "--file", "relative"];
    let _ = world
        .alice
        .coder(["secret", "create", "a/b"])
        .args(flags)
        .stdin("v")
        .run()
        .exits(1)
        .complains("error: create secret \"a/b\": Validation failed.\n3 validation errors found\n")
        .complains("\tname: Name must not contain /, ?, or #.\n")
        .complains("\tenv_name: path is a reserved environment variable name\n")
        .complains("\tfile_path: file path must start with ~/ or /\n");
    world.alice.secret("taken", &["--env", "TAKEN"]);
    let run = world.alice.coder(["secret", "create", "taken"]).stdin("v").run();
    let run = run.exits(1).complains("create secret \"taken\"").complains("name already in use");
    assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    let _ = run.complains("taken exists already. To change its value: echo -n \"$VALUE\" | coder secret update taken");
}
