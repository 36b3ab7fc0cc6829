//! A workspace from Terraform: what `terraform show -json`, `tofu show -json` or a state file (version 4) says of the resources of the
//! coder/coder provider.
//!
//! [`read`] turns either input into one list of resource instances, and [`Workspace`] is what a workspace is made from. Attributes of other
//! providers' resources are dropped here: states hold passwords, keys and tokens that are nobody's business but Terraform's.
//!
//! - `input`: both inputs to instances
//! - `marks`: which attributes are sensitive
//! - `attributes`: typed access, with the address in every error
//! - `error`: why a state does not make a workspace
//! - `definition`: what the server takes
//! - `agents`, `variables`, `metadata`: what becomes of `coder_agent`, `coder_script`, `coder_env` and `coder_metadata`

mod agents;
mod attributes;
mod definition;
mod error;
mod input;
mod marks;
mod metadata;
mod variables;

use std::collections::BTreeMap;

use uuid::Uuid;

pub use crate::definition::RequiredSecret;
use crate::secret::Secret;
pub use error::Error;
use input::{Instance, Mode};
pub use variables::Variable;

/// The longest state that [`read`] reads, in bytes: far more than any workspace needs, and too little to trouble its reader.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;

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
