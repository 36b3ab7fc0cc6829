//! The product's spine: what `coder secret` stored is in the workspace when it starts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tests::World;

const DEFINITION: &str = r#"
owner: alice
name: dev
agent:
  name: main
  env: { API_KEY: placeholder, GREETING: "hello from $HOME" }
  scripts:
    - display_name: Prepare
      run_on_start: true
      script: |
        echo "the key is $API_KEY"
        printf '%s' "$API_KEY" > ~/script-saw
        printf '%s' "$GREETING" > ~/greeting
        cat ~/.config/tool/config.json > ~/script-read
"#;

/// Prints nothing, because everything it knows is secret.
const MAIN: &str = "printf '%s' \"$API_KEY\" > ~/main-saw; printf '%s' \"$SERVICE_TOKEN\" > ~/token-saw; exit 7";

#[test]
fn secrets_are_in_file_script_and_main_process() {
    let World { env, server, alice, workspace } = World::with(DEFINITION);
    let key = alice.secret("api-key", &["--description", "API key for workspace tools", "--env", "API_KEY"]);
    let config = alice.secret("tool-config", &["--file", "~/.config/tool/config.json"]);
    let token = alice.secret("service-token", &["--env", "SERVICE_TOKEN", "--file", "~/.config/service/token"]);

    let mut agent = env.agent(&server, &workspace).command(["sh", "-c", MAIN]).start();
    assert_eq!(agent.exit().code, Some(7), "{}", agent.stderr());

    assert_eq!(agent.read("script-saw"), key);
    assert_eq!(agent.read("main-saw"), key);
    assert_eq!(agent.read("script-read"), config);
    assert_eq!(agent.read("token-saw"), token);
    assert_eq!(agent.read(".config/service/token"), token);
    assert_eq!(agent.read("greeting"), format!("hello from {}", agent.home().display()));
    let mode = |path: &str| fs::metadata(agent.home().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(".config/tool/config.json"), mode(".config/tool")), (0o600, 0o700));
    env.hunt();
}

#[test]
fn an_agent_without_a_main_process_is_ready_until_it_is_stopped() {
    let world = World::with(DEFINITION);
    world.alice.secret("api-key", &["--env", "API_KEY"]);
    world.alice.secret("tool-config", &["--file", "~/.config/tool/config.json"]);

    let mut agent = world.agent().start();
    world.workspace.wait_lifecycle("ready");
    world.env.hunt();
    assert_eq!(agent.terminate().code, Some(0), "{}", agent.stderr());
    world.workspace.wait_lifecycle("off");
}
