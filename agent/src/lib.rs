//! The workspace agent and every command a workspace needs.
#![deny(unsafe_code)]

pub mod cli;
pub mod config;
pub mod manifest;
pub mod sys;
pub mod tls;

pub use cli::run;
