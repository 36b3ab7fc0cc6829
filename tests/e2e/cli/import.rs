//! `coder secret import`.

use std::fs;

use tests::Env;

use super::{World, recorder};

#[test]
fn infers_format_from_extension() {
    let world = World::new();
    for (file, content) in [
        (".env", "ENV_A=1\nENV_B=2\n"),
        (".env.local", "LOCAL_A=1\nLOCAL_B=2\n"),
        ("x.json", r#"{"JSON_A":"1","JSON_B":"2"}"#),
        ("x.yaml", "YAML_A: '1'\nYAML_B: '2'\n"),
        ("x.yml", "YML_A: '1'\nYML_B: '2'\n"),
    ] {
        world.env.write(file, content);
        let out = world.alice.coder(["secret", "import", file]).run().success();
        assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("Imported 2 secrets.\n", ""));
    }
    assert_eq!(world.alice.names().len(), 10);
    assert_eq!(world.alice.stored("YML_B")["env_name"], "YML_B");
}

#[test]
fn input_format_overrides_extension_and_stdin_needs_it() {
    let world = World::new();
    world.env.write("x.json", "A=1\n");
    let out = world.alice.coder(["secret", "import", "x.json", "--input-format", "ENV"]).run().success();
    assert_eq!(out.stdout, "Imported 1 secret.\n");
    let _ = world.alice.coder(["secret", "import", "-", "--input-format", "env"]).stdin("B=1\n").run().success();
    assert_eq!(world.alice.names(), ["A", "B"]);
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
    let recorder = recorder();
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
        let _ = env.coder(["--url", recorder.url(), "secret", "import", "x.env"]).run().exits(2).complains(complaint);
    }
    let _ =
        env.coder(["--url", recorder.url(), "secret", "import", "absent.env"]).run().exits(2).complains("absent.env");
    // RejectsTTYStdin
    let _ = env
        .coder(["--url", recorder.url(), "secret", "import", "-", "--input-format", "env"])
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
    assert_eq!(world.alice.stored("PATH")["env_name"], "");
    assert_eq!(world.alice.stored("PATH")["enabled"], true);
}

#[test]
fn an_existing_secret_is_never_overwritten() {
    let world = World::new();
    world.env.write("x.env", "A=1\nB=2\n");
    let _ = world.alice.coder(["secret", "import", "x.env"]).run().success();
    world.env.write("y.env", "C=1\nB=2\n");
    let _ = world.alice.coder(["secret", "import", "y.env"]).run().exits(1).complains("import secrets: ");
    assert_eq!(world.alice.names(), ["A", "B"]);
}

#[test]
fn doubtful_lines_are_warned_about_without_their_value() {
    let world = World::new();
    let value = world.env.canary("rotated");
    // Values may be in homes alone.
    let import = |file: &str, content: String| {
        fs::write(world.env.home().join(file), content).unwrap();
        world.alice.coder(["secret", "import", file]).cwd(world.env.home()).run()
    };
    let out = import(".env.production", format!("# fine\nDB_PASS={value} # rotate in May\nB='x # y'\n")).success();
    assert_eq!(out.stderr.lines().count(), 1, "{}", out.stderr);
    let _ = out.says("Imported 2 secrets.").complains("Warning: line 2 (\"DB_PASS\"): the text from # on is stored");
    // A value of several lines is refused with the formats that have them.
    let run = import("pem.env", format!("KEY=\"-----BEGIN\n{value}\n\"\n")).exits(2);
    let _ = run.complains("line 1: missing closing double quote").complains("json or yaml");
}

#[test]
fn empty_values_are_left_out_on_request() {
    let world = World::new();
    world.env.write("x.env", "A=1\nEMPTY=\nB=2\n");
    let refused = world.alice.coder(["secret", "import", "x.env"]).run().exits(2);
    let _ = refused.complains("Value is required.").complains("--skip-empty");
    let out = world.alice.coder(["secret", "import", "x.env", "--skip-empty"]).run().success();
    let _ = out.says("Imported 2 secrets.").complains("Left out 1 secret without a value: \"EMPTY\"");
    assert_eq!(world.alice.names(), ["A", "B"]);
    world.env.write("y.env", "C=\n");
    let _ = world.alice.coder(["secret", "import", "y.env", "--skip-empty"]).run().exits(2).complains("no secrets");
}

#[test]
fn a_second_import_can_update_and_a_dry_run_changes_nothing() {
    let world = World::new();
    world.alice.secret("A", &["--env", "ALPHA", "--description", "kept"]);
    world.env.write("x.env", "A=1\nB=2\nC-C=3\nD=\n");
    let import = |flags: &[&str]| world.alice.coder(["secret", "import", "x.env", "--skip-empty"]).args(flags).run();
    let before = world.alice.rest().get("/users/me/secrets").expect(200).text;

    let planned = import(&["--dry-run", "--update"]).success();
    assert_eq!(
        planned.stdout,
        "create  B  (environment variable B)\ncreate  C-C  (no environment variable)\nupdate  A\nskip    D  (no value)\n"
    );
    let refused = import(&["--dry-run"]).exits(1);
    let refused = refused.says("exists  A\n");
    let _ = refused.complains("these secrets exist already: \"A\"; to change their values: --update");
    let _ = import(&[]).exits(1).complains("--update");
    assert_eq!(world.alice.rest().get("/users/me/secrets").expect(200).text, before);

    let done = import(&["--update"]).success().says("Imported 2 secrets.\nUpdated 1 secret.\n");
    let _ = done.complains("Left out 1 secret without a value: \"D\"");
    assert_eq!(world.alice.names(), ["A", "B", "C-C"]);
    let updated = world.alice.stored("A");
    assert_eq!((&updated["env_name"], &updated["description"]), (&"ALPHA".into(), &"kept".into()));
    assert!(updated["updated_at"].as_str() > updated["created_at"].as_str(), "{updated}");
    // And once more, with nothing new.
    assert_eq!(import(&["--update"]).success().stdout, "Updated 3 secrets.\n");
}
