//! How a process that the agent did not start gets the environment: it asks over the agent's local socket.
//!
//! - [`Sessions`]: what every launch waits for
//! - [`place`]: where the socket is, the same for agents and those who ask
//! - [`Listener`]: the socket, and the lock that makes its agent the only one
//! - `serve`: one connection, one question
//! - `wire`: the messages on it, in protobuf
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
pub use wire::{Caller, Launch};

/// What a stranger may send as a message: refused, or understood, and then said again as it was understood.
#[cfg(fuzzing)]
pub fn fuzz(frame: &[u8]) {
    let body = |encoded: &[u8]| encoded.get(wire::LENGTH_BYTES..).unwrap_or_default().to_vec();
    if let Ok(request) = wire::Request::from_frame(frame) {
        let said = body(&request.into_frame());
        assert!(
            wire::Request::from_frame(&said).is_ok_and(|again| body(&again.into_frame()) == said),
            "a request changed"
        );
    }
    if let Ok(answer) = wire::Answer::from_frame(frame) {
        let said = body(&answer.into_frame());
        assert!(
            wire::Answer::from_frame(&said).is_ok_and(|again| body(&again.into_frame()) == said),
            "an answer changed"
        );
    }
}
