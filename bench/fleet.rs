//! What one server carries.

use std::fmt::Write as _;

use tests::{Env, LONG, Process};

use crate::figure::Figure;
use crate::memory;
use crate::report::Report;
use crate::section::Section;
use crate::world::World;

/// Enough that what a connection costs stands out from what the server costs.
const AGENTS: usize = 1000;

pub fn measure(world: &mut World, report: &mut Report) {
    let tokens = tokens(&world.env);
    let mut rates = Section::new("One server: manifests of 50 secrets", "per second");
    rates.ours("over open connections", rate(world, &tokens, "calls"));
    rates.ours("agents that connect and fetch", rate(world, &tokens, "connects"));
    report.add(rates);
    let mut memory = Section::new("One server: memory for each connected agent", "KiB");
    memory.ours(format!("of {AGENTS} agents"), held(world, &tokens));
    report.add(memory);
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

fn rate(world: &World, tokens: &str, work: &str) -> Figure {
    let mut load = load(world, tokens, work);
    let line = load.line_with("per second", LONG);
    assert_eq!(load.exit_within(LONG).code, Some(0));
    Figure::exact(line.split_whitespace().next().and_then(|rate| rate.parse().ok()).expect("a rate"))
}

fn held(world: &World, tokens: &str) -> Figure {
    let before = memory::of(world.server.pid());
    let mut load = load(world, tokens, "hold");
    load.line_with("held", LONG);
    let after = memory::of(world.server.pid());
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    Figure::exact(after.resident.saturating_sub(before.resident) as f64 / AGENTS as f64)
}
