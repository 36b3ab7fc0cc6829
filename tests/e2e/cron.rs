//! Scripts on a schedule, and the directories of scripts.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tests::{DEV, LONG, World, wait_for, wait_until};

const SCHEDULED: &str = r#"
owner: alice
name: dev
agent:
  name: main
  scripts:
    - display_name: Start
      run_on_start: true
      script: 'while ! test -e ~/go; do sleep 0.01; done; echo started > ~/order'
    - display_name: Every second
      cron: '* * * * * *'
      script: 'echo "tick with $API_KEY"; printf %s "$API_KEY" > ~/tick-saw; echo tick >> ~/order; exit 4'
    - display_name: Endless
      cron: '* * * * * *'
      script: 'echo up >> ~/endless; exec sleep 1000'
    - display_name: Never
      cron: '0 0 0 30 2 *'
      script: 'touch ~/never'
"#;

#[test]
fn scheduled_scripts_run_after_the_start_at_their_times_and_never_twice_at_once() {
    let world = World::with(SCHEDULED);
    let key = world.alice.secret("api-key", &["--env", "API_KEY"]);
    let mut agent = world.agent().start();
    let workspace = &world.workspace;
    workspace.wait_lifecycle("starting");
    agent.line_with("delivered", LONG);
    assert!(!agent.home().join("order").exists());
    fs::write(agent.home().join("go"), "").unwrap();

    let order = || fs::read_to_string(agent.home().join("order")).unwrap_or_default();
    wait_until("three runs", LONG, || order().lines().count() >= 4);
    assert!(order().starts_with("started\ntick\ntick\ntick\n"), "{}", order());
    assert_eq!(agent.read("tick-saw"), key);
    let result = wait_for("the result of a scheduled script", LONG, || {
        let agent = workspace.show_agent();
        agent["script_results"].as_array()?.iter().find(|it| it["display_name"] == "Every second").cloned()
    });
    assert_eq!((result["stage"].as_str(), result["status"].as_str()), (Some("cron"), Some("exit_failure")));
    assert_eq!(result["exit_code"], 4);

    let log = |text: &str| {
        let agent = workspace.show_agent();
        let lines = agent["startup_log"].as_array().cloned().unwrap_or_default();
        lines.iter().filter(|line| line["output"].as_str().is_some_and(|it| it.contains(text))).count()
    };
    wait_until("masked output", LONG, || log("tick with ********") > 0);
    wait_until("a word about the run that was left out", LONG, || log("not started at its time") == 1);
    wait_until("a word about the schedule that is none", LONG, || log("script \"Never\" never runs") == 1);
    assert_eq!(agent.read("endless"), "up\n");

    // An endless run does not keep the workspace from ending.
    agent.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
    workspace.wait_lifecycle("off");
}

const DIRECTORIES: &str = r#"
owner: alice
name: dev
agent:
  name: main
  scripts:
    - display_name: Install
      run_on_start: true
      script: |
        printf '#!/bin/sh\necho "tool of the workspace"\n' > "$CODER_SCRIPT_BIN_DIR/workspace-tool"
        chmod +x "$CODER_SCRIPT_BIN_DIR/workspace-tool"
        echo kept >> "$CODER_SCRIPT_DATA_DIR/state"
        cp "$CODER_SCRIPT_DATA_DIR/state" ~/state
        printf %s "$CODER_SCRIPT_DATA_DIR" > ~/data-dir.new && mv ~/data-dir.new ~/data-dir
"#;

const MAIN: &str = "while ! test -e ~/data-dir; do sleep 0.01; done; workspace-tool > ~/tool-said; echo ${PATH%%:*}";

#[test]
fn scripts_have_directories_that_stay_and_their_programs_are_in_every_path() {
    let world = World::with(DIRECTORIES);
    let base = world.env.path("script-data");
    let flag = ["--script-data-dir", base.to_str().unwrap()];
    let start = || world.agent().args(flag).command(["sh", "-c", MAIN]);

    let mut first = start().start();
    assert_eq!(first.exit().code, Some(0), "{}", first.stderr());
    assert_eq!(first.read("tool-said"), "tool of the workspace\n");
    let bin = base.join("coder-script-data/bin");
    assert_eq!(first.stdout().trim(), bin.to_str().unwrap());
    let data = first.read("data-dir");
    for dir in [bin.to_str().unwrap(), &data] {
        assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o7777, 0o700, "{dir}");
    }

    let mut second = start().start();
    assert_eq!(second.exit().code, Some(0), "{}", second.stderr());
    assert_eq!(second.read("data-dir"), data);
    assert_eq!(second.read("state"), "kept\nkept\n");
}

#[test]
fn a_directory_that_others_may_write_to_is_not_used() {
    let world = World::with(DEV);
    let base = world.env.path("script-data");
    let root = base.join("coder-script-data");
    fs::create_dir_all(&root).unwrap();
    fs::set_permissions(&root, PermissionsExt::from_mode(0o777)).unwrap();

    let agent = world.agent().args(["--script-data-dir", base.to_str().unwrap()]);
    let mut agent = agent.command(["sh", "-c", "echo $PATH"]).start();
    assert_eq!(agent.exit().code, Some(0));
    assert!(!agent.stdout().contains("coder-script-data"), "{}", agent.stdout());
    assert!(agent.stderr().contains("other users may write to it"), "{}", agent.stderr());
}
