//! Workspaces: from their definition to what their agents are told.

pub mod definition;
pub mod field;
pub mod merge;
