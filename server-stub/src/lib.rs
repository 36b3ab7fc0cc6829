//! The control plane: user secrets encrypted at rest, and the Agent API that delivers them.
#![forbid(unsafe_code)]

pub mod audit;
pub mod auth;
pub mod limits;
pub mod rest;
pub mod rpc;
pub mod serve;
pub mod store;
pub mod workspaces;
