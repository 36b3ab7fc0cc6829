//! What goes wrong between the agent and its server, and how a server ends.

mod dialling;
mod outage;
mod server_end;
mod storm;
pub mod writes;

use tests::{Env, Proxy, Server, User, Workspace};

/// A server behind a proxy, and a workspace with a secret.
struct World {
    env: Env,
    server: Server,
    proxy: Proxy,
    alice: User,
    workspace: Workspace,
    /// In `~/.config/tool` and long enough to be cut within.
    value: String,
}

impl World {
    fn new(definition: &str) -> Self {
        let env = Env::new();
        let server = env.server();
        let proxy = Proxy::new(&server);
        let alice = env.user("alice");
        let value = format!("{}{}", env.canary("tool"), "x".repeat(20_000));
        // Not watched as a whole: the hunt finds its beginning, and would take seconds over all of it.
        let create = alice.coder(["secret", "create", "tool", "--file", "~/.config/tool"]);
        let _ = create.stdin(&value).run().success();
        let workspace = env.workspace(definition);
        Self { env, server, proxy, alice, workspace, value }
    }
}
