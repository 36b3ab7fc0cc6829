//! What goes wrong between the agent and its server, and how a server ends.

mod dialling;
mod outage;
mod server_end;
pub mod storm;
pub mod writes;

use std::ops::{Deref, DerefMut};

use tests::{Proxy, World};

/// A world whose server is behind a proxy, and a secret.
struct Proxied {
    world: World,
    proxy: Proxy,
    /// In `~/.config/tool` and long enough to be cut within.
    value: String,
}

impl Deref for Proxied {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Proxied {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Proxied {
    fn new(definition: &str) -> Self {
        let world = World::with(definition);
        let value = format!("{}{}", world.env.canary("tool"), "x".repeat(20_000));
        // Not watched as a whole: the hunt finds its beginning, and would take seconds over all of it.
        let create = world.alice.coder(["secret", "create", "tool", "--file", "~/.config/tool"]);
        let _ = create.stdin(&value).run().success();
        Self { proxy: Proxy::new(&world.server), world, value }
    }
}
