//! `coder secret create`, and what a person gets wrong.

use tests::Env;

use super::{Recorder, World};

#[test]
fn missing_value() {
    let none = "secret value must be provided by exactly one of --value or non-interactive stdin (pipe or redirect)";
    let recorder = Recorder::new();
    let env = Env::new();
    let create = || env.coder(["--url", &recorder.url, "secret", "create", "x", "--env", "X"]);
    let _ = create().run().exits(2).complains(none);
    // EmptyStdinIsNotProvided
    let _ = create().stdin("").run().exits(2).complains(none);
    // MissingValueOnTTY
    let on_terminal = "secret value must be provided with --value or stdin via pipe or redirect";
    let _ = create().terminal("typed\n").run().exits(2).complains(on_terminal);
    recorder.saw_nothing();
}

#[test]
fn value_flag_conflicts_with_stdin() {
    let recorder = Recorder::new();
    let env = Env::new();
    for command in ["create", "update"] {
        let run = env.coder(["--url", &recorder.url, "secret", command, "x", "--value", "one"]).stdin("two").run();
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
    let stored = world.secret("api-key");
    assert_eq!(stored["description"], "For tools");
    assert_eq!(stored["env_name"], "API_KEY");
    assert_eq!(stored["file_path"], "~/.key");
    assert_eq!(stored["enabled"], true);
}

#[test]
fn success_with_stdin_byte_for_byte() {
    let recorder = Recorder::new();
    let env = Env::new();
    let longest = "x".repeat(24_576);
    for value in ["one", " two\twords ", "-----BEGIN-----\nx\n-----END-----\n", "é\r\nb", &longest] {
        let run = env.coder(["--url", &recorder.url, "secret", "create", "x", "--env", "X"]).stdin(value).run();
        assert_eq!(run.success().stderr, "");
        let body = recorder.body();
        assert_eq!(body["value"], value);
        // `enabled` is sent only if it is given.
        assert_eq!(body.get("enabled"), None);
    }
}

#[test]
fn stdin_trailing_newline_warns_and_preserves_value() {
    let recorder = Recorder::new();
    let env = Env::new();
    for value in ["one\n", "one\r\n", "one\r"] {
        let run = env.coder(["--url", &recorder.url, "secret", "create", "x", "--env", "X"]).stdin(value).run();
        let _ = run.success().complains("secret value from stdin ends with a trailing newline");
        assert_eq!(recorder.body()["value"], value);
    }
}

#[test]
fn a_value_that_no_server_takes_is_not_sent() {
    let recorder = Recorder::new();
    let env = Env::new();
    let over = "x".repeat(24_577);
    for (value, complaint) in [
        (over.as_bytes(), "secret value must not exceed 24576 bytes"),
        (b"a\0b", "secret value must not contain null bytes"),
        (b"\xff\xfe", "secret value must be valid UTF-8"),
    ] {
        let run = env.coder(["--url", &recorder.url, "secret", "create", "x", "--env", "X"]).stdin(value).run();
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
        assert_eq!(world.secret(name)["enabled"], enabled);
    }
}

#[test]
fn without_a_target_it_is_stored_and_not_injected() {
    let world = World::new();
    let out = world.alice.coder(["secret", "create", "bare"]).stdin("v").run().success();
    let _ = out.says("Created secret bare.").complains("stored, and not injected");
    assert_eq!(world.secret("bare")["enabled"], true);
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
        .complains("Encountered an error running \"coder secret create\"")
        .complains("error: create secret \"a/b\": Validation failed.\n3 validation errors found\n")
        .complains("\tname: Name must not contain /, ?, or #.\n")
        .complains("\tenv_name: path is a reserved environment variable name\n")
        .complains("\tfile_path: file path must start with ~/ or /\n");
    world.alice.secret("taken", &["--env", "TAKEN"]);
    let run = world.alice.coder(["secret", "create", "taken"]).stdin("v").run();
    let _ = run.exits(1).complains("create secret \"taken\"").complains("name already in use");
}
