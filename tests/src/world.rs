//! What most tests begin with.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::agent::{Agent, AgentBuilder};
use crate::env::Env;
use crate::server::{Server, User};
use crate::workspace::Workspace;

/// The smallest definition of `alice/dev`.
pub const DEV: &str = "owner: alice\nname: dev\nagent: { name: main }\n";

/// A server and alice, and her workspace where there is one: `World<()>` has none yet.
///
/// A theme that needs more puts a world into a type of its own, named after what it adds.
pub struct World<W = Workspace> {
    /// Where it all is.
    pub env: Env,
    /// The server.
    pub server: Server,
    /// The first user; more come from [`Env::user`].
    pub alice: User,
    /// What she owns.
    pub workspace: W,
}

/// A world about to start.
#[must_use]
pub struct WorldBuilder {
    env: Option<Env>,
    server: Vec<OsString>,
}

impl WorldBuilder {
    /// Uses this scratch directory, such as [`Env::quiet`].
    pub fn within(mut self, env: Env) -> Self {
        self.env = Some(env);
        self
    }

    /// Further flags of `coder-server serve`.
    pub fn server<A: AsRef<OsStr>>(mut self, flags: impl IntoIterator<Item = A>) -> Self {
        self.server.extend(flags.into_iter().map(|flag| flag.as_ref().to_owned()));
        self
    }

    /// Starts the server and makes alice.
    #[track_caller]
    pub fn start(self) -> World<()> {
        let env = self.env.unwrap_or_default();
        let server = env.server_with(&self.server);
        let alice = env.user("alice");
        World { env, server, alice, workspace: () }
    }

    /// The same, and applies this definition, such as [`DEV`].
    #[track_caller]
    pub fn with(self, definition: &str) -> World {
        let World { env, server, alice, workspace: () } = self.start();
        let workspace = env.workspace(definition);
        World { env, server, alice, workspace }
    }
}

impl World {
    /// With the workspace of this definition, such as [`DEV`].
    #[track_caller]
    pub fn with(definition: &str) -> Self {
        World::builder().with(definition)
    }

    /// An agent of the workspace, about to start.
    pub fn agent(&self) -> AgentBuilder {
        self.env.agent(&self.server, &self.workspace)
    }
}

impl World<()> {
    /// A server and alice.
    #[track_caller]
    pub fn new() -> Self {
        Self::builder().start()
    }

    /// A world whose server or scratch directory is not the usual one.
    pub fn builder() -> WorldBuilder {
        WorldBuilder { env: None, server: Vec::new() }
    }

    /// A server with further flags, and alice.
    #[track_caller]
    pub fn with_server<A: AsRef<OsStr>>(flags: impl IntoIterator<Item = A>) -> Self {
        Self::builder().server(flags).start()
    }

    /// Applies `alice/dev` with an agent of these settings.
    #[track_caller]
    pub fn workspace(&self, agent: Value) -> Workspace {
        self.workspace_with(agent, &json!([]))
    }

    /// The same with `coder_env` resources.
    #[track_caller]
    pub fn workspace_with(&self, mut agent: Value, env: &Value) -> Workspace {
        agent["name"] = "main".into();
        // JSON is YAML, and needs no thought about quotes in scripts.
        self.env.workspace(&json!({ "owner": "alice", "name": "dev", "agent": agent, "env": env }).to_string())
    }

    /// An agent of `workspace`, about to start.
    pub fn agent(&self, workspace: &Workspace) -> AgentBuilder {
        self.env.agent(&self.server, workspace)
    }

    /// Boots an agent in `home` to the point where the files are settled, and ends it.
    #[track_caller]
    pub fn boot_in(&self, workspace: &Workspace, home: &Path) -> Agent {
        let mut agent = self.agent(workspace).home(home).command(["true"]).start();
        assert_eq!(agent.exit().code, Some(0), "{}", agent.stderr());
        agent
    }

    /// Makes a home before its agent starts.
    pub fn home(&self) -> PathBuf {
        self.env.new_home("homes/prepared")
    }
}

impl Default for World<()> {
    fn default() -> Self {
        Self::new()
    }
}
