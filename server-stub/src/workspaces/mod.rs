//! Workspaces: from their definition to what their agents are told.

mod checked;
pub mod definition;
pub mod field;
pub mod json;
pub mod manifest;
pub mod merge;

pub use checked::Checked;
