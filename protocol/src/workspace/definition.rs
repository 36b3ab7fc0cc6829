//! A workspace definition: YAML in the words of Coder's Terraform resources `coder_agent`, `coder_script`,
//! `coder_agent.metadata` and `coder_env`. A file holds one definition or several, separated by `---`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{MessageFormatter, Spanned, UserMessageFormatter};

use super::env_value::{EnvText, EnvValue};
use super::field::{Cron, EnvName, Label, Name, ScriptText, Seconds, WorkspacePath};

/// Largest definition file: room for ten thousand small workspaces, far from what would trouble the server.
pub const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;
/// Most bytes of all metadata keys of an agent: the limit of the call that reports the results.
pub const MAX_METADATA_KEY_BYTES: usize = 6144;
/// Most YAML events that aliases may repeat. No honest definition repeats itself this often; a file that does is an alias bomb.
const MAX_REPLAYED_EVENTS: usize = 20_000;
const MAX_NODES: usize = 2_000_000;

/// One workspace as its author wrote it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workspace {
    /// Who owns it, and whose secrets it gets; whoever applies it, if absent.
    #[serde(default)]
    pub owner: Option<Spanned<Name>>,
    /// Its name, unique for the owner.
    pub name: Spanned<Name>,
    /// The only agent.
    #[serde(default)]
    agent: Option<Agent>,
    /// The agents, if there are several.
    #[serde(default)]
    agents: Vec<Agent>,
    /// `coder_env`: variables for every agent, or for the one that `agent` names.
    #[serde(default)]
    pub env: Vec<CoderEnv>,
}

/// `coder_agent`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Its name, unique in the workspace.
    pub name: Spanned<Name>,
    /// Where scripts and sessions start; home if absent.
    #[serde(default)]
    pub dir: Option<WorkspacePath>,
    /// Variables; they win over `coder_env`.
    #[serde(default)]
    pub env: BTreeMap<EnvName, EnvValue>,
    /// Shown at login.
    #[serde(default)]
    pub motd_file: Option<WorkspacePath>,
    /// How long the agent may take to connect before it shows as timed out.
    #[serde(default = "default_connection_timeout")]
    pub connection_timeout: Seconds,
    /// `coder_script`.
    #[serde(default)]
    pub scripts: Vec<Script>,
    /// `coder_agent.metadata`.
    #[serde(default)]
    pub metadata: Vec<Metadata>,
}

/// `coder_script`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Names it in logs and results.
    pub display_name: Spanned<Label>,
    /// What runs.
    pub script: ScriptText,
    /// Runs when the workspace starts.
    #[serde(default)]
    pub run_on_start: bool,
    /// Runs when the workspace stops.
    #[serde(default)]
    pub run_on_stop: bool,
    /// Whether clients should wait for it before they log in.
    #[serde(default)]
    pub start_blocks_login: bool,
    /// How long it may run; zero for no limit.
    #[serde(default)]
    pub timeout: Seconds,
    /// When it runs by the clock.
    #[serde(default)]
    pub cron: Option<Cron>,
    /// Where its output goes; a file in the agent's log directory if absent.
    #[serde(default)]
    pub log_path: Option<WorkspacePath>,
    /// Shown beside its log lines.
    #[serde(default)]
    pub icon: Option<Label>,
}

/// `coder_agent.metadata`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Identifies the item; unique for the agent.
    pub key: Spanned<Label>,
    /// What people see; the key if absent.
    #[serde(default)]
    pub display_name: Option<Label>,
    /// What is run to get the value.
    pub script: ScriptText,
    /// How often; zero for once.
    #[serde(default)]
    pub interval: Seconds,
    /// How long the script may run; zero for the interval.
    #[serde(default)]
    pub timeout: Seconds,
}

/// `coder_env`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoderEnv {
    /// The variable.
    pub name: Spanned<EnvName>,
    /// What it is set to, or what is joined to it.
    pub value: EnvText,
    /// Whether the value is a secret. `None` if the definition does not say.
    #[serde(default)]
    pub sensitive: Option<bool>,
    /// What to do if the variable is already set.
    #[serde(default)]
    pub merge_strategy: MergeStrategy,
    /// The one agent it is for.
    #[serde(default)]
    pub agent: Option<Spanned<Name>>,
}

/// What a `coder_env` does if another one sets its variable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MergeStrategy {
    /// Replace the value.
    #[default]
    Replace,
    /// Append to the value, after a colon.
    Append,
    /// Prepend to the value, before a colon.
    Prepend,
    /// Refuse the definition.
    Error,
}

const fn default_connection_timeout() -> Seconds {
    Seconds::of(120)
}

impl Workspace {
    /// Its agents; at least one.
    #[must_use]
    pub fn agents(&self) -> &[Agent] {
        self.agent.as_ref().map_or(&self.agents, std::slice::from_ref)
    }

    /// The line at which the definition starts, for messages about the whole of it.
    #[must_use]
    pub fn line(&self) -> u64 {
        let line = self.name.referenced.line();
        self.owner.as_ref().map_or(line, |owner| owner.referenced.line().min(line))
    }
}

/// What is wrong with a definition file, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, where it is known.
    pub line: Option<u64>,
    /// What is wrong. Never the value of a variable.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{line}: {}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

impl Fault {
    /// A fault of this node.
    pub fn at<T>(node: &Spanned<T>, detail: impl Into<String>) -> Self {
        Self { line: Some(node.referenced.line()), detail: detail.into() }
    }

    fn of_file(detail: impl Into<String>) -> Self {
        Self { line: None, detail: detail.into() }
    }
}

/// Reads every definition of a file, and checks its fields against each other.
pub fn parse(text: &str) -> Result<Vec<Workspace>, Fault> {
    if text.len() > MAX_FILE_BYTES {
        return Err(Fault::of_file(format!("a definition file must not exceed {MAX_FILE_BYTES} bytes")));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_documents: MAX_NODES, max_nodes: MAX_NODES, max_events: 2 * MAX_NODES },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED_EVENTS },
        duplicate_keys: DuplicateKeyPolicy::Error,
        // Its value is the spelling in the file.
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        // A snippet quotes the file, and the file may hold tokens.
        with_snippet: false,
    };
    let mut workspaces: Vec<Workspace> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| reading(&error))?;
    if workspaces.is_empty() {
        return Err(Fault::of_file("no workspace is defined here"));
    }
    for workspace in &mut workspaces {
        let agents = workspace.agent.iter_mut().chain(&mut workspace.agents);
        let mut values = agents.flat_map(|agent| agent.env.values_mut());
        let fault = |(line, detail)| Fault { line: Some(line), detail };
        values.try_for_each(|value| value.spell(text)).map_err(fault)?;
        check(workspace)?;
    }
    Ok(workspaces)
}

/// The reader's message without its position, which is in the [`Fault`], and without a snippet of the file.
fn reading(error: &serde_saphyr::Error) -> Fault {
    let error = error.without_snippet();
    let line = error.location().map(|location| location.line()).filter(|line| *line > 0);
    let detail = UserMessageFormatter.format_message(error).into_owned();
    Fault { line, detail }
}

fn check(workspace: &Workspace) -> Result<(), Fault> {
    if workspace.agent.is_some() && !workspace.agents.is_empty() {
        return Err(Fault::at(&workspace.name, "either `agent` or `agents`, not both"));
    }
    if workspace.agents().is_empty() {
        return Err(Fault::at(&workspace.name, format!("workspace {} has no `agent`", workspace.name.value)));
    }
    // Names of agents are unique whatever their letter case, as the database has it.
    unique(workspace.agents().iter().map(|agent| &agent.name), "agent", str::to_ascii_lowercase)?;
    for target in workspace.env.iter().filter_map(|env| env.agent.as_ref()) {
        if !workspace.agents().iter().any(|agent| agent.name.value == target.value) {
            return Err(Fault::at(target, format!("no agent is named {}", target.value)));
        }
    }
    workspace.agents().iter().try_for_each(check_agent)
}

fn check_agent(agent: &Agent) -> Result<(), Fault> {
    unique(agent.metadata.iter().map(|item| &item.key), "metadata key", str::to_owned)?;
    let key_bytes: usize = agent.metadata.iter().map(|item| item.key.value.as_str().len()).sum();
    if key_bytes > MAX_METADATA_KEY_BYTES {
        let detail = format!("the metadata keys of an agent must not exceed {MAX_METADATA_KEY_BYTES} bytes together");
        return Err(Fault::at(&agent.name, detail));
    }
    Ok(())
}

fn unique<'a, T: fmt::Display + 'a>(
    nodes: impl Iterator<Item = &'a Spanned<T>>,
    what: &str,
    fold: fn(&str) -> String,
) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    for node in nodes {
        if !seen.insert(fold(&node.value.to_string())) {
            return Err(Fault::at(node, format!("{what} {} is defined twice", node.value)));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "definition_tests.rs"]
mod tests;
