//! How a process that the agent did not start gets the environment: it asks over the agent's local socket.
//!
//! - [`Sessions`]: what every launch waits for
//! - [`place`]: where the socket is, the same for agents and those who ask
//! - [`Listener`]: the socket and the lock beside it
//! - `serve`: one connection, one question
//! - `wire`: the bytes on it
//! - [`client`]: asking, without a runtime
//! - [`login`], [`restricted_keys`]: who logged in over SSH, and what their key may run
#![forbid(unsafe_code)]

pub mod client;
mod listener;
mod lock;
pub mod login;
pub mod place;
pub mod restricted_keys;
mod serve;
mod state;
pub mod status;
mod wire;

pub use listener::{ListenError, Listener};
pub use serve::{Host, Start};
pub use state::{Sessions, Workspace};
pub use wire::{Answer, Caller, Launch};

/// What a stranger may send as a frame: refused, or understood, and then said again as it was understood.
#[cfg(fuzzing)]
pub fn fuzz(frame: &[u8]) {
    let body = |encoded: &[u8]| encoded.get(wire::LENGTH_BYTES..).unwrap_or_default().to_vec();
    if let Ok(request) = wire::Request::decode(frame) {
        assert!(body(&request.encode()) == frame, "a request was understood otherwise");
    }
    if let Ok(answer) = Answer::decode(frame) {
        let said = body(&answer.encode());
        assert!(Answer::decode(&said).is_ok_and(|again| body(&again.encode()) == said), "an answer changed on the way");
    }
}
