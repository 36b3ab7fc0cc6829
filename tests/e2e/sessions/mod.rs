//! The local socket, and what asks there: `exec`, `env`, `status`, `agent reload`.

mod early;
mod exec;
mod reload;
mod removed;
mod socket;
mod users;
mod waiting;

use std::fs;
use std::path::PathBuf;

use tests::{Agent, AgentBuilder, DEV, Fault, Proxy, World};

/// A world in which alice has an `API_KEY`, and what it is expected to be.
fn with_key() -> World {
    let world = World::with(DEV);
    let value = world.alice.secret("api-key", &["--env", "API_KEY"]);
    expect(&world, &value);
    world
}

/// An agent about to start, whose server is out of reach for as long as the proxy refuses.
fn booting(world: &World) -> (Proxy, AgentBuilder) {
    let proxy = Proxy::new(&world.server);
    proxy.set(Fault::Refuse);
    let agent = world.env.agent(&proxy, &world.workspace);
    (proxy, agent)
}

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
