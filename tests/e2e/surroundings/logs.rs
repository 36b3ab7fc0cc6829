//! Where the agent's log is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tests::{DEV, LONG, Process, Run, World, wait_until};

use super::allow_root;

const NAME: &str = "coder-secrets-agent.log";

/// Without `--log-dir`.
fn agent(world: &World, home: &Path) -> Run {
    let run = world.env.coder(["agent", "--agent-url", world.server.url()]).env("HOME", home);
    allow_root(run).env("CODER_AGENT_TOKEN", world.workspace.token()).env("CODER_AGENT_SOCKET", home.join("agent.sock"))
}

#[track_caller]
fn logs_to(mut agent: Process, file: &Path) {
    let written = || fs::read_to_string(file).is_ok_and(|log| log.contains("delivered 0 variables"));
    wait_until(&format!("{}; stderr:\n{}", file.display(), agent.stderr()), LONG, written);
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(agent.terminate().code, Some(0));
}

#[test]
fn each_user_has_a_log_where_the_unit_says_or_with_the_state() {
    let world = World::with(DEV);
    let home = world.env.new_home("homes/logs");
    logs_to(agent(&world, &home).spawn("agent"), &home.join(".local/state/coder-agent").join(NAME));
    let state = world.env.path("state");
    logs_to(agent(&world, &home).env("XDG_STATE_HOME", &state).spawn("agent"), &state.join("coder-agent").join(NAME));
    let unit = world.env.path("of-unit");
    let list = format!("{}:/nonexistent", unit.display());
    logs_to(agent(&world, &home).env("LOGS_DIRECTORY", list).spawn("agent"), &unit.join(NAME));
    let chosen = world.env.path("chosen");
    let run = agent(&world, &home).env("LOGS_DIRECTORY", &unit).env("CODER_AGENT_LOG_DIR", &chosen);
    logs_to(run.spawn("agent"), &chosen.join(NAME));
}

#[test]
fn without_a_home_it_is_in_a_private_directory_among_temporary_files() {
    let world = World::with(DEV);
    let home = world.env.new_home("homes/none");
    let run = agent(&world, &home).env("HOME", "/proc/none");
    let directory = world.env.path("tmp").join(format!("coder-agent-{}", rustix::process::geteuid().as_raw()));
    logs_to(run.spawn("agent"), &directory.join(NAME));
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
}

/// Both agents may run in one workspace, and have been told the same directory.
#[test]
fn the_log_of_coders_own_agent_is_left_alone_and_the_units_variable_is_the_agents() {
    let world = World::with(DEV);
    let home = world.env.new_home("homes/both");
    let logs = world.env.path("both");
    fs::create_dir(&logs).unwrap();
    fs::write(logs.join("coder-agent.log"), "of Coder\n").unwrap();
    let run = agent(&world, &home).env("CODER_AGENT_LOG_DIR", &logs).env("LOGS_DIRECTORY", "/var/log/x");
    let output = run.args(["--", "sh", "-c", "echo ${LOGS_DIRECTORY-unset}"]).run().success();
    assert_eq!(output.stdout, "unset\n");
    assert_eq!(fs::read_to_string(logs.join("coder-agent.log")).unwrap(), "of Coder\n");
    assert!(fs::read_to_string(logs.join(NAME)).unwrap().contains("agent ends"));
}
