//! What most tests begin with.

use crate::agent::AgentBuilder;
use crate::env::Env;
use crate::server::{Server, User};
use crate::workspace::Workspace;

/// The smallest definition of `alice/dev`.
pub const DEV: &str = "owner: alice\nname: dev\nagent: { name: main }\n";

/// A server, alice, and her workspace.
pub struct World {
    /// Where it all is.
    pub env: Env,
    /// The server.
    pub server: Server,
    /// The only user.
    pub alice: User,
    /// What she owns.
    pub workspace: Workspace,
}

impl World {
    /// With the workspace of this definition, such as [`DEV`].
    #[track_caller]
    pub fn with(definition: &str) -> Self {
        Self::within(Env::new(), definition)
    }

    /// The same in a scratch directory that is there already.
    #[track_caller]
    pub fn within(env: Env, definition: &str) -> Self {
        let server = env.server();
        let alice = env.user("alice");
        let workspace = env.workspace(definition);
        Self { env, server, alice, workspace }
    }

    /// An agent of the workspace, about to start.
    pub fn agent(&self) -> AgentBuilder {
        self.env.agent(&self.server, &self.workspace)
    }
}
