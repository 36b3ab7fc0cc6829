//! Requests and answers about definitions, below `/api/v2/definitions`, and what people are shown of them. Both executables show the same.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::definition::Definition;
use crate::secret::{self, Secret};

/// `POST /definitions`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ApplyRequest {
    /// All of them are applied, or none.
    pub definitions: Vec<Definition>,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// What an apply came to.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Applied {
    /// In the order of the definitions.
    pub workspaces: Vec<AppliedWorkspace>,
}

/// What applying one definition came to.
#[derive(Debug, Serialize, Deserialize)]
pub struct AppliedWorkspace {
    /// The owner's name, as the user is spelt.
    pub owner: String,
    /// The workspace.
    pub name: String,
    /// Whether it is new.
    pub created: bool,
    /// Whether it is stopped now.
    pub stopped: bool,
    /// Identifies what it was applied from. A change makes a new one.
    pub build_id: Uuid,
    /// What changed, such as `agent main: variable A changed`. Empty: nothing.
    pub changes: Vec<String>,
    /// Its agents, in the order of the definition.
    pub agents: Vec<AppliedAgent>,
    /// Agents that the definition no longer has; their tokens are dead.
    pub removed: Vec<String>,
    /// What the owner should know, a sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// An agent of an applied definition.
#[derive(Debug, Serialize, Deserialize)]
pub struct AppliedAgent {
    /// Its name.
    pub name: String,
    /// Its token, where the server made one. It is nowhere else: the database has a hash.
    #[serde(default, serialize_with = "secret::expose_optional_on_the_wire")]
    pub token: Option<Secret>,
}

impl Applied {
    /// The head of [`Applied::rows`].
    pub const HEAD: [&'static str; 4] = ["WORKSPACE", "", "AGENT", "TOKEN"];

    /// A table for people. Beside the JSON it is the one place that shows tokens.
    #[must_use]
    pub fn rows(&self, dry_run: bool) -> Vec<Vec<String>> {
        self.workspaces.iter().flat_map(|workspace| workspace.rows(dry_run)).collect()
    }

    /// Lines below the table: what changes, and what the owner should know.
    #[must_use]
    pub fn remarks(&self, dry_run: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for workspace in &self.workspaces {
            let path = format!("{}/{}", workspace.owner, workspace.name);
            if dry_run {
                lines.extend(workspace.changes.iter().map(|change| format!("{path}: {change}")));
            }
            lines.extend(workspace.notes.iter().map(|note| format!("{path}: {note}")));
        }
        lines
    }

    /// Whether there is a token in it.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        self.workspaces.iter().flat_map(|workspace| &workspace.agents).any(|agent| agent.token.is_some())
    }
}

impl AppliedWorkspace {
    fn done(&self, dry_run: bool) -> &'static str {
        match (self.changes.is_empty(), self.created, self.stopped, dry_run) {
            (true, ..) => "unchanged",
            (_, true, false, false) => "created",
            (_, true, true, false) => "created, stopped",
            (_, false, true, false) => "stopped",
            (_, false, false, false) => "updated",
            (_, true, _, true) => "would be created",
            (_, false, true, true) => "would be stopped",
            (_, false, false, true) => "would be updated",
        }
    }

    fn rows(&self, dry_run: bool) -> Vec<Vec<String>> {
        let path = format!("{}/{}", self.owner, self.name);
        let row = |agent: &str, token: &str| {
            vec![path.clone(), self.done(dry_run).to_owned(), agent.to_owned(), token.to_owned()]
        };
        if self.agents.is_empty() && self.removed.is_empty() {
            return vec![row("", "")];
        }
        let kept = self.agents.iter().map(|agent| {
            let token = agent.token.as_ref().and_then(|token| token.expose_str().ok());
            row(&agent.name, if dry_run { "" } else { token.unwrap_or("(as before)") })
        });
        kept.chain(self.removed.iter().map(|name| row(name, "(agent removed)"))).collect()
    }
}

/// Where definitions came from, for faults that show later, and so that no name is defined twice in one call.
#[derive(Debug, Default)]
pub struct Batch {
    /// What to send.
    pub definitions: Vec<Definition>,
    /// What to tell about each of them.
    pub notes: Vec<Vec<String>>,
    origins: Vec<String>,
    seen: HashMap<String, String>,
}

impl Batch {
    /// Adds a definition that stands at `origin`, such as `dev.yaml:3`. An error names the place of an earlier one of the same name.
    pub fn add(&mut self, definition: Definition, notes: Vec<String>, origin: &str) -> Result<(), String> {
        let name = match &definition.owner {
            Some(owner) => format!("{owner}/{}", definition.name),
            None => definition.name.clone(),
        };
        // In one call the second would silently win over the first.
        if let Some(first) = self.seen.insert(name.to_ascii_lowercase(), origin.to_owned()) {
            return Err(format!("workspace {name} is defined at {first} already"));
        }
        self.definitions.push(definition);
        self.notes.push(notes);
        self.origins.push(origin.to_owned());
        Ok(())
    }

    /// Where a definition stands.
    #[must_use]
    pub fn origin(&self, index: usize) -> &str {
        self.origins.get(index).map_or("", String::as_str)
    }

    /// Puts what was noted about each definition beside the server's own notes.
    pub fn annotate(&mut self, applied: &mut Applied) {
        for (workspace, notes) in applied.workspaces.iter_mut().zip(self.notes.drain(..)) {
            workspace.notes.splice(0..0, notes);
        }
    }
}

/// `POST /definitions/{owner}/{name}/metadata/{item}/reveal`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Revealed {
    /// The value; none for null.
    #[serde(default, serialize_with = "secret::expose_optional_on_the_wire")]
    pub value: Option<Secret>,
}
