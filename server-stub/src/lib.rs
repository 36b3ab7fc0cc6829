//! The control plane: user secrets encrypted at rest, and the Agent API that delivers them.
//!
//! - [`config`]: flags and variables
//! - [`store`]: all SQL, all encryption at rest
//! - [`auth`], [`limits`], [`audit`]: who calls, how much, and what is written down about it
//! - [`rest`]: the REST API, one file a resource
//! - [`rpc`]: the Agent API
//! - [`workspaces`]: definitions, and what agents are told
//! - [`admin`]: the administrator's commands
//! - [`serve`]: the server from start to stop
#![forbid(unsafe_code)]

pub mod admin;
pub mod audit;
pub mod auth;
pub mod config;
pub mod limits;
pub mod rest;
pub mod rpc;
mod run;
pub mod serve;
pub mod store;
pub mod workspaces;

pub use run::{RunError, run};
