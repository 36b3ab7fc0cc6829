//! The workspace agent and every command a workspace needs.
#![deny(unsafe_code)]

pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod environment;
pub mod errors;
pub mod expand;
pub mod files;
pub mod gitssh;
pub mod ledger;
pub mod manifest;
pub mod mask;
pub mod metadata;
pub mod names;
pub mod network;
pub mod plan;
pub mod report;
pub mod scripts;
pub mod sessions;
pub mod sys;
pub mod tls;

pub use cli::run;
