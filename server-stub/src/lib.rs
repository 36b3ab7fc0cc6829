//! The control plane: user secrets encrypted at rest, and the Agent API that delivers them.
//!
//! The modules stand on floors, each of which uses only those below it; ARCHITECTURE.md has the table.
#![forbid(unsafe_code)]

pub mod admin;
pub mod api_error;
pub mod audit;
pub mod auth;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod fleet;
pub mod limits;
pub mod live;
pub mod metrics;
pub mod rest;
pub mod rpc;
mod run;
pub mod serve;
pub mod state;
pub mod store;
pub mod workspace_json;

pub use run::{RunError, run};
