//! What it costs to start a process in the environment.

use std::fmt::Write as _;
use std::fs;

use tests::binaries;

use crate::report::Row;
use crate::world::{World, hyperfine};

/// Of each kind.
const VARIABLES: usize = 50;

pub fn measure(world: &World) -> Vec<Row> {
    let env = &world.env;
    let bob = env.user("bob");
    let directory = env.new_home("homes/envdir");
    let mut template = String::new();
    for number in 0..VARIABLES {
        let value = bob.secret(&format!("variable-{number}"), &["--env", &format!("SECRET_{number}")]);
        fs::write(directory.join(format!("SECRET_{number}")), value).expect("write a variable");
        fs::write(directory.join(format!("TEMPLATE_{number}")), "a value of the template").expect("write a variable");
        let _ = write!(template, "TEMPLATE_{number}: a value of the template, ");
    }
    let definition = format!("owner: bob\nname: exec\nagent:\n  name: main\n  env: {{ {template} }}\n");
    let agent = env.agent(&world.server, &env.workspace(&definition)).start().listening();
    let _ = agent.coder(["exec", "--wait", "1m", "true"]).run().success();

    let socket = agent.socket().display().to_string();
    let variables = [("CODER_AGENT_SOCKET", socket.as_str())];
    let time = |command: &str| hyperfine(env, command, &variables, None, false);
    let bare = time("true");
    let envdir = time(&format!("envdir {} true", directory.display()));
    let exec = time(&format!("{} exec true", binaries().coder.display()));
    let ratio = exec.mean / envdir.mean;
    vec![
        Row::new("`true`", bare.text(), ""),
        Row::new("`envdir DIR true`, 100 variables", envdir.text(), ""),
        Row::new("`coder exec true`, 50 secrets and 50 template variables", exec.text(), ""),
        Row::new("`coder exec` to `envdir`", format!("{ratio:.2} times"), "at most 2 times"),
    ]
}
