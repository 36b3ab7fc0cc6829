//! What a workspace agent and its control plane agree on. No files, no processes, no sockets of its own.
//!
//! - [`secret`]: the type that holds a value
//! - [`rules`]: what names, environment variable names, paths and values may look like, and the caps
//! - [`import`]: env, JSON and YAML files to entries
//! - [`rest`] and [`problem`]: request, answer and error bodies
//! - [`agent_api`]: the messages of the Agent API
//! - [`live`]: the private calls that tell a running workspace of changes
//! - [`definition`]: what a workspace is made from, as it is sent and stored
//! - [`definitions`]: the requests and answers about definitions
//! - [`workspace`]: workspace definitions in YAML
//! - [`session`]: WebSocket messages as a byte stream, and yamux over it
//! - [`drpc`]: calls over the streams of a session
//! - [`terraform`]: what a Terraform state says of a workspace
#![forbid(unsafe_code)]

pub mod agent_api;
pub mod definition;
pub mod definitions;
pub mod drpc;
pub mod import;
pub mod live;
pub mod problem;
pub mod rest;
pub mod rules;
pub mod secret;
pub mod session;
pub mod terraform;
pub mod workspace;
