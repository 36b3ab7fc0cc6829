//! The local socket, and what asks there: `exec`, `env`, `status`, `agent reload`.

mod early;
mod exec;
mod reload;
mod socket;
mod users;

use std::fs;
use std::path::PathBuf;

use tests::{Agent, DEV, World};

/// An agent that has delivered.
fn ready(world: &World) -> Agent {
    let agent = world.agent().start().listening();
    let _ = agent.coder(["exec", "--wait", "60s", "true"]).run().success();
    agent
}

/// Writes what is expected into the developer's home, where values may be.
fn expect(world: &World, value: &str) -> PathBuf {
    let path = world.env.home().join("expected");
    fs::write(&path, value).unwrap();
    path
}

/// Succeeds where the variable is exactly the file in the caller's home.
const COMPARE: &str = r#"printf %s "$API_KEY" | cmp - ~/expected"#;
