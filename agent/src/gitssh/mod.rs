//! Git over SSH with the owner's key. It is fetched when ssh is invoked, held in memory, and never on any disk.
//!
//! ssh can use it through an ssh-agent that lives in this process for as long as that ssh runs:
//!
//! - `fetch`: where the key is; [`KeyCache`] is the running agent's side of it, which signs and keeps it
//! - [`GitKey`]: the key itself, in guarded memory
//! - `core_ssh_command`: the program that git's own configuration names instead of ssh
//! - `choice`: whether ssh's own configuration leaves room for it
//! - `ssh_agent`: an ssh-agent with this one key, its messages in `wire`, its place in `socket`
//! - [`ssh`] and [`sign`]: the two programs that it serves, by way of `run`
#![forbid(unsafe_code)]

mod cache;
mod choice;
mod core_ssh_command;
mod fetch;
mod key;
mod run;
pub mod sign;
mod socket;
pub mod ssh;
mod ssh_agent;
mod wire;

pub use cache::KeyCache;
pub use core_ssh_command::core_ssh_command;
pub use fetch::{FetchError, Key, SignError, fetch};
pub use key::{GitKey, KeyError, PublicKey};
pub use run::{Ended, KeyUse, RunError};
pub use socket::SocketError;
pub use ssh::git_ssh_command;

/// What ssh or another ssh-agent may send: a message is never too strange, and a list of keys gains at most ours.
#[cfg(fuzzing)]
pub fn fuzz(message: &[u8]) {
    wire::Request::parse(message);
    let with_ours = wire::identities(Some(message), Some((b"blob", "ours")));
    assert!(with_ours.len() <= message.len().max(5) + 16 && wire::identities(Some(&with_ours), None) == with_ours);
}
