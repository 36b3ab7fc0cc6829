//! A workspace from Terraform: what `terraform show -json`, `tofu show -json` or a state file (version 4) says of the resources of the
//! coder/coder provider.
//!
//! [`read`] turns either input into one list of resource instances, and [`Workspace`] is what a workspace is made from. Attributes of other
//! providers' resources are dropped here: states hold passwords, keys and tokens that are nobody's business but Terraform's.
//!
//! - `input`: both inputs to instances
//! - `marks`: which attributes are sensitive
//! - `attributes`: typed access, with the address in every error
//! - `agents`, `variables`, `metadata`: what becomes of `coder_agent`, `coder_script`, `coder_env` and `coder_metadata`

mod agents;
mod attributes;
mod input;
mod marks;
mod metadata;
mod variables;

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::secret::Secret;
pub use input::MAX_BYTES;
use input::{Instance, Mode};

/// A workspace as Terraform made it.
#[derive(Debug)]
pub struct Workspace {
    /// `data.coder_workspace.name`, if the template reads it.
    pub name: Option<String>,
    /// `data.coder_workspace_owner.name`, if the template reads it.
    pub owner: Option<String>,
    /// `data.coder_workspace.id`.
    pub id: Option<Uuid>,
    /// In the order of their addresses. None: the workspace is stopped (`transition = stop`).
    pub agents: Vec<Agent>,
    /// Managed resources of all other providers, in the order of their addresses.
    pub resources: Vec<Resource>,
    /// What the template needs of its user, in the order of their addresses.
    pub required_secrets: Vec<RequiredSecret>,
    /// Addresses of resources of the coder provider that have no meaning here, such as `coder_app.site`.
    pub left_out: Vec<String>,
    /// What the template's author should know, a sentence each. Never a value.
    pub notes: Vec<String>,
}

/// `coder_agent`, with its `coder_script` and `coder_env`.
#[derive(Debug)]
pub struct Agent {
    /// In Terraform's words, such as `coder_agent.main[0]`.
    pub address: String,
    /// The name of the resource; unique in the workspace, whatever the letter case.
    pub name: String,
    /// What the machine was given (`coder_agent.main.token`). `None` for an agent that authenticates otherwise.
    pub token: Option<Secret>,
    /// Where scripts and sessions start; empty for the home.
    pub dir: String,
    /// Shown at login; empty for none.
    pub motd_file: String,
    /// Seconds that the agent may take to connect.
    pub connection_timeout: u64,
    /// False with `api_key_scope = no_user_data`: no git key, no user secrets.
    pub user_data: bool,
    /// Merged: every `coder_env` in the order of addresses, then `coder_agent.env` over it.
    pub env: BTreeMap<String, Variable>,
    /// `startup_script` and `shutdown_script` first, then every `coder_script` in the order of addresses.
    pub scripts: Vec<Script>,
    /// `coder_agent.metadata`, as written.
    pub metadata: Vec<AgentMetadata>,
    /// The address of the resource that depends on the agent, usually its machine.
    pub resource: Option<String>,
}

/// The value of a variable, from one definition or several that were joined.
#[derive(Debug)]
pub struct Variable {
    parts: Vec<Secret>,
    inherited: Option<usize>,
    sensitive: bool,
}

impl Variable {
    fn new(value: Secret, sensitive: bool) -> Self {
        Self { parts: vec![value], inherited: None, sensitive }
    }

    /// The value that Terraform wrote; its parts joined by colons.
    #[must_use]
    pub fn value(&self) -> Secret {
        joined(self.parts.iter().map(Secret::expose))
    }

    /// The value for the agent. `append` and `prepend` with nothing to join to join to the variable that the workspace inherits: a bare
    /// value would destroy `PATH`. A sensitive value is delivered byte for byte, so nothing in it can be expanded, and it stays bare.
    #[must_use]
    pub fn delivered(&self, name: &str) -> Secret {
        let inherited = format!("${{{name}}}");
        match self.inherited.filter(|_| !self.sensitive) {
            None => self.value(),
            Some(at) => {
                let (before, after) = self.parts.split_at(at);
                let parts = before.iter().map(Secret::expose);
                joined(parts.chain([inherited.as_bytes()]).chain(after.iter().map(Secret::expose)))
            }
        }
    }

    /// Whether Terraform marks the value, or a part of it, as sensitive.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.sensitive
    }
}

fn joined<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Secret {
    Secret::new(parts.collect::<Vec<_>>().join(&b':'))
}

/// `coder_script`, or a script of `coder_agent`.
#[expect(clippy::struct_excessive_bools, reason = "the provider's own flags, each independent of the others")]
#[derive(Debug)]
pub struct Script {
    /// Names the script in logs and results; need not be unique.
    pub display_name: String,
    /// What runs.
    pub script: Secret,
    /// Whether Terraform marks the text as sensitive.
    pub sensitive: bool,
    /// An icon's address, or empty.
    pub icon: String,
    /// Run when the workspace starts.
    pub run_on_start: bool,
    /// Run when the workspace stops.
    pub run_on_stop: bool,
    /// When it runs by the clock; empty for never.
    pub cron: String,
    /// Whether login shells wait for it.
    pub start_blocks_login: bool,
    /// Seconds that it may run; 0 for no limit.
    pub timeout: u64,
    /// Where its output goes; empty for the agent's choice.
    pub log_path: String,
}

/// `coder_agent.metadata`.
#[derive(Debug)]
pub struct AgentMetadata {
    /// Identifies the item.
    pub key: String,
    /// What people see; empty for the key.
    pub display_name: String,
    /// What is run to get the value.
    pub script: Secret,
    /// Seconds between two runs.
    pub interval: u64,
    /// Seconds that a run may take; 0 for the interval.
    pub timeout: u64,
    /// Where it is shown among the others.
    pub order: i64,
}

/// A managed resource of another provider, without its attributes.
#[derive(Debug)]
pub struct Resource {
    /// In Terraform's words.
    pub address: String,
    /// Its type, such as `aws_instance`.
    pub kind: String,
    /// Its name in the template.
    pub name: String,
    /// The module instance, such as `module.more["x"]`; empty for the root module.
    pub module_path: String,
    /// Whether people are not shown it.
    pub hide: bool,
    /// An icon's address, or empty.
    pub icon: String,
    /// What a day of it costs.
    pub daily_cost: i64,
    /// `coder_metadata` items, as written.
    pub items: Vec<Item>,
}

/// An item of `coder_metadata`.
#[derive(Debug)]
pub struct Item {
    /// What it is called.
    pub key: String,
    /// `None` for null.
    pub value: Option<Secret>,
    /// Hidden until revealed.
    pub sensitive: bool,
}

/// `data.coder_secret`: a user secret that the template needs.
#[derive(Debug, PartialEq, Eq)]
pub struct RequiredSecret {
    /// The variable that it must have, unless empty.
    pub env: String,
    /// The file that it must have, unless empty.
    pub file: String,
    /// Where the user gets one.
    pub help_message: String,
}

/// Why a state does not make a workspace. Messages name addresses and attributes, never a value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More than [`MAX_BYTES`].
    #[error("a state must not exceed {MAX_BYTES} bytes")]
    TooLarge,
    /// Not JSON at all, or nested too deep.
    #[error(
        "this is not JSON (line {line}, column {column}): pipe in the output of `terraform show -json`, or name a state file"
    )]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// JSON of something else.
    #[error(
        "this is JSON, but no Terraform state: pipe in the output of `terraform show -json`, or name a state file of version 4"
    )]
    NotAState,
    /// A plan.
    #[error("this is a plan: apply it first, then pipe in the output of `terraform show -json`")]
    Plan,
    /// A state that OpenTofu has encrypted.
    #[error("this state is encrypted: pipe in the output of `tofu show -json`")]
    Encrypted,
    /// A format that nobody here knows.
    #[error(
        "{what} {found} is not supported; {known} is: pipe in the output of `terraform show -json` of Terraform 1.0 or later, or of OpenTofu"
    )]
    Version {
        /// What has the version.
        what: &'static str,
        /// As written; cut to a few characters.
        found: String,
        /// What would be understood.
        known: &'static str,
    },
    /// Nothing is left, as after `terraform destroy`.
    #[error(
        "there is nothing in this state, as after `terraform destroy`: to delete the workspace, run `coder workspace delete NAME`"
    )]
    Empty,
    /// An attribute is not what the provider writes.
    #[error("{address}: `{attribute}` {problem}")]
    Attribute {
        /// The resource.
        address: String,
        /// Where in the resource.
        attribute: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A part of the state that belongs to no resource is not what Terraform writes.
    #[error("{place} {problem}")]
    Shape {
        /// Where in the document.
        place: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Two agents that cannot be told apart.
    #[error("{first} and {second} have the same name: agents are told apart by their names, whatever the letter case")]
    AgentNames {
        /// By address.
        first: String,
        /// By address.
        second: String,
    },
    /// Two `coder_metadata` for one resource instance.
    #[error("{first} and {second} are both for {resource}: a resource can have one coder_metadata")]
    DuplicateMetadata {
        /// By address.
        first: String,
        /// By address.
        second: String,
        /// The resource of both.
        resource: String,
    },
    /// `merge_strategy = "error"`, and the variable is set already.
    #[error("{address}: variable {variable} is set by {earlier} already, and merge_strategy is \"error\"")]
    Merge {
        /// The `coder_env` that refuses.
        address: String,
        /// The variable.
        variable: String,
        /// What set it.
        earlier: String,
    },
}

/// Reads a state in either form.
pub fn read(bytes: &[u8]) -> Result<Workspace, Error> {
    let mut instances = input::instances(bytes)?;
    if !instances.iter().any(|instance| instance.mode == Mode::Managed) {
        return Err(Error::Empty);
    }
    // As text: `x[10]` before `x[2]`, as Coder merges them.
    instances.sort_by(|a, b| a.address.cmp(&b.address));
    let mut notes = Vec::new();
    let mut left_out = others_of_the_provider(&instances);
    let agents = agents::agents(&instances, &mut left_out, &mut notes)?;
    let resources = metadata::resources(&instances, &mut notes)?;
    left_out.sort();
    let (name, id) = workspace(&instances)?;
    Ok(Workspace {
        name,
        id,
        owner: owner(&instances)?,
        agents,
        resources,
        required_secrets: required_secrets(&instances)?,
        left_out,
        notes,
    })
}

/// Resources of the coder provider that have no meaning here.
fn others_of_the_provider(instances: &[Instance]) -> Vec<String> {
    const KNOWN: [&str; 4] = ["coder_agent", "coder_script", "coder_env", "coder_metadata"];
    let other = |it: &&Instance| it.mode == Mode::Managed && it.of_coder() && !KNOWN.contains(&it.kind.as_str());
    instances.iter().filter(other).map(|it| it.address.clone()).collect()
}

fn workspace(instances: &[Instance]) -> Result<(Option<String>, Option<Uuid>), Error> {
    let Some(data) = instances.iter().find(|it| it.is(Mode::Data, "coder_workspace")) else { return Ok((None, None)) };
    let attributes = data.attributes();
    let id = attributes.optional_text("id")?.and_then(|id| Uuid::parse_str(id).ok());
    Ok((attributes.optional_text("name")?.map(str::to_owned), id))
}

fn owner(instances: &[Instance]) -> Result<Option<String>, Error> {
    let data = instances.iter().find(|it| it.is(Mode::Data, "coder_workspace_owner"));
    Ok(data.map(|data| data.attributes().optional_text("name")).transpose()?.flatten().map(str::to_owned))
}

fn required_secrets(instances: &[Instance]) -> Result<Vec<RequiredSecret>, Error> {
    let required = instances.iter().filter(|it| it.is(Mode::Data, "coder_secret"));
    required
        .map(|it| {
            let attributes = it.attributes();
            Ok(RequiredSecret {
                env: attributes.text("env")?.to_owned(),
                file: attributes.text("file")?.to_owned(),
                help_message: attributes.text("help_message")?.to_owned(),
            })
        })
        .collect()
}
