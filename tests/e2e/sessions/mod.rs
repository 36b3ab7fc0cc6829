//! The local socket, and what asks there: `exec`, `env`, `status`, `agent reload`.

mod early;
mod exec;
mod reload;
mod socket;
mod users;

use std::fs;
use std::path::PathBuf;

use tests::{Agent, Env, Server, User, Workspace};

/// A server, alice, and her workspace.
struct World {
    env: Env,
    server: Server,
    alice: User,
    workspace: Workspace,
}

impl World {
    fn new() -> Self {
        Self::with("owner: alice\nname: dev\nagent: { name: main }\n")
    }

    fn with(definition: &str) -> Self {
        let env = Env::new();
        let server = env.server();
        let alice = env.user("alice");
        let workspace = env.workspace(definition);
        Self { env, server, alice, workspace }
    }

    /// An agent that has delivered.
    fn agent(&self) -> Agent {
        let agent = self.env.agent(&self.server, &self.workspace).start().listening();
        let _ = agent.coder(["exec", "--wait", "60s", "true"]).run().success();
        agent
    }

    /// Writes what is expected into the developer's home, where values may be.
    fn expect(&self, value: &str) -> PathBuf {
        let path = self.env.home().join("expected");
        fs::write(&path, value).unwrap();
        path
    }
}

/// Succeeds where the variable is exactly the file in the caller's home.
const COMPARE: &str = r#"printf %s "$API_KEY" | cmp - ~/expected"#;
