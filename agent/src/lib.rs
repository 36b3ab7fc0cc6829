//! The workspace agent and every command a workspace needs.
#![deny(unsafe_code)]

pub mod cli;
pub mod config;
pub mod files;
pub mod manifest;
pub mod plan;
pub mod sys;
pub mod tls;

pub use cli::run;
