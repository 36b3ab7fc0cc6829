//! Startup and stop scripts: how they run, and what is told of them.

use serde_json::json;
use tests::{Need, requires};

use super::{World, log, on_start, on_stop, result, states, wait_log};

/// Each waits for the other, so one after the other would never end.
#[test]
fn startup_scripts_run_side_by_side_after_the_files() {
    let world = World::new();
    let key = world.alice.secret("key", &["--env", "KEY", "--file", "~/key"]);
    let meet = |own: &str, other: &str| {
        format!("touch ~/{own}; until [ -e ~/{other} ]; do sleep 0.02; done; cat ~/key > ~/{own}.tmp; echo met {own}")
    };
    let workspace = world.workspace(json!({ "scripts": [
        on_start("One", &meet("one", "two")), on_start("Two", &meet("two", "one")), on_stop("Stop", "true"),
    ] }));
    let mut agent = world.agent(&workspace).start();
    workspace.wait_lifecycle("ready");
    assert_eq!((agent.read("one.tmp"), agent.read("two.tmp")), (key.clone(), key));
    assert_eq!((result(&workspace, "One"), result(&workspace, "Two")), ("ok 0".into(), "ok 0".into()));
    assert_eq!(result(&workspace, "Stop"), "none");
    wait_log(&workspace, "One: met one");
    wait_log(&workspace, "Two: met two");
    assert_eq!(states(&workspace), ["starting", "ready"]);
    assert_eq!(agent.terminate().code, Some(0), "{}", agent.stderr());
    assert_eq!(states(&workspace), ["starting", "ready", "shutting_down", "off"]);
    assert_eq!(result(&workspace, "Stop"), "ok 0");
}

#[test]
fn exit_codes_are_reported_and_a_failure_is_a_start_error() {
    let world = World::new();
    let workspace = world.workspace(json!({ "scripts": [
        on_start("Fine", "true"),
        on_start("Three", "echo out; echo err >&2; exit 3"),
        on_start("Missing", "no-such-command-here"),
        on_start("Killed", "kill -9 $$"),
        on_start("No interpreter", "#!/no/such/interpreter\necho"),
    ] }));
    let mut agent = world.agent(&workspace).start();
    workspace.wait_lifecycle("start_error");
    for (script, expected) in [
        ("Fine", "ok 0"),
        ("Three", "exit_failure 3"),
        ("Missing", "exit_failure 127"),
        ("Killed", "exit_failure 255"),
        ("No interpreter", "exit_failure 127"),
    ] {
        assert_eq!(result(&workspace, script), expected, "{script}");
    }
    for text in ["Three: out", "Three: err", "Missing: ", "No interpreter: "] {
        wait_log(&workspace, text);
    }
    assert!(log(&workspace).iter().any(|line| line.contains("/no/such/interpreter")), "{:#?}", log(&workspace));
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(states(&workspace), ["starting", "start_error", "shutting_down", "off"]);
}

#[test]
fn streams_keep_their_levels_and_lines() {
    let world = World::new();
    let script = "echo out; echo err >&2; printf 'a\\r\\n\\n  b\\tc'";
    let workspace = world.workspace(json!({ "scripts": [on_start("Print", script)] }));
    let _agent = world.agent(&workspace).start();
    wait_log(&workspace, "b\tc");
    let shown = workspace.show_agent();
    let lines = shown["startup_log"].as_array().unwrap();
    let level = |text: &str| lines.iter().find(|line| line["output"] == text).map(|line| line["level"].clone());
    assert_eq!((level("out"), level("err")), (Some("info".into()), Some("error".into())));
    for text in ["a", "", "  b\tc"] {
        assert!(level(text).is_some(), "{text:?}: {lines:#?}");
    }
}

#[test]
fn stop_scripts_run_with_the_secrets_when_the_agent_is_stopped() {
    let world = World::new();
    let key = world.alice.secret("key", &["--env", "KEY"]);
    let workspace = world.workspace(json!({ "scripts": [
        on_start("Start", "echo start >> ~/order"),
        on_stop("Stop", "echo stop >> ~/order; printf %s \"$KEY\" > ~/stop-saw; echo bye"),
    ] }));
    let mut agent = world.agent(&workspace).start();
    workspace.wait_lifecycle("ready");
    assert_eq!(agent.terminate().code, Some(0), "{}", agent.stderr());
    assert_eq!((agent.read("order").as_str(), agent.read("stop-saw")), ("start\nstop\n", key));
    // The last lines arrive although the connection is about to close.
    assert!(log(&workspace).contains(&"Stop: bye".to_owned()), "{:#?}", log(&workspace));
    assert_eq!(states(&workspace), ["starting", "ready", "shutting_down", "off"]);
    super::wait_status(&workspace, "disconnected");
}

#[test]
fn a_stop_script_that_fails_is_a_shutdown_error() {
    let world = World::new();
    let workspace = world.workspace(json!({ "scripts": [on_stop("Stop", "exit 4")] }));
    let mut agent = world.agent(&workspace).start();
    workspace.wait_lifecycle("ready");
    assert_eq!(agent.terminate().code, Some(0), "{}", agent.stderr());
    assert_eq!(result(&workspace, "Stop"), "exit_failure 4");
    assert_eq!(states(&workspace), ["starting", "ready", "shutting_down", "shutdown_error"]);
}

/// As a file, because `perl -c` would only check the syntax; and after the empty line that a heredoc begins with.
#[test]
fn a_script_names_its_interpreter() {
    if !requires("a_script_names_its_interpreter", &[Need::Program("perl", "perl-base")]) {
        return;
    }
    let world = World::new();
    let key = world.alice.secret("key", &["--env", "KEY"]);
    let perl = "\n#!/usr/bin/perl -w\nopen(my $f, '>', \"$ENV{HOME}/perl\"); print $f $ENV{KEY}; exit 5;\n";
    let awk = "#!/usr/bin/env -S awk -f\nBEGIN { printf \"%s\", ENVIRON[\"KEY\"] > (ENVIRON[\"HOME\"] \"/awk\") }\n";
    let workspace = world.workspace(json!({ "scripts": [on_start("Perl", perl), on_start("Awk", awk)] }));
    let mut agent = world.agent(&workspace).command(["true"]).start();
    assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
    assert_eq!((agent.read("perl"), agent.read("awk")), (key.clone(), key));
    assert_eq!((result(&workspace, "Perl"), result(&workspace, "Awk")), ("exit_failure 5".into(), "ok 0".into()));
}

/// The kernel takes 128 KiB as one argument.
#[test]
fn a_script_may_be_longer_than_an_argument() {
    let world = World::new();
    let script = format!("{}printf end > ~/end\n", "# a comment that makes the script long\n".repeat(10_000));
    let workspace = world.workspace(json!({ "scripts": [on_start("Long", &script)] }));
    let mut agent = world.agent(&workspace).command(["true"]).start();
    assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
    assert_eq!(agent.read("end"), "end");
}

#[test]
fn scripts_start_in_the_directory_of_the_template_else_at_home() {
    let world = World::new();
    let home = world.home();
    std::fs::create_dir(home.join("project")).unwrap();
    let apply = |dir: &str| world.workspace(json!({ "dir": dir, "scripts": [on_start("Where", "pwd > ~/where")] }));
    // The first one has the token, which stays valid.
    let workspace = apply("~/project");
    for (dir, expected) in [("~/project", home.join("project")), ("~/missing", home.clone()), ("/", "/".into())] {
        apply(dir);
        let agent = world.boot_in(&workspace, &home);
        assert_eq!(agent.read("where").trim_end(), expected.display().to_string(), "{dir}");
        assert_eq!(workspace.show_agent()["expanded_directory"], expected.display().to_string(), "{dir}");
    }
}
