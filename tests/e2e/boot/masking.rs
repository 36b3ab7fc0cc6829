//! What scripts print of values reaches neither log. The hunt looks too; here the replacement must stand in the place.

use serde_json::json;

use super::{World, log, mode, on_start, on_stop, wait_log};

/// Prints its values in every form that is masked, and parts of them.
const PRINT: &str = r#"
    echo "plain $KEY end"
    echo "twice $KEY$KEY end"
    printf 'split %s' "${KEY%????????}"; printf '%s' "${KEY#"${KEY%????????}"}"; echo ' end'
    printf 'base64 '; printf %s "$KEY" | base64 -w0; echo ' end'
    printf 'shifted '; printf 'x%s' "$KEY" | base64 -w0; echo ' end'
    printf 'line %s end\n' "$(printf %s "$PEM" | sed -n 2p)"
    printf 'file %s end\n' "$(cat ~/token)"
    printf 'template %s end\n' "$TEMPLATE"
    printf 'json {"a":"%s"} end\n' "$(printf %s "$QUOTED" | sed 's/[\\"]/\\&/g')"
    echo "prefix ${KEY%????????????????????} end"
    echo whole:; printf '%s' "$PEM"; echo done:
    printf 'at the end %s' "$KEY"
"#;

/// Scripts whose output has no value left, by the lines that are left.
#[test]
fn values_in_output_are_masked_in_the_file_and_on_the_server() {
    let world = World::new();
    world.alice.secret("key", &["--env", "KEY"]);
    let mark = world.env.canary("mark");
    let pem = format!("-----BEGIN {mark}-----\nMIIEvQ-{mark}-1\nAAAAB3-{mark}-2\n-----END {mark}-----\n");
    world.alice.secret_with("pem", &pem, &["--env", "PEM"]);
    let file_only = world.alice.secret("file-only", &["--file", "~/token"]);
    let quoted = format!("with \"quotes\" and \\ {mark} ü");
    world.alice.secret_with("quoted", &quoted, &["--env", "QUOTED"]);
    let template = "a template's value of many bytes".to_owned();
    let complain = json!({ "display_name": "Complain", "run_on_start": true, "log_path": "complain.log",
                           "script": "echo \"to stderr $KEY end\" >&2" });
    let scripts = json!([on_start("Print", PRINT), complain]);
    let workspace = world.workspace(json!({ "scripts": scripts, "env": { "TEMPLATE": template } }));
    let mut agent = world.agent(&workspace).start();
    workspace.wait_lifecycle("ready");
    wait_log(&workspace, "at the end");
    let printed = std::fs::read_dir(agent.log_dir()).unwrap().map(|entry| entry.unwrap().path());
    let file = printed.into_iter().find(|path| path.to_str().unwrap().contains("coder-script-")).unwrap();
    assert_eq!(mode(&file), 0o600);
    let file = std::fs::read_to_string(&file).unwrap();
    let server = log(&workspace);
    for text in [
        "plain ******** end",
        "split ******** end",
        "line ******** end",
        "file ******** end",
        "template ******** end",
        "json {\"a\":\"********\"} end",
        "at the end ********",
    ] {
        assert!(file.lines().any(|line| line == text), "{text}: {file}");
        assert!(server.iter().any(|line| line == &format!("Print: {text}")), "{text}: {server:#?}");
    }
    for start in ["twice ********", "base64 ********", "shifted "] {
        assert!(file.lines().any(|line| line.starts_with(start) && line.contains("********")), "{start}: {file}");
    }
    wait_log(&workspace, "Complain: to stderr ******** end");
    // The first half of a value is no value, and what is no value stays.
    assert!(file.lines().any(|line| line.starts_with("prefix canary-key-") && line.ends_with(" end")), "{file}");
    assert!(file.contains("whole:\n********\ndone:\n"), "{file}");
    for value in [&mark, &file_only, &template] {
        assert!(!file.contains(value.as_str()));
    }
    world.env.hunt();
    assert_eq!(agent.terminate().code, Some(0));
}

/// What the definition says of a value decides: a secret is masked and keeps its `$`, a path is printed.
#[test]
fn a_definition_says_which_of_its_values_are_secrets() {
    let world = World::new();
    let secret = world.env.canary("template") + "$HOME";
    world.env.watch("template", secret.as_bytes());
    let print = r#"echo "secret $SECRET end"; echo "joined $JOINED end"; echo "path $TOOLS end"; echo "plain $PLAIN end"
        printf %s "$SECRET" > ~/secret; printf %s "$SHORT" > ~/short; echo "short $SHORT end"; echo "port $PORT end""#;
    let env = json!({ "SECRET": { "value": secret, "sensitive": true }, "SHORT": { "value": "pa$SH8", "sensitive": true },
                      "TOOLS": "/opt/tools/directory/of/many/bytes", "PORT": "08080",
                      "PLAIN": { "value": "no secret, but of many bytes", "sensitive": false } });
    let joined = json!([{ "name": "JOINED", "value": "one$HOME", "sensitive": true },
                        { "name": "JOINED", "value": "two", "merge_strategy": "append" }]);
    let workspace = world.workspace_with(json!({ "env": env, "scripts": [on_start("Print", print)] }), &joined);
    let mut agent = world.agent(&workspace).start();
    workspace.wait_lifecycle("ready");
    wait_log(&workspace, "Print: secret ******** end");
    for line in [
        "joined ******** end",
        "path /opt/tools/directory/of/many/bytes end",
        "plain no secret, but of many bytes end",
        "short ******** end",
        "port 08080 end",
    ] {
        wait_log(&workspace, &format!("Print: {line}"));
    }
    assert_eq!(agent.read("secret"), secret);
    assert_eq!(agent.read("short"), "pa$SH8");
    assert_eq!(agent.terminate().code, Some(0));
}

/// What was started before a change prints the old value and reads the new one; its files outlive it.
#[test]
fn a_value_that_was_replaced_is_masked_while_something_may_print_it() {
    let world = World::new();
    world.alice.secret("key", &["--env", "KEY", "--file", "~/key"]);
    let patient = r#"touch ~/started; until test -e ~/go; do sleep 0.05; done
        echo "old $KEY end"; echo "new $(cat ~/key) end""#;
    let scripts = json!([on_start("Patient", patient), on_stop("Late", "echo \"copy $(cat ~/copy) end\"")]);
    let workspace = world.workspace(json!({ "scripts": scripts }));
    let mut agent = world.agent(&workspace).start();
    let _ = agent.wait_read("started");
    // More often than the agent remembers for the sake of files alone.
    for _ in 0..10 {
        std::fs::copy(agent.home().join("key"), agent.home().join("copy")).unwrap();
        let _ = world.alice.coder(["secret", "update", "key"]).stdin(world.env.canary("new")).run().success();
        let _ = agent.coder(["agent", "reload"]).run().success();
    }
    std::fs::write(agent.home().join("go"), "").unwrap();
    wait_log(&workspace, "Patient: old ******** end");
    wait_log(&workspace, "Patient: new ******** end");
    workspace.wait_lifecycle("ready");
    assert_eq!(agent.terminate().code, Some(0));
    wait_log(&workspace, "Late: copy ******** end");
}

/// Values too short to be masked are named once, without the value.
#[test]
fn short_values_are_named_and_not_masked() {
    let world = World::new();
    world.alice.secret_with("pin", "on", &["--env", "SHORT_PIN"]);
    let workspace = world.workspace(json!({ "scripts": [on_start("Print", "echo \"pin: $SHORT_PIN\"")] }));
    let mut agent = world.agent(&workspace).start();
    let line = agent.line_with("too short to be masked", tests::SHORT);
    assert!(line.contains("SHORT_PIN"), "{line}");
    wait_log(&workspace, "Print: pin: on");
    agent.signal(nix::sys::signal::Signal::SIGHUP);
    super::wait_deliveries(&agent, 2);
    assert_eq!(agent.stderr().matches("too short to be masked").count(), 1);
}

/// A log of its own inside the home, where the hunt does not look.
#[test]
fn the_log_path_of_a_script_is_private_and_masked() {
    let world = World::new();
    let value = world.alice.secret("key", &["--env", "KEY"]);
    let script = json!({ "display_name": "Print", "run_on_start": true, "script": "echo \"key $KEY\"",
                         "log_path": "~/logs/$NAME/print.log" });
    let workspace = world.workspace(json!({ "scripts": [script] }));
    let mut agent = world.agent(&workspace).env("NAME", "tools").command(["true"]).start();
    assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
    assert_eq!(agent.read("logs/tools/print.log"), "key ********\n");
    assert!(!agent.read("logs/tools/print.log").contains(&value));
    let path = agent.home().join("logs/tools/print.log");
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
}
