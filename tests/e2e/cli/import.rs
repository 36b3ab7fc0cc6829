//! `coder secret import`.

use std::fs;

use tests::Env;

use super::{Recorder, World};

#[test]
fn infers_format_from_extension() {
    let world = World::new();
    for (file, content) in [
        (".env", "ENV_A=1\nENV_B=2\n"),
        ("x.json", r#"{"JSON_A":"1","JSON_B":"2"}"#),
        ("x.yaml", "YAML_A: '1'\nYAML_B: '2'\n"),
        ("x.yml", "YML_A: '1'\nYML_B: '2'\n"),
    ] {
        world.env.write(file, content);
        let out = world.alice.coder(["secret", "import", file]).run().success();
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("Imported 2 secrets.\n", ""));
    }
    assert_eq!(world.names().len(), 8);
    assert_eq!(world.secret("YML_B")["env_name"], "YML_B");
}

#[test]
fn input_format_overrides_extension_and_stdin_needs_it() {
    let world = World::new();
    world.env.write("x.json", "A=1\n");
    let out = world.alice.coder(["secret", "import", "x.json", "--input-format", "ENV"]).run().success();
    assert_eq!(out.stdout, "Imported 1 secret.\n");
    let _ = world.alice.coder(["secret", "import", "-", "--input-format", "env"]).stdin("B=1\n").run().success();
    assert_eq!(world.names(), ["A", "B"]);
    // UnknownExtension
    let infer = |file: &str| {
        let run = world.alice.coder(["secret", "import", file]).stdin("C=1").run().exits(2);
        let said = format!(
            "cannot infer the secrets file format from {file:?}, set --input-format to one of: env, json, yaml"
        );
        run.complains(&said)
    };
    let _ = infer("-");
    let _ = infer("x.txt");
}

#[test]
fn rejects_local_errors_before_sending() {
    let recorder = Recorder::new();
    let env = Env::new();
    let big = format!("A={}", "x".repeat(1_048_576));
    let many = (0..51).map(|n| format!("K{n}=v")).collect::<Vec<_>>().join("\n");
    for (content, complaint) in [
        (b"A=1\nnonsense".as_slice(), "parse \"x.env\": line 2: expected KEY=VALUE but found no '='"),
        (b"A=\xff", "secrets file must contain valid UTF-8"),
        (b"ALPHA=1\nBETA=", "validate \"x.env\": secret 2 (\"BETA\") value: Value is required."),
        (b"# nothing", "parse \"x.env\": no secrets found in file"),
        (big.as_bytes(), "secrets file exceeds the maximum allowed size of 1048576 bytes"),
        (many.as_bytes(), "secrets file holds more than 50 secrets"),
    ] {
        env.write("x.env", content);
        let _ = env.coder(["--url", &recorder.url, "secret", "import", "x.env"]).run().exits(2).complains(complaint);
    }
    let _ =
        env.coder(["--url", &recorder.url, "secret", "import", "absent.env"]).run().exits(2).complains("absent.env");
    // RejectsTTYStdin
    let _ = env
        .coder(["--url", &recorder.url, "secret", "import", "-", "--input-format", "env"])
        .terminal("A=1\n")
        .run()
        .exits(2)
        .complains("secrets file must be provided via non-interactive stdin (pipe or redirect)");
    recorder.saw_nothing();
}

#[test]
fn no_complaint_holds_a_value() {
    let env = Env::new();
    let value = env.canary("imported");
    let file = env.home().join("x");
    for (format, content) in [
        ("env", format!("A=\"{value}")),
        ("env", value.clone()),
        ("json", format!("{{\"A\": {{\"b\": \"{value}\"}}}}")),
        ("json", format!("{{\"A\": \"{value}")),
        ("yaml", format!("A: [{value}]")),
        ("yaml", format!("A: *{value}")),
        ("yaml", format!("A: b: {value}")),
    ] {
        fs::write(&file, content).unwrap();
        let path = file.to_str().unwrap();
        let _ = env
            .coder(["--url", "http://127.0.0.1:1", "secret", "import", path, "--input-format", format])
            .run()
            .exits(2);
    }
}

#[test]
fn warns_about_keys_without_env_names() {
    let world = World::new();
    world.env.write("x.env", "PATH=1\nMY-TOKEN=2\nGOOD=3\n");
    let _ = world
        .alice
        .coder(["secret", "import", "x.env"])
        .run()
        .success()
        .says("Imported 3 secrets.")
        .complains("2 secrets imported without an environment variable name: \"PATH\", \"MY-TOKEN\"")
        .complains("\"PATH\": PATH is a reserved environment variable name")
        .complains("coder secret update <name> --env <ENV_NAME>");
    assert_eq!(world.secret("PATH")["env_name"], "");
    assert_eq!(world.secret("PATH")["enabled"], true);
}

#[test]
fn an_existing_secret_is_never_overwritten() {
    let world = World::new();
    world.env.write("x.env", "A=1\nB=2\n");
    let _ = world.alice.coder(["secret", "import", "x.env"]).run().success();
    world.env.write("y.env", "C=1\nB=2\n");
    let _ = world.alice.coder(["secret", "import", "y.env"]).run().exits(1).complains("import secrets: ");
    assert_eq!(world.names(), ["A", "B"]);
}
