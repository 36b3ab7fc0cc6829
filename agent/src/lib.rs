//! The workspace agent and every command a workspace needs.
