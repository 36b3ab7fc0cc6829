//! Changes while the workspace runs: they arrive, by whichever way, and nothing else happens.

mod coder_agent;
mod delivery;
mod faults;
mod polling;
mod revocation;
mod undo;

use std::fs;

use tests::{Agent, DEV, LONG, World, wait_until};

/// A world in which alice has a `TOKEN`, as a variable and as a file, and its value.
fn with_token() -> (World, String) {
    let world = World::with(DEV);
    let value = world.alice.secret("token", &["--env", "TOKEN", "--file", "~/token"]);
    (world, value)
}

/// An agent that has delivered.
fn ready(world: &World) -> Agent {
    delivered(world.agent().start())
}

fn delivered(agent: Agent) -> Agent {
    let agent = agent.listening();
    let _ = agent.coder(["exec", "--wait", "60s", "true"]).run().success();
    agent
}

/// Gives the token a new value, and returns it.
fn change(world: &World, label: &str) -> String {
    let value = world.env.canary(label);
    set(world, &value);
    value
}

fn set(world: &World, value: &str) {
    world.env.watch("token", value.as_bytes());
    let _ = world.alice.coder(["secret", "update", "token"]).stdin(value).run().success();
}

/// What a command that starts now has for `TOKEN`; empty where there is none.
fn exec(agent: &Agent) -> String {
    let seen = agent.home().join("seen");
    let script = format!("printf %s \"$TOKEN\" > {}", seen.display());
    let _ = agent.coder(["exec", "sh", "-c", &script]).run().success();
    fs::read_to_string(seen).unwrap()
}

/// Waits until both the file and the next command have the value.
#[track_caller]
fn wait_arrived(agent: &Agent, value: &str) {
    wait_until("the new value in its file", LONG, || {
        fs::read_to_string(agent.home().join("token")).is_ok_and(|content| content == value)
    });
    wait_until("the new value in the next command", LONG, || exec(agent) == value);
}

fn status(agent: &Agent) -> serde_json::Value {
    agent.coder(["status", "-o", "json"]).run().json()
}

/// Waits until the server has been told that everything arrived.
#[track_caller]
fn wait_reported(world: &World) {
    wait_until("a report of the last change", LONG, || world.workspace.show_agent()["delivery"]["current"] == true);
}
