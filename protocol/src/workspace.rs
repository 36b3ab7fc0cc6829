//! Workspace definitions: the YAML that says who owns a workspace, which agents it has, and what each agent runs.
//!
//! [`definition::parse`] reads a file and checks each field. [`Checked`] then merges the variables of each agent and checks that a
//! manifest fits into one message. Neither knows a store: the server and the command line use them alike.

mod checked;
pub mod definition;
mod env_value;
mod field;
mod merge;

pub use checked::Checked;
