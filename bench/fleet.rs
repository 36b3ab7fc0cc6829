//! What one server carries.

use std::fmt::Write as _;

use tests::{Env, LONG, Process};

use crate::memory;
use crate::report::Row;
use crate::world::World;

/// Enough that what a connection costs stands out from what the server costs.
const AGENTS: usize = 1000;

pub fn measure(world: &World) -> Vec<Row> {
    let tokens = tokens(&world.env);
    let calls = rate(world, &tokens, "calls");
    let connects = rate(world, &tokens, "connects");
    vec![
        Row::new("manifests of 50 secrets, over open connections", calls, ""),
        Row::new("agents that connect and fetch their manifest", connects, ""),
        Row::new(format!("server memory for a connected agent, {AGENTS} of them"), held(world, &tokens), ""),
    ]
}

/// Makes the workspaces and a file with the tokens of their agents.
fn tokens(env: &Env) -> String {
    let files: Vec<_> = (0..AGENTS)
        .map(|number| {
            env.write(
                &format!("fleet-{number}.yaml"),
                format!("owner: alice\nname: fleet-{number}\nagent: {{ name: main }}\n"),
            )
        })
        .collect();
    let applied = env.admin(["workspace", "apply", "--json"]).args(files).reveals().run().success().json();
    let mut tokens = String::new();
    for workspace in applied["workspaces"].as_array().expect("workspaces") {
        let _ = writeln!(tokens, "{}", workspace["agents"][0]["token"].as_str().expect("a token"));
    }
    env.write("fleet.tokens", tokens).display().to_string()
}

fn load(world: &World, tokens: &str, work: &str) -> Process {
    let program = std::env::current_exe().expect("our own path");
    world.env.program(program).args(["load", world.server.url(), tokens, work]).spawn("load")
}

fn rate(world: &World, tokens: &str, work: &str) -> String {
    let mut load = load(world, tokens, work);
    let line = load.line_with("per second", LONG);
    assert_eq!(load.exit_within(LONG).code, Some(0));
    line
}

fn held(world: &World, tokens: &str) -> String {
    let before = memory::of(world.server.pid());
    let mut load = load(world, tokens, "hold");
    load.line_with("held", LONG);
    let after = memory::of(world.server.pid());
    let each = after.resident.saturating_sub(before.resident) / AGENTS as u64;
    format!("{each} KiB (resident {} MiB before, {} MiB with them)", before.resident / 1024, after.resident / 1024)
}
