//! A workspace that the server knows.

use std::fs;

use serde_json::Value;

use crate::env::Env;
use crate::wait::{LONG, poll};

/// An applied workspace definition.
pub struct Workspace {
    env: Env,
    /// Its owner's name.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// Its agents.
    pub agents: Vec<AgentToken>,
}

/// An agent of a workspace.
pub struct AgentToken {
    /// Its name in the definition.
    pub name: String,
    /// Its token; empty where the agent was known before.
    pub token: String,
}

impl Workspace {
    #[track_caller]
    pub(crate) fn apply(env: &Env, definition: &str) -> Self {
        // Its author's file, which may hold values of the template.
        let file = env.home().join("workspace.yaml");
        fs::write(&file, definition).expect("write a definition");
        let applied = env.admin(["workspace", "apply", "--json"]).arg(file).reveals().run().success().json();
        let workspace = &applied["workspaces"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let agents = workspace["agents"].as_array().expect("agents").iter();
        let agents: Vec<_> =
            agents.map(|agent| AgentToken { name: text(&agent["name"]), token: text(&agent["token"]) }).collect();
        for agent in agents.iter().filter(|agent| !agent.token.is_empty()) {
            env.watch(&format!("token of agent {}", agent.name), agent.token.as_bytes());
        }
        Self { env: env.clone(), owner: text(&workspace["owner"]), name: text(&workspace["name"]), agents }
    }

    /// The token of its first agent.
    pub fn token(&self) -> &str {
        &self.agents.first().expect("an agent").token
    }

    /// What the administrator sees of it.
    #[track_caller]
    pub fn show(&self) -> Value {
        let name = format!("{}/{}", self.owner, self.name);
        self.env.admin(["workspace", "show", &name, "--json"]).run().success().json()
    }

    /// The first agent, as the administrator sees it.
    #[track_caller]
    pub fn show_agent(&self) -> Value {
        self.show()["agents"][0].take()
    }

    /// Waits until the server has heard of this lifecycle state.
    #[track_caller]
    pub fn wait_lifecycle(&self, state: &str) {
        let mut seen = Vec::new();
        let reached = poll(LONG, || {
            let now = self.show_agent()["lifecycle_state"].as_str().unwrap_or_default().to_owned();
            let reached = now == state;
            if seen.last() != Some(&now) {
                seen.push(now);
            }
            reached.then_some(())
        });
        assert!(reached.is_some(), "lifecycle {state} within {LONG:?}; seen: {seen:?}");
    }
}
