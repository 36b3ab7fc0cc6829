//! What a workspace is made from, whatever said so: a YAML file or a Terraform state. The command line reads those, and the server takes
//! this alone.
//!
//! [`Definition::check`] holds it to what the server can store and deliver. The command line asks before it sends, and the server
//! before it believes.

mod check;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use check::{Misfit, Place};

use crate::secret::{self, Secret};

/// A workspace.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Definition {
    /// Whose it is; the caller's if absent.
    #[serde(default)]
    pub owner: Option<String>,
    /// Its name, unique for the owner.
    pub name: String,
    /// The id that a new workspace takes if it is free.
    #[serde(default)]
    pub id: Option<Uuid>,
    /// None: the workspace is stopped.
    #[serde(default)]
    pub agents: Vec<Agent>,
    /// What else the template made.
    #[serde(default)]
    pub resources: Vec<Resource>,
    /// What the template needs of the owner.
    #[serde(default)]
    pub required_secrets: Vec<RequiredSecret>,
}

/// An agent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Agent {
    /// Unique in the workspace, whatever the letter case.
    pub name: String,
    /// Where it comes from, for messages: `coder_agent.main`, or empty.
    #[serde(default)]
    pub address: String,
    /// The token that the machine was given, a UUID; the server makes one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "secret::expose_optional_on_the_wire")]
    pub token: Option<Secret>,
    /// Where scripts and sessions start; empty for the home.
    #[serde(default)]
    pub directory: String,
    /// Shown at login; empty for none.
    #[serde(default)]
    pub motd_file: String,
    /// Seconds that the agent may take to connect.
    #[serde(default)]
    pub connection_timeout: i64,
    /// Whether it gets the owner's secrets and git key.
    #[serde(default = "yes")]
    pub user_data: bool,
    /// Merged, by name.
    #[serde(default)]
    pub env: BTreeMap<String, Variable>,
    /// In the order in which they are shown.
    #[serde(default)]
    pub scripts: Vec<Script>,
    /// In the order in which they are shown.
    #[serde(default)]
    pub metadata: Vec<AgentMetadata>,
    /// The address of the resource that is its machine, or empty.
    #[serde(default)]
    pub resource: String,
}

fn yes() -> bool {
    true
}

/// A variable of an agent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Variable {
    /// Its value. `$NAME` stays as it is.
    #[serde(serialize_with = "secret::expose_on_the_wire")]
    pub value: Secret,
    /// Whether the value is a secret. `None` if the definition does not say.
    #[serde(default)]
    pub sensitive: Option<bool>,
}

/// A script of an agent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Script {
    /// Names it in logs and results.
    pub display_name: String,
    /// What runs.
    #[serde(serialize_with = "secret::expose_on_the_wire")]
    pub script: Secret,
    /// Whether its text is a secret.
    #[serde(default)]
    pub sensitive: bool,
    /// An icon's address, or empty.
    #[serde(default)]
    pub icon: String,
    /// When it runs.
    #[serde(flatten)]
    pub runs: Runs,
    /// Seconds that it may run; zero for no limit.
    #[serde(default)]
    pub timeout: i64,
    /// Where its output goes; empty for the agent's choice.
    #[serde(default)]
    pub log_path: String,
}

/// When a script runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// When the workspace starts.
    #[serde(default)]
    pub run_on_start: bool,
    /// When the workspace stops.
    #[serde(default)]
    pub run_on_stop: bool,
    /// Logins wait for it.
    #[serde(default)]
    pub start_blocks_login: bool,
    /// By the clock; empty for never.
    #[serde(default)]
    pub cron: String,
}

/// A value that an agent collects and the server shows.
#[derive(Debug, Serialize, Deserialize)]
pub struct AgentMetadata {
    /// Identifies the item; unique for the agent.
    pub key: String,
    /// What people see.
    #[serde(default)]
    pub display_name: String,
    /// What is run to get the value.
    pub script: String,
    /// Seconds between two runs; zero for once.
    #[serde(default)]
    pub interval: i64,
    /// Seconds that a run may take; zero for the interval.
    #[serde(default)]
    pub timeout: i64,
}

/// Something that the template made, without its attributes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Resource {
    /// In Terraform's words, such as `module.net["x"].aws_instance.main[0]`.
    pub address: String,
    /// Its type, such as `aws_instance`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name in the template.
    pub name: String,
    /// The module instance, or empty.
    #[serde(default)]
    pub module_path: String,
    /// Whether people are not shown it.
    #[serde(default)]
    pub hide: bool,
    /// An icon's address, or empty.
    #[serde(default)]
    pub icon: String,
    /// What a day of it costs.
    #[serde(default)]
    pub daily_cost: i64,
    /// What is shown of it.
    #[serde(default)]
    pub items: Vec<Item>,
}

/// Something shown of a resource.
#[derive(Debug, Serialize, Deserialize)]
pub struct Item {
    /// What it is called.
    pub key: String,
    /// `None` for null.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "secret::expose_optional_on_the_wire")]
    pub value: Option<Secret>,
    /// Hidden until it is revealed.
    #[serde(default)]
    pub sensitive: bool,
}

/// A user secret that the template needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequiredSecret {
    /// The variable that it must have, unless empty.
    #[serde(default)]
    pub env: String,
    /// The file that it must have, unless empty.
    #[serde(default)]
    pub file: String,
    /// Where the owner gets one.
    #[serde(default)]
    pub help_message: String,
}
