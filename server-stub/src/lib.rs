//! The control plane: user secrets encrypted at rest, and the Agent API that delivers them.
#![forbid(unsafe_code)]

pub mod store;
pub mod workspaces;
