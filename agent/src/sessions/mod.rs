//! How a process that the agent did not start gets the environment: it asks over the agent's local socket.
//!
//! - [`Sessions`]: what every launch waits for
//! - [`place`]: where the socket is, the same for agents and those who ask
//! - [`Listener`]: the socket and the lock beside it
//! - `serve`: one connection, one question
//! - `wire`: the bytes on it
//! - [`client`]: asking, without a runtime
#![forbid(unsafe_code)]

pub mod client;
mod listener;
mod lock;
pub mod place;
mod serve;
mod state;
pub mod status;
mod wire;

pub use listener::{ListenError, Listener};
pub use serve::{Host, Start};
pub use state::{Sessions, Workspace};
pub use wire::{Answer, Caller, Launch};
