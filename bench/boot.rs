//! How long a developer waits.

use tests::binaries;

use crate::report::Row;
use crate::world::{World, hyperfine};

pub fn measure(world: &World) -> Vec<Row> {
    let what = "`coder agent` to the first instruction of the startup script, 50 secrets (25 files)";
    vec![
        Row::new(format!("{what}, files as they were"), boot(world, false), "below 15 ms"),
        Row::new(format!("{what}, an empty home"), boot(world, true), "below 15 ms"),
        Row::new("`coder secret list`, 50 secrets", list(world), "below 10 ms"),
    ]
}

fn boot(world: &World, fresh: bool) -> String {
    let env = &world.env;
    let home = env.new_home("homes/boot");
    let logs = env.path("logs");
    let (home, logs) = (home.display().to_string(), logs.display().to_string());
    let as_root = if rustix::process::geteuid().is_root() { " --allow-root" } else { "" };
    let command = format!("{} agent --log-dir {logs}{as_root}", binaries().coder.display());
    let socket = format!("{}/agent.sock", env.path("tmp").display());
    let variables = [
        ("HOME", home.as_str()),
        ("CODER_AGENT_URL", world.server.url()),
        ("CODER_AGENT_TOKEN", world.stopwatch.token()),
        ("CODER_AGENT_SOCKET", &socket),
    ];
    let prepare = format!("rm -rf {home}/.secrets");
    hyperfine(env, &command, &variables, fresh.then_some(&prepare), true).text()
}

fn list(world: &World) -> String {
    let command = format!("{} secret list", binaries().coder.display());
    let variables = [("CODER_URL", world.server.url()), ("CODER_SESSION_TOKEN", world.alice.token.as_str())];
    hyperfine(&world.env, &command, &variables, None, false).text()
}
